#include "dataplane/lookup/allowed_ips.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/prefix_mix.h"

namespace turnpike::lookup {
namespace {

using test::key_v4;
using test::key_v6;

// Alone and beside another, which goes another way.
template <typename Root>
PeerIndex look_up(Root root, const IpAddress& a) {
  PeerIndex alone = 12345;
  PeerIndex both[2] = {12345, 12345};
  const auto ask = [&](auto key) {
    const decltype(key) twice[2] = {key, key};
    lookup_burst(root, {&key, 1}, {&alone, 1});
    lookup_burst(root, twice, both);
  };
  if constexpr (std::is_same_v<Root, RootV4>) {
    ask(key_v4(a));
  } else {
    ask(key_v6(a));
  }
  EXPECT_EQ(both[0], alone);
  EXPECT_EQ(both[1], alone);
  return alone;
}

// A table whose commits are retired at once.
template <typename Root>
struct Table {
  SystemPages pages;
  Writer<Root> writer{pages};

  void set(const std::string& prefix, PeerIndex peer) {
    const Edit e{*parse_prefix(prefix), peer};
    ASSERT_TRUE(writer.prepare({&e, 1}));
    writer.reclaim(writer.commit());
  }
  PeerIndex at(const std::string& address) { return look_up(writer.head(), *parse_ip(address)); }
};

TEST(AllowedIps, AnEmptyTableOwnsNothing) {
  EXPECT_EQ(look_up(RootV4{}, *parse_ip("10.0.0.1")), kNoPeer);
  EXPECT_EQ(look_up(RootV6{}, *parse_ip("::1")), kNoPeer);
  Table<RootV4> t;
  EXPECT_EQ(t.at("10.0.0.1"), kNoPeer);
  EXPECT_EQ(t.writer.size(), 0u);
  EXPECT_EQ(t.writer.used_bytes(), 0u);
}

TEST(AllowedIps, TheLongestPrefixWinsAtEveryLengthOfIpv4) {
  Table<RootV4> t;
  const IpAddress target = *parse_ip("85.170.51.204");
  for (unsigned length = 0; length <= 32; ++length) {
    const Edit e{Prefix::masked(target, length), length};
    ASSERT_TRUE(t.writer.prepare({&e, 1}));
    t.writer.reclaim(t.writer.commit());
    EXPECT_EQ(look_up(t.writer.head(), target), length);
  }
  for (unsigned length = 0; length <= 32; ++length) {
    // Differs first in bit `length`: only the prefixes up to that length contain it.
    if (length < 32) {
      const IpAddress other = IpAddress::v4(target.v4_host_order() ^ (0x80000000u >> length));
      EXPECT_EQ(look_up(t.writer.head(), other), length);
    }
    EXPECT_EQ(t.writer.find(Prefix::masked(target, length)), length);
  }
  for (unsigned length = 32; length > 0; --length) {
    const Edit e{Prefix::masked(target, length), kNoPeer};
    ASSERT_TRUE(t.writer.prepare({&e, 1}));
    t.writer.reclaim(t.writer.commit());
    EXPECT_EQ(look_up(t.writer.head(), target), length - 1);
  }
  t.set("0.0.0.0/0", kNoPeer);
  EXPECT_EQ(look_up(t.writer.head(), target), kNoPeer);
  EXPECT_EQ(t.writer.used_bytes(), 0u);
}

TEST(AllowedIps, TheLongestPrefixWinsAtEveryLengthOfIpv6) {
  Table<RootV6> t;
  const IpAddress target = *parse_ip("2001:db8:5555:aaaa:3333:cccc:f0f0:1234");
  std::vector<Edit> all;
  for (unsigned length = 0; length <= 128; ++length) {
    all.push_back({Prefix::masked(target, length), 1000 + length});
  }
  ASSERT_TRUE(t.writer.prepare(all));
  t.writer.reclaim(t.writer.commit());
  EXPECT_EQ(t.writer.size(), 129u);
  for (unsigned length = 0; length <= 128; ++length) {
    IpAddress other = target;
    if (length < 128) other.bytes[length / 8] ^= static_cast<uint8_t>(0x80 >> length % 8);
    EXPECT_EQ(look_up(t.writer.head(), other), 1000 + length);
    EXPECT_EQ(t.writer.find(Prefix::masked(target, length)), 1000 + length);
  }
}

TEST(AllowedIps, ABatchOfOneAddressesEqualsABurst) {
  Table<RootV4> t;
  t.set("10.0.0.0/8", 1);
  t.set("10.1.0.0/16", 2);
  std::vector<uint32_t> keys;
  for (uint32_t i = 0; i < kBurstMax; ++i) keys.push_back(0x0a000000 + (i << 15));
  std::vector<PeerIndex> peers(kBurstMax);
  for (size_t n = 0; n <= kBurstMax; ++n) {
    std::fill(peers.begin(), peers.end(), 77);
    lookup_burst(t.writer.head(), std::span(keys).first(n), peers);
    for (size_t i = 0; i < kBurstMax; ++i) {
      EXPECT_EQ(peers[i], i >= n ? 77u : (i / 2 == 1 ? 2u : 1u)) << i;
    }
  }
}

TEST(AllowedIps, AnOldRootStaysWholeUntilItIsReclaimed) {
  Table<RootV4> t;
  t.set("10.0.0.0/8", 1);
  const RootV4 old = t.writer.head();
  const std::vector<Edit> edits{{*parse_prefix("10.0.0.0/8"), 2},
                                {*parse_prefix("10.0.0.5/32"), 3}};
  ASSERT_TRUE(t.writer.prepare(edits));
  EXPECT_EQ(t.at("10.0.0.5"), 1u);
  EXPECT_EQ(look_up(t.writer.prepared(), *parse_ip("10.0.0.5")), 3u);
  const Garbage garbage = t.writer.commit();
  EXPECT_EQ(look_up(old, *parse_ip("10.0.0.5")), 1u);
  EXPECT_EQ(t.at("10.0.0.5"), 3u);
  EXPECT_EQ(t.at("10.0.0.6"), 2u);
  t.writer.reclaim(garbage);
  EXPECT_EQ(t.at("10.0.0.6"), 2u);
}

TEST(AllowedIps, AnAbortedBatchLeavesNoTrace) {
  Table<RootV4> t;
  t.set("10.0.0.0/8", 1);
  const size_t used = t.writer.used_bytes();
  const std::vector<Edit> edits{{*parse_prefix("10.0.0.0/8"), kNoPeer},
                                {*parse_prefix("10.0.0.5/32"), 3},
                                {*parse_prefix("192.0.2.0/24"), 4}};
  ASSERT_TRUE(t.writer.prepare(edits));
  t.writer.abort();
  EXPECT_EQ(t.writer.used_bytes(), used);
  EXPECT_EQ(t.writer.size(), 1u);
  EXPECT_EQ(t.at("10.0.0.5"), 1u);
  EXPECT_EQ(t.at("192.0.2.1"), kNoPeer);
}

TEST(AllowedIps, TheLastEditOfOnePrefixInABatchWins) {
  Table<RootV6> t;
  const Prefix p = *parse_prefix("2001:db8::/64");
  const std::vector<Edit> edits{{p, 1}, {p, kNoPeer}, {p, 2}, {p, 3}};
  ASSERT_TRUE(t.writer.prepare(edits));
  t.writer.reclaim(t.writer.commit());
  EXPECT_EQ(t.writer.find(p), 3u);
  EXPECT_EQ(t.writer.size(), 1u);
}

TEST(AllowedIps, RemovingWhatIsNotThereChangesNothing) {
  Table<RootV4> t;
  t.set("10.0.0.0/8", kNoPeer);
  EXPECT_EQ(t.writer.used_bytes(), 0u);
  t.set("10.0.0.0/8", 1);
  t.set("10.0.0.0/9", kNoPeer);
  t.set("0.0.0.0/0", kNoPeer);
  t.set("10.0.0.0/32", kNoPeer);
  EXPECT_EQ(t.at("10.0.0.1"), 1u);
  EXPECT_EQ(t.writer.size(), 1u);
}

TEST(AllowedIps, AWalkIsInOrderAndCanBeStopped) {
  Table<RootV4> t;
  t.set("10.0.0.0/8", 1);
  t.set("10.0.0.0/24", 2);
  t.set("9.0.0.0/8", 3);
  t.set("10.0.0.128/25", 4);
  t.set("0.0.0.0/0", 5);
  std::string seen;
  t.writer.walk([&](const Prefix& p, PeerIndex peer) {
    seen += to_string(p) + "=" + std::to_string(peer) + " ";
    return true;
  });
  EXPECT_EQ(seen, "0.0.0.0/0=5 9.0.0.0/8=3 10.0.0.0/8=1 10.0.0.0/24=2 10.0.0.128/25=4 ");
  int count = 0;
  t.writer.walk([&](const Prefix&, PeerIndex) { return ++count < 2; });
  EXPECT_EQ(count, 2);
}

TEST(AllowedIps, EveryPeerNumberButNoPeerIsAValue) {
  Table<RootV4> t;
  t.set("10.0.0.0/8", 0);
  t.set("10.0.0.1/32", kNoPeer - 1);
  t.set("10.0.0.2/32", 0x80000000);
  EXPECT_EQ(t.at("10.0.0.0"), 0u);
  EXPECT_EQ(t.at("10.0.0.1"), kNoPeer - 1);
  EXPECT_EQ(t.at("10.0.0.2"), 0x80000000);
}

template <typename Root>
void compare_with_naive(Family family, uint64_t seed, size_t rounds) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  test::Random random(seed);
  Table<Root> t;
  test::NaiveTable naive;
  const unsigned width = family == Family::V4 ? 32 : 128;
  for (size_t round = 0; round < rounds; ++round) {
    std::vector<Edit> edits;
    for (size_t i = random() % 24; i > 0; --i) {
      Edit e{Prefix::masked(test::clustered_address(random, family),
                            static_cast<unsigned>(random() % (width + 1))),
             static_cast<PeerIndex>(random() % 50)};
      if (random() % 3 == 0 && !naive.owners().empty()) {
        auto it = naive.owners().lower_bound(e.prefix);
        if (it == naive.owners().end()) it = naive.owners().begin();
        e = {it->first, random() % 2 == 0 ? kNoPeer : e.peer};
      }
      edits.push_back(e);
    }
    ASSERT_TRUE(t.writer.prepare(edits));
    if (random() % 8 == 0) {
      t.writer.abort();
      continue;
    }
    for (const Edit& e : edits) naive.apply(e);
    t.writer.reclaim(t.writer.commit());
    ASSERT_EQ(t.writer.size(), naive.owners().size());
    for (int i = 0; i < 8; ++i) {
      const IpAddress a = test::clustered_address(random, family);
      ASSERT_EQ(look_up(t.writer.head(), a), naive.longest(a)) << to_string(a);
    }
    for (const Edit& e : edits) {
      const IpAddress a = test::address_in(e.prefix, random);
      ASSERT_EQ(look_up(t.writer.head(), a), naive.longest(a)) << to_string(a);
      const auto it = naive.owners().find(e.prefix);
      ASSERT_EQ(t.writer.find(e.prefix), it == naive.owners().end() ? kNoPeer : it->second);
    }
  }
  auto expected = naive.owners().begin();
  t.writer.walk([&](const Prefix& p, PeerIndex peer) {
    EXPECT_EQ(p, expected->first);
    EXPECT_EQ(peer, expected->second);
    ++expected;
    return true;
  });
  EXPECT_EQ(expected, naive.owners().end());
  std::vector<Edit> removals;
  for (const auto& [prefix, peer] : naive.owners()) removals.push_back({prefix, kNoPeer});
  std::shuffle(removals.begin(), removals.end(), random);
  for (const Edit& e : removals) {
    ASSERT_TRUE(t.writer.prepare({&e, 1}));
    t.writer.reclaim(t.writer.commit());
  }
  EXPECT_EQ(t.writer.size(), 0u);
  EXPECT_EQ(t.writer.used_bytes(), 0u);
}

TEST(AllowedIps, AgreesWithALinearScanForIpv4) {
  for (uint64_t seed = 1; seed <= 6; ++seed) compare_with_naive<RootV4>(Family::V4, seed, 150);
}
TEST(AllowedIps, AgreesWithALinearScanForIpv6) {
  for (uint64_t seed = 1; seed <= 6; ++seed) compare_with_naive<RootV6>(Family::V6, seed, 150);
}

}  // namespace
}  // namespace turnpike::lookup

// The allowed-IPs table and its memory: refusals, bounds of what an edit copies, what comes back.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <thread>

#include "dataplane/base/ready_pages.h"
#include "dataplane/lookup/allowed_ips_kernel.h"
#include "tests/support/one_bit_trie.h"
#include "tests/support/prefix_mix.h"
#include "tests/support/stingy_pages.h"

namespace turnpike::lookup {
namespace {

using test::Mix;
using test::StingyPages;

// The helper may be at work on a page when it is no longer wanted, or not there yet.
bool comes_to(const ReadyPages& pages, size_t used_bytes) {
  for (int i = 0; i < 20'000 && pages.used_bytes() != used_bytes; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return pages.used_bytes() == used_bytes;
}

std::map<Prefix, PeerIndex> contents(const WriterV4& writer) {
  std::map<Prefix, PeerIndex> result;
  writer.walk([&](const Prefix& p, PeerIndex peer) {
    result[p] = peer;
    return true;
  });
  return result;
}

// The owners that a copy gives for the first addresses of these prefixes.
std::vector<PeerIndex> owners(RootV4 root, const std::vector<Edit>& edits) {
  std::vector<PeerIndex> peers(edits.size());
  for (size_t at = 0; at < edits.size(); at += kBurstMax) {
    std::vector<uint32_t> keys;
    for (size_t i = at; i < std::min(at + kBurstMax, edits.size()); ++i) {
      keys.push_back(test::key_v4(edits[i].prefix.address));
    }
    lookup_burst(root, keys, std::span(peers).subspan(at));
  }
  return peers;
}

// Of `replicas` copies the last one's source says no.
void refuse_everywhere(size_t replicas, Stamps stamps = Stamps::None) {
  std::vector<Edit> first, second;
  for (const Prefix& p : test::prefix_mix(Mix::Spread, 4'000, 1)) {
    first.push_back({p, static_cast<PeerIndex>(first.size())});
  }
  for (const Prefix& p : test::prefix_mix(Mix::Spread, 60'000, 2)) second.push_back({p, 7});
  for (size_t i = 0; i < first.size(); i += 3) second.push_back({first[i].prefix, kNoPeer});
  size_t refusals = 0;
  for (size_t refused = 0;; ++refused) {
    SCOPED_TRACE(refused);
    std::array<StingyPages, 3> all;
    std::array<RoomSource*, 3> each{&all[0], &all[1], &all[2]};
    StingyPages& pages = all[replicas - 1];
    {
      WriterV4 writer(ReplicaPages(std::span<RoomSource* const>(each).first(replicas)), stamps);
      const auto last = static_cast<ReplicaIndex>(replicas - 1);
      pages.refused = refused;
      if (!writer.prepare(first)) {
        ++refusals;
        for (ReplicaIndex i = 0; i <= last; ++i) EXPECT_EQ(writer.head(i).node, nullptr);
        EXPECT_EQ(writer.used_bytes(), 0u);
        continue;
      }
      writer.reclaim(writer.commit());
      const auto before = contents(writer);
      const size_t used = writer.used_bytes();
      std::vector<RootV4> heads;
      for (ReplicaIndex i = 0; i <= last; ++i) heads.push_back(writer.head(i));
      const std::vector<PeerIndex> owned = owners(heads[0], first);
      EXPECT_EQ(owners(heads[last], first), owned);
      if (writer.prepare(second)) {
        writer.reclaim(writer.commit());
        break;
      }
      ++refusals;
      for (ReplicaIndex i = 0; i <= last; ++i) {
        EXPECT_EQ(writer.head(i).node, heads[i].node);
        EXPECT_EQ(owners(writer.head(i), first), owned);
      }
      EXPECT_EQ(writer.used_bytes(), used);
      EXPECT_EQ(writer.size(), first.size());
      EXPECT_EQ(contents(writer), before);
      // What fits is still done, and all is done once there is memory again.
      ASSERT_TRUE(writer.prepare(std::span(first).first(1)));
      writer.abort();
      pages.refused = ~size_t{0};
      ASSERT_TRUE(writer.prepare(second));
      writer.reclaim(writer.commit());
      EXPECT_EQ(writer.find(second[0].prefix), 7u);
      EXPECT_EQ(owners(writer.head(last), second), owners(writer.head(), second));
    }
    for (const StingyPages& source : all) EXPECT_EQ(source.out, 0u);
  }
  EXPECT_GE(refusals, 4u);
}

TEST(AllowedIpsMemory, ARefusalAtAnyAllocationLeavesTheHeadAsItWas) {
  refuse_everywhere(1);
  refuse_everywhere(1, Stamps::Kept);
}
TEST(AllowedIpsMemory, ARefusalForOneCopyLeavesEveryCopyAsItWas) {
  refuse_everywhere(2);
  refuse_everywhere(2, Stamps::Kept);
  refuse_everywhere(3);
}

// Compaction makes more than is listed as fresh, in regions that come and go.
TEST(AllowedIpsMemory, ATableThatShrinksGivesBackTheMemoryOfEachCopy) {
  std::array<SystemPages, 2> pages;
  const std::array<RoomSource*, 2> each{&pages[0], &pages[1]};
  WriterV4 writer((ReplicaPages(each)));
  std::vector<Edit> edits;
  for (const Prefix& p : test::prefix_mix(Mix::Spread, 300'000, 3)) {
    edits.push_back({p, static_cast<PeerIndex>(edits.size())});
  }
  const auto commit = [&](std::span<const Edit> some) {
    ASSERT_TRUE(writer.prepare(some));
    writer.reclaim(writer.commit());
    EXPECT_EQ(owners(writer.head(1), edits), owners(writer.head(0), edits));
    EXPECT_EQ(pages[0].used_bytes(), writer.reserved_bytes());
    EXPECT_EQ(pages[1].used_bytes(), writer.reserved_bytes());
  };
  commit(edits);
  EXPECT_GT(writer.reserved_bytes(), 2 * kHugePageBytes);
  for (Edit& e : edits) e.peer = kNoPeer;
  commit(std::span(edits).subspan(2'000));
  commit(std::span(edits).first(1));  // moves it together
  EXPECT_LE(writer.reserved_bytes(), kHugePageBytes);
  commit(edits);
  EXPECT_EQ(pages[0].used_bytes() + pages[1].used_bytes(), 0u);
}

// Garbage of an edit is what it copied.
template <typename Root>
size_t most_copied(const std::vector<Prefix>& prefixes, Stamps stamps = Stamps::None) {
  SystemPages pages;
  Writer<Root> writer(pages, stamps);
  std::vector<Edit> edits;
  for (const Prefix& p : prefixes) edits.push_back({p, 1});
  EXPECT_TRUE(writer.prepare(edits));
  writer.reclaim(writer.commit());
  size_t most = 0;
  for (size_t i = 0; i < edits.size(); i += 1 + edits.size() / 2'000) {
    const size_t before = writer.used_bytes();
    const Edit given{edits[i].prefix, 2};
    EXPECT_TRUE(writer.prepare({&given, 1}));
    most = std::max(most, writer.used_bytes() - before);
    writer.reclaim(writer.commit());
    EXPECT_EQ(writer.used_bytes(), before);
  }
  return most;
}

TEST(AllowedIpsMemory, OneEditCopiesAtMost16KiB) {
  constexpr size_t kMost = 16 << 10;
  EXPECT_LE(most_copied<RootV4>(test::prefix_mix(Mix::Spread, 300'000, 3)), kMost);
  EXPECT_LE(most_copied<RootV4>(test::prefix_mix(Mix::Dense, 300'000, 3)), kMost);
  EXPECT_LE(most_copied<RootV6>(test::prefix_mix(Mix::V6, 300'000, 3)), kMost);
  // All lengths, so that nodes hold short prefixes too.
  test::Random random(5);
  std::vector<Prefix> nested;
  for (int i = 0; i < 100'000; ++i) {
    nested.push_back(Prefix::masked(IpAddress::v4(static_cast<uint32_t>(random())),
                                    static_cast<unsigned>(random() % 33)));
  }
  EXPECT_LE(most_copied<RootV4>(nested), kMost);
  // Full at the top of each band of IPv6: a path through large nodes only.
  std::vector<Prefix> fan;
  for (int i = 0; i < 200'000; ++i) {
    uint64_t high = random(), low = random();
    if (i % 2 == 0) high = random() % 2 == 0 ? 0 : high >> (random() % 64);
    if (i % 3 == 0) low = low >> (random() % 64);
    fan.push_back(
        Prefix::masked(test::address_v6(high, low), static_cast<unsigned>(random() % 129)));
  }
  EXPECT_LE(most_copied<RootV6>(fan), kMost);
  // Stamps come on top of that.
  constexpr size_t kStampBytes = 4 << 10;
  EXPECT_LE(most_copied<RootV4>(nested, Stamps::Kept), kMost + kStampBytes);
  EXPECT_LE(most_copied<RootV6>(fan, Stamps::Kept), kMost + kStampBytes);
}

// Removals of what is not there: no new root, nothing copied.
template <typename Root>
void change_nothing(const std::vector<Prefix>& prefixes) {
  SystemPages pages;
  Writer<Root> writer(pages);
  std::vector<Edit> edits;
  for (const Prefix& p : prefixes) edits.push_back({p, static_cast<PeerIndex>(edits.size())});
  ASSERT_TRUE(writer.prepare(edits));
  writer.reclaim(writer.commit());
  const Root head = writer.head();
  const size_t used = writer.used_bytes();
  test::Random random(9);
  size_t absent = 0;
  for (int i = 0; i < 20'000; ++i) {
    const Prefix& near = prefixes[random() % prefixes.size()];
    const unsigned width = near.address.width_bits();
    const Prefix p = Prefix::masked(test::address_in(near, random),
                                    static_cast<unsigned>(random() % (width + 1)));
    if (writer.find(p) != kNoPeer) continue;
    ++absent;
    const Edit removal{p, kNoPeer};
    ASSERT_TRUE(writer.prepare({&removal, 1}));
    ASSERT_EQ(writer.prepared().node, head.node) << to_string(p);
    writer.reclaim(writer.commit());
    ASSERT_EQ(writer.used_bytes(), used) << to_string(p);
  }
  EXPECT_GT(absent, 10'000u);
  EXPECT_EQ(writer.size(), prefixes.size());
}

TEST(AllowedIpsMemory, ARemovalOfWhatIsNotThereCopiesNothing) {
  change_nothing<RootV4>(test::prefix_mix(Mix::Spread, 20'000, 1));
  change_nothing<RootV4>(test::prefix_mix(Mix::Dense, 20'000, 1));
  change_nothing<RootV6>(test::prefix_mix(Mix::V6, 20'000, 1));
}

// The hosts 1 to `hosts` of each of some pools, a /64 each, in random order.
std::vector<Edit> pools_v6(uint64_t pools, uint64_t hosts) {
  std::vector<Edit> edits;
  for (uint64_t pool = 0; pool < pools; ++pool) {
    for (uint64_t host = 1; host <= hosts; ++host) {
      const IpAddress a = test::address_v6(0x2001'0db8'0000'0000 | pool, host);
      edits.push_back({Prefix::masked(a, 128), static_cast<PeerIndex>(edits.size())});
    }
  }
  test::Random random(11);
  std::shuffle(edits.begin(), edits.end(), random);
  return edits;
}

// Four bytes for each host of a full pool, as owners alone, and a few lines for those of a small one: in whatever
// order they came.
TEST(AllowedIpsMemory, OfPackedIpv6HostsIsLittleMoreThanTheirOwners) {
  for (const auto& [hosts, most] : {std::pair{10, 16.0}, {30, 8.0}, {100, 7.0}, {1'000, 4.5}}) {
    SystemPages pages;
    WriterV6 writer(pages);
    const std::vector<Edit> edits = pools_v6(50, static_cast<uint64_t>(hosts));
    for (const Edit& e : edits) {
      ASSERT_TRUE(writer.prepare({&e, 1}));
      writer.reclaim(writer.commit());
    }
    EXPECT_EQ(writer.size(), edits.size());
    EXPECT_LE(static_cast<double>(writer.used_bytes()), most * static_cast<double>(edits.size()))
        << hosts;
  }
}

// Lanes that stand at the last owner of an array wait beside others that go on through nodes. Behind the table's
// memory are addresses without any; how much is before them depends on the table.
TEST(AllowedIpsMemory, LookUpsReadNothingBehindIt) {
  for (uint64_t pools = 300; pools <= 420; pools += 20) {
    SystemPages pages;
    WriterV6 writer(pages);
    std::vector<Edit> edits = pools_v6(pools, 1'023);
    test::Random random(12);
    std::vector<Ipv6Key> deep;
    for (int i = 0; i < 5'000; ++i) {
      deep.push_back({.high = 0x2001'0db8'ffff'0000, .low = random()});
      edits.push_back(
          {Prefix::masked(test::address_v6(deep.back().high, deep.back().low), 128), 7});
    }
    ASSERT_TRUE(writer.prepare(edits));
    writer.reclaim(writer.commit());
    for (const Edit& e : edits) {
      const Ipv6Key key = test::key_v6(e.prefix.address);
      if ((key.low & 31) != 31) continue;
      const Ipv6Key both[2] = {key, deep[random() % deep.size()]};
      for (const Kernel* kernel : kernels()) {
        std::array<PeerIndex, 2> peers{};
        kernel->v6(writer.head().node, &both[0].high, 2, peers.data());
        ASSERT_EQ(peers[0], e.peer) << kernel->name;
        ASSERT_EQ(peers[1], 7u) << kernel->name;
      }
    }
  }
}

// A table that shrank gives its memory back with the next commit, and is whole in every version.
template <typename Root>
void shrink_to_little(Mix mix, size_t left) {
  StingyPages pages;
  Writer<Root> writer(pages);
  const std::vector<Prefix> prefixes = test::prefix_mix(mix, 300'000, 4);
  std::vector<Edit> edits;
  for (const Prefix& p : prefixes) edits.push_back({p, static_cast<PeerIndex>(edits.size())});
  ASSERT_TRUE(writer.prepare(edits));
  writer.reclaim(writer.commit());
  const size_t full = writer.reserved_bytes();
  for (size_t i = left; i < edits.size(); ++i) edits[i].peer = kNoPeer;
  ASSERT_TRUE(writer.prepare(std::span(edits).subspan(left)));
  writer.reclaim(writer.commit());
  ASSERT_GT(writer.reserved_bytes(), full / 2);

  test::OneBitTrie oracle;
  for (size_t i = 0; i < left; ++i) oracle.set(prefixes[i], static_cast<PeerIndex>(i));
  const auto check = [&](Root root, PeerIndex first) {
    for (size_t i = 0; i < left; ++i) {
      const IpAddress& a = prefixes[i].address;
      PeerIndex peer = 0;
      if constexpr (std::is_same_v<Root, RootV4>) {
        const uint32_t key = test::key_v4(a);
        lookup_burst(root, {&key, 1}, {&peer, 1});
      } else {
        const Ipv6Key key = test::key_v6(a);
        lookup_burst(root, {&key, 1}, {&peer, 1});
      }
      const PeerIndex expected = oracle.longest(a);
      ASSERT_EQ(peer, expected == 0 ? first : expected);
    }
  };
  // Without a region to move to, it stays.
  const Edit another{prefixes[0], 1'000'000};
  pages.refused = pages.given;
  ASSERT_TRUE(writer.prepare({&another, 1}));
  check(writer.prepared(), 1'000'000);
  writer.abort();
  pages.refused = ~size_t{0};

  const Root before = writer.head();
  ASSERT_TRUE(writer.prepare({&another, 1}));
  const Garbage garbage = writer.commit();
  check(before, 0);
  check(writer.head(), 1'000'000);
  writer.reclaim(garbage);
  check(writer.head(), 1'000'000);
  EXPECT_LE(writer.reserved_bytes(), size_t{4} << 20);
  EXPECT_LT(writer.reserved_bytes(), full / 2);

  // And it can grow and go again.
  for (size_t i = 0; i < edits.size(); ++i) edits[i].peer = static_cast<PeerIndex>(i);
  ASSERT_TRUE(writer.prepare(edits));
  writer.reclaim(writer.commit());
  EXPECT_EQ(writer.size(), prefixes.size());
  for (Edit& e : edits) e.peer = kNoPeer;
  ASSERT_TRUE(writer.prepare(edits));
  writer.reclaim(writer.commit());
  EXPECT_EQ(writer.reserved_bytes(), 0u);
  EXPECT_EQ(pages.out, 0u);
}

TEST(AllowedIpsMemory, OfATableThatShrankGoesBackWithTheNextCommit) {
  shrink_to_little<RootV4>(Mix::Spread, 2'000);
  shrink_to_little<RootV4>(Mix::Dense, 2'000);
  shrink_to_little<RootV6>(Mix::V6, 2'000);
}

// Edit by edit, each large region is there and touched when it is needed; and nothing of it stays.
template <typename Root>
void grow_on_ready_pages(Mix mix) {
  ReadyPages pages;
  std::vector<Edit> edits;
  for (const Prefix& p : test::prefix_mix(mix, 250'000, 6)) edits.push_back({p, 1});
  {
    Writer<Root> writer(pages);
    size_t reserved = 0;
    for (const Edit& e : edits) {
      ASSERT_TRUE(writer.prepare({&e, 1}));
      writer.reclaim(writer.commit());
      if (writer.reserved_bytes() == reserved) continue;
      reserved = writer.reserved_bytes();
      // A small table keeps nothing ready.
      if (reserved < (size_t{512} << 10)) {
        ASSERT_EQ(pages.used_bytes(), reserved);
      }
      // The helper needs less time than a region lasts, but a busy machine may give it none.
      for (int i = 0; i < 20'000 && reserved >= (size_t{512} << 10); ++i) {
        if (pages.counts().ready == 1) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    EXPECT_EQ(pages.counts().missed, 0u);
    EXPECT_GE(pages.counts().served, 2u);
    EXPECT_TRUE(comes_to(pages, reserved + kHugePageBytes));
    for (Edit& e : edits) e.peer = kNoPeer;
    ASSERT_TRUE(writer.prepare(edits));
    writer.reclaim(writer.commit());
    EXPECT_EQ(writer.reserved_bytes(), 0u);
    EXPECT_TRUE(comes_to(pages, 0));
    // A table that is destroyed as it is expects nothing either.
    for (Edit& e : edits) e.peer = 1;
    ASSERT_TRUE(writer.prepare(edits));
    writer.reclaim(writer.commit());
  }
  EXPECT_TRUE(comes_to(pages, 0));
}

TEST(AllowedIpsMemory, ATableThatGrowsEditByEditFindsItsMemoryTouchedAhead) {
  grow_on_ready_pages<RootV4>(Mix::Spread);
  grow_on_ready_pages<RootV6>(Mix::V6);
}

TEST(AllowedIpsMemory, GarbageOfSeveralBatchesComesBackInTheirOrder) {
  SystemPages pages;
  WriterV4 writer(pages);
  std::vector<Garbage> waiting;
  std::vector<RootV4> roots;
  for (PeerIndex round = 0; round < 50; ++round) {
    std::vector<Edit> edits;
    for (uint32_t i = 0; i < 200; ++i) {
      edits.push_back({Prefix::masked(IpAddress::v4(i * 0x01234567), 8 + i % 25), round});
    }
    ASSERT_TRUE(writer.prepare(edits));
    waiting.push_back(writer.commit());
    roots.push_back(writer.head());
  }
  // Each version is whole as long as it is not retired.
  for (PeerIndex round = 0; round < 50; ++round) {
    for (PeerIndex later = round; later < 50; ++later) {
      const uint32_t address = 0x01234567 * 3;
      PeerIndex peer = kNoPeer;
      lookup_burst(roots[later], {&address, 1}, {&peer, 1});
      ASSERT_EQ(peer, later);
    }
    writer.reclaim(waiting[round]);
  }
  const size_t used = writer.used_bytes();
  std::vector<Edit> removals;
  writer.walk([&](const Prefix& p, PeerIndex) {
    removals.push_back({p, kNoPeer});
    return true;
  });
  EXPECT_GT(used, 0u);
  ASSERT_TRUE(writer.prepare(removals));
  writer.reclaim(writer.commit());
  EXPECT_EQ(writer.used_bytes(), 0u);
  EXPECT_EQ(writer.reserved_bytes(), 0u);
}

}  // namespace
}  // namespace turnpike::lookup

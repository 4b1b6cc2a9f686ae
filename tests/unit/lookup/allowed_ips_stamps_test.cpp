#include "dataplane/lookup/allowed_ips_stamps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <map>
#include <vector>

#include "tests/support/prefix_mix.h"

namespace turnpike::lookup {
namespace {

using test::key_v4;
using test::key_v6;

template <typename Root>
Stamp stamp_at(Root root, const IpAddress& a) {
  if constexpr (std::is_same_v<Root, RootV4>) {
    return stamp_of(root, key_v4(a));
  } else {
    return stamp_of(root, key_v6(a));
  }
}

template <typename Root>
PeerIndex owner_at(Root root, const IpAddress& a) {
  PeerIndex peer = 0;
  const auto ask = [&](auto key) { lookup_burst(root, {&key, 1}, {&peer, 1}); };
  if constexpr (std::is_same_v<Root, RootV4>) {
    ask(key_v4(a));
  } else {
    ask(key_v6(a));
  }
  return peer;
}

template <typename Root>
Garbage commit(Writer<Root>& writer, std::span<const Edit> edits) {
  EXPECT_TRUE(writer.prepare(edits));
  return writer.commit();
}

struct StampOrder {
  bool operator()(const Stamp& a, const Stamp& b) const {
    return std::lexicographical_compare(a.words, a.words + 2, b.words, b.words + 2);
  }
};

// The owner that each address had under each of its stamps. A second one is what must not be.
class Told {
 public:
  void expect(const IpAddress& address, const Stamp& stamp, PeerIndex owner) {
    ASSERT_FALSE(stamp.is_none());
    const auto [told, is_new] = told_[address].try_emplace(stamp, owner);
    ASSERT_EQ(told->second, owner) << to_string(address);
    again_ += is_new ? 0 : 1;
  }
  [[nodiscard]] size_t again() const { return again_; }

 private:
  std::map<IpAddress, std::map<Stamp, PeerIndex, StampOrder>> told_;
  size_t again_ = 0;
};

// Of all versions that a table ever has, in both of its copies, with batches that are given up between.
template <typename Root>
void same_stamp_same_owner(Family family, uint64_t seed) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  test::Random random(seed);
  std::array<SystemPages, 2> pages;
  const std::array<RoomSource*, 2> each{&pages[0], &pages[1]};
  Writer<Root> writer(ReplicaPages(each), Stamps::Kept);
  std::vector<IpAddress> asked;
  std::vector<Prefix> used;
  const unsigned width = family == Family::V4 ? 32 : 128;
  for (int i = 0; i < 60; ++i) {
    const IpAddress a = test::clustered_address(random, family);
    used.push_back(Prefix::masked(a, static_cast<unsigned>(random() % (width + 1))));
    used.push_back(Prefix::masked(a, width - static_cast<unsigned>(random() % 16)));
    asked.push_back(a);
    asked.push_back(test::address_in(used.back(), random));
    asked.push_back(test::address_in(used[random() % used.size()], random));
  }
  Told told;
  // Old versions are given back late, so that an empty table has memory that was stamps before.
  std::deque<Garbage> late;
  for (int round = 0; round < 400; ++round) {
    std::vector<Edit> edits;
    const bool of_all = round % 50 == 0;
    for (size_t i = of_all ? used.size() : random() % 4; i > 0; --i) {
      const bool removes = round % 100 == 50 || random() % 3 == 0;
      edits.push_back({of_all ? used[i - 1] : used[random() % used.size()],
                       removes ? kNoPeer : static_cast<PeerIndex>(random() % 5)});
    }
    ASSERT_TRUE(writer.prepare(edits));
    if (random() % 4 == 0) {
      writer.abort();
      continue;
    }
    late.push_back(writer.commit());
    for (; late.size() > 3; late.pop_front()) writer.reclaim(late.front());
    if (writer.size() == 0) continue;
    for (const IpAddress& a : asked) {
      const Stamp stamp = stamp_at(writer.head(), a);
      ASSERT_NO_FATAL_FAILURE(told.expect(a, stamp, owner_at(writer.head(), a)));
      ASSERT_EQ(stamp_at(writer.head(1), a), stamp);
    }
  }
  EXPECT_GT(told.again(), 1'000u) << "stamps that are always new say nothing";
}

TEST(Stamps, WhereAStampIsTheSameTheOwnerIsForIpv4) {
  for (uint64_t seed = 1; seed <= 20; ++seed) same_stamp_same_owner<RootV4>(Family::V4, seed);
}
TEST(Stamps, WhereAStampIsTheSameTheOwnerIsForIpv6) {
  for (uint64_t seed = 1; seed <= 20; ++seed) same_stamp_same_owner<RootV6>(Family::V6, seed);
}

// Inserted, given to another, removed: of every length, for every address below it.
template <typename Root>
void an_edit_renews(Family family) {
  test::Random random(7);
  SystemPages pages;
  Writer<Root> writer(pages, Stamps::Kept);
  const Edit all{Prefix::masked(IpAddress{.family = family, .bytes = {}}, 0), 9};
  writer.reclaim(commit(writer, {&all, 1}));
  const unsigned width = family == Family::V4 ? 32 : 128;
  for (unsigned length = 0; length <= width; ++length) {
    const Prefix prefix = Prefix::masked(test::clustered_address(random, family), length);
    std::vector<IpAddress> below;
    for (int i = 0; i < 50; ++i) below.push_back(test::address_in(prefix, random));
    for (const PeerIndex owner : {1u, 2u, kNoPeer}) {
      std::vector<Stamp> before;
      for (const IpAddress& a : below) before.push_back(stamp_at(writer.head(), a));
      const Edit edit{prefix, owner};
      writer.reclaim(commit(writer, {&edit, 1}));
      for (size_t i = 0; i < below.size() && writer.size() != 0; ++i) {
        ASSERT_NE(stamp_at(writer.head(), below[i]), before[i])
            << to_string(below[i]) << " in " << to_string(prefix);
      }
    }
    if (length == 0) writer.reclaim(commit(writer, {&all, 1}));
  }
}

TEST(Stamps, AnEditRenewsThoseOfAllThatItsPrefixCovers) {
  an_edit_renews<RootV4>(Family::V4);
  an_edit_renews<RootV6>(Family::V6);
}

// How many of the prefixes' first addresses have another stamp after an edit of one, in the mean.
template <typename Root>
double renewed_by_one(const std::vector<Prefix>& prefixes) {
  SystemPages pages;
  Writer<Root> writer(pages, Stamps::Kept);
  std::vector<Edit> edits;
  for (const Prefix& p : prefixes) edits.push_back({p, 1});
  writer.reclaim(commit(writer, std::span<const Edit>(edits)));
  constexpr size_t kRounds = 100;
  size_t renewed = 0;
  for (size_t round = 0; round < kRounds; ++round) {
    const RootLine before = *static_cast<const RootLine*>(writer.head().node);
    const Edit given{prefixes[round * (prefixes.size() / kRounds)], 2};
    const Root old = writer.head();
    const Garbage garbage = commit(writer, {&given, 1});
    for (const Prefix& p : prefixes) {
      renewed += stamp_at(old, p.address) == stamp_at(writer.head(), p.address) ? 0 : 1;
    }
    EXPECT_NE(before.stamps, 0u);
    writer.reclaim(garbage);
  }
  return static_cast<double>(renewed) / static_cast<double>(kRounds * prefixes.size());
}

template <typename MakePrefix>
std::vector<Prefix> prefixes_of(size_t count, MakePrefix make) {
  std::vector<Prefix> prefixes;
  for (uint64_t i = 0; i < count; ++i) prefixes.push_back(make(i));
  return prefixes;
}

TEST(Stamps, AnEditLeavesThoseOfMostOthers) {
  constexpr size_t kCount = 20'000;
  const auto v4 = [](uint64_t address, unsigned length) {
    return Prefix::masked(IpAddress::v4(static_cast<uint32_t>(address)), length);
  };
  const auto v6 = [](uint64_t high, uint64_t low, unsigned length) {
    return Prefix::masked(test::address_v6(high, low), length);
  };
  constexpr uint64_t kNet = 0x2001'0db8'0000'0000;
  // Hosts of a pool, nets, hosts of one place in each net.
  EXPECT_LT(renewed_by_one<RootV4>(
                prefixes_of(kCount, [&](uint64_t i) { return v4(0x6440'0000 + i, 32); })),
            0.002);
  EXPECT_LT(renewed_by_one<RootV4>(
                prefixes_of(kCount, [&](uint64_t i) { return v4(0x0a00'0000 + (i << 8), 24); })),
            0.04);
  EXPECT_LT(renewed_by_one<RootV4>(
                prefixes_of(kCount, [&](uint64_t i) { return v4(1 + (i << 16), 32); })),
            0.004);
  EXPECT_LT(
      renewed_by_one<RootV6>(prefixes_of(kCount, [&](uint64_t i) { return v6(kNet, i + 1, 128); })),
      0.01);
  EXPECT_LT(
      renewed_by_one<RootV6>(prefixes_of(kCount, [&](uint64_t i) { return v6(kNet + i, 1, 128); })),
      0.01);
  EXPECT_LT(
      renewed_by_one<RootV6>(prefixes_of(kCount, [&](uint64_t i) { return v6(kNet + i, 0, 64); })),
      0.01);
  EXPECT_LT(renewed_by_one<RootV6>(
                prefixes_of(kCount, [&](uint64_t i) { return v6(kNet + (i << 8), 0, 56); })),
            0.02);
  EXPECT_LT(renewed_by_one<RootV6>(
                prefixes_of(kCount, [&](uint64_t i) { return v6(kNet + (i << 16), 0, 48); })),
            0.01);
  const test::Mix mixes[] = {test::Mix::Spread, test::Mix::Dense};
  for (const test::Mix mix : mixes) {
    EXPECT_LT(renewed_by_one<RootV4>(test::prefix_mix(mix, kCount, 5)), 0.04);
  }
  EXPECT_LT(renewed_by_one<RootV6>(test::prefix_mix(test::Mix::V6, kCount, 5)), 0.01);
}

TEST(Stamps, TwoTablesNeverHaveTheSame) {
  SystemPages pages;
  const Edit edit{*parse_prefix("10.0.0.0/8"), 1};
  const auto stamp_of_new = [&] {
    WriterV4 writer(pages, Stamps::Kept);
    writer.reclaim(commit(writer, {&edit, 1}));
    return stamp_of(writer.head(), 0x0a00'0001);
  };
  const Stamp first = stamp_of_new();
  EXPECT_NE(stamp_of_new(), first) << "as one after the other, too";
}

TEST(Stamps, ATableThatWasEmptyHasNewOnes) {
  SystemPages pages;
  WriterV4 writer(pages, Stamps::Kept);
  Edit edit{*parse_prefix("10.0.0.0/8"), 1};
  writer.reclaim(commit(writer, {&edit, 1}));
  const Stamp here = stamp_of(writer.head(), 0x0a00'0001);
  const Stamp elsewhere = stamp_of(writer.head(), 0x0b00'0001);
  edit.peer = kNoPeer;
  writer.reclaim(commit(writer, {&edit, 1}));
  EXPECT_TRUE(stamp_of(writer.head(), 0x0a00'0001).is_none());
  EXPECT_EQ(writer.used_bytes(), 0u);
  edit.peer = 1;
  writer.reclaim(commit(writer, {&edit, 1}));
  EXPECT_NE(stamp_of(writer.head(), 0x0a00'0001), here);
  EXPECT_NE(stamp_of(writer.head(), 0x0b00'0001), elsewhere);
}

TEST(Stamps, ATableThatKeepsNoneHasNone) {
  SystemPages pages;
  WriterV4 writer(pages);
  const Edit edit{*parse_prefix("10.0.0.0/8"), 1};
  writer.reclaim(commit(writer, {&edit, 1}));
  EXPECT_TRUE(stamp_of(writer.head(), 0x0a00'0001).is_none());
  EXPECT_TRUE(stamp_of(RootV4{}, 0x0a00'0001).is_none());
  EXPECT_TRUE(stamp_of(RootV6{}, Ipv6Key{}).is_none());
}

TEST(Stamps, ATableThatIsMovedTogetherKeepsThem) {
  SystemPages pages;
  WriterV4 writer(pages, Stamps::Kept);
  const std::vector<Prefix> prefixes = test::prefix_mix(test::Mix::Spread, 300'000, 4);
  std::vector<Edit> edits;
  for (const Prefix& p : prefixes) edits.push_back({p, static_cast<PeerIndex>(edits.size())});
  writer.reclaim(commit(writer, std::span<const Edit>(edits)));
  for (Edit& e : edits) e.peer = kNoPeer;
  writer.reclaim(commit(writer, std::span<const Edit>(edits).subspan(2'000)));
  const size_t reserved = writer.reserved_bytes();
  std::vector<Stamp> before;
  for (const Prefix& p : prefixes) before.push_back(stamp_at(writer.head(), p.address));
  writer.reclaim(commit(writer, std::span<const Edit>(edits).first(1)));
  EXPECT_LT(writer.reserved_bytes(), reserved / 2);
  size_t same = 0;
  for (size_t i = 0; i < prefixes.size(); ++i) {
    same += stamp_at(writer.head(), prefixes[i].address) == before[i] ? 1 : 0;
  }
  EXPECT_GT(same, prefixes.size() * 9 / 10);
  for (size_t i = 1; i < 2'000; ++i) {
    EXPECT_EQ(owner_at(writer.head(), prefixes[i].address) == kNoPeer, false);
  }
}

TEST(StampClock, NumbersThatAreUsedUpBeginAnewInAnotherEra) {
  StampClock clock(std::numeric_limits<uint32_t>::max() - 1);
  const StampClock other;
  const uint32_t era = clock.era();
  EXPECT_NE(era, 0u);
  EXPECT_NE(era, other.era());
  clock.advance();
  EXPECT_EQ(clock.era(), era);
  EXPECT_EQ(clock.number(), std::numeric_limits<uint32_t>::max());
  clock.advance();
  EXPECT_NE(clock.era(), era);
  EXPECT_NE(clock.era(), other.era());
  EXPECT_NE(clock.era(), 0u);
}

}  // namespace
}  // namespace turnpike::lookup

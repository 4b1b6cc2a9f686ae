#include "dataplane/pipeline/lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <random>
#include <vector>

namespace turnpike::pipeline {
namespace {

using Found = std::vector<std::pair<uint64_t, std::vector<Lane>>>;

Found naive(const Lanes& lanes, const PerLane<uint64_t>& keys) {
  Found found;
  std::map<uint64_t, size_t> place;
  for (const Lane lane : lanes) {
    const auto [at, fresh] = place.try_emplace(keys[lane], found.size());
    if (fresh) found.push_back({keys[lane], {}});
    found[at->second].second.push_back(lane);
  }
  return found;
}

Found built(Groups& groups, const Lanes& lanes, const PerLane<uint64_t>& keys) {
  groups.build(lanes, [&](Lane lane) { return keys[lane]; });
  Found found;
  for (size_t g = 0; g < groups.count(); ++g) {
    found.push_back({groups.key(g), {groups.lanes(g).begin(), groups.lanes(g).end()}});
  }
  return found;
}

Lanes list(std::initializer_list<int> lanes) {
  Lanes made;
  for (const int lane : lanes) made.push(static_cast<Lane>(lane));
  return made;
}

// As they come out of a burst of both families: IPv4 first, then IPv6, each in its order.
TEST(Lanes, OfTwoListsKeepTheOrderOfEachAlsoWhereThatIsNotAscending) {
  Lanes merged = list({0});
  merged.append_merged(list({2, 5, 6}), list({3, 8, 1, 7}));
  EXPECT_TRUE(std::ranges::equal(merged, list({0, 2, 3, 5, 6, 8, 1, 7})));
  merged.clear();
  merged.append_merged(list({2, 5, 9}), list({3, 1, 7}));
  EXPECT_TRUE(std::ranges::equal(merged, list({2, 3, 1, 5, 7, 9})));
  merged.append_merged(list({}), list({11, 10}));
  merged.append_merged(list({13, 12}), list({}));
  EXPECT_TRUE(std::ranges::equal(merged, list({2, 3, 1, 5, 7, 9, 11, 10, 13, 12})));
}

// From one key for all to one for each, in bursts of all sizes, with lanes left out.
TEST(Groups, AreInTheOrderOfTheirFirstLanesAndKeepTheOrderWithin) {
  std::mt19937_64 random(5);
  Groups groups;
  for (int round = 0; round < 20'000; ++round) {
    const uint64_t different = 1 + random() % (round % 2 == 0 ? 4 : 10'000);
    const uint64_t stride = uint64_t{1} << random() % 24;
    Lanes lanes;
    PerLane<uint64_t> keys{};
    const size_t count = random() % (kBurstMax + 1);
    for (size_t lane = 0; lane < count; ++lane) {
      if (random() % 8 == 0) continue;
      keys[lane] = random() % different * stride;
      lanes.push(static_cast<Lane>(lane));
    }
    ASSERT_EQ(built(groups, lanes, keys), naive(lanes, keys)) << "round " << round;
  }
}

TEST(Groups, HaveRoomForAKeyOfItsOwnForEachLane) {
  Groups groups;
  Lanes lanes;
  PerLane<uint64_t> keys;
  for (size_t lane = 0; lane < kBurstMax; ++lane) {
    keys[lane] = 128 * lane;
    lanes.push(static_cast<Lane>(lane));
  }
  EXPECT_EQ(built(groups, lanes, keys), naive(lanes, keys));
  EXPECT_EQ(groups.count(), kBurstMax);
}

TEST(Groups, ForgetALaneAndKeepTheOrderOfTheOthers) {
  Groups groups;
  const Lanes lanes = list({4, 0, 7, 2, 9, 5});
  groups.build(lanes, [](Lane lane) { return uint64_t{lane == 9}; });
  groups.remove(0, 1);
  EXPECT_TRUE(std::ranges::equal(groups.lanes(0), list({4, 7, 2, 5})));
  groups.remove(0, 3);
  groups.remove(0, 0);
  EXPECT_TRUE(std::ranges::equal(groups.lanes(0), list({7, 2})));
  groups.remove(1, 0);
  EXPECT_TRUE(groups.lanes(1).empty());
  EXPECT_TRUE(std::ranges::equal(groups.lanes(0), list({7, 2})));
}

}  // namespace
}  // namespace turnpike::pipeline

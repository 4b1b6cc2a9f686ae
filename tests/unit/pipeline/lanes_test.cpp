#include "dataplane/pipeline/lanes.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace turnpike::pipeline

#include "dataplane/wireguard/receiver_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <vector>

#include "tests/support/sim_random.h"
#include "tests/support/sim_seeds.h"

namespace turnpike::wireguard {
namespace {

ReceiverIndexes indexes_of(uint64_t seed) {
  sim::Random random(seed);
  return ReceiverIndexes(random);
}

// Of all 2^32 no test looks at each; that every one of a sample comes back is what makes it a permutation there.
TEST(ReceiverIndexes, EveryIndexHasAPlaceAndEveryPlaceItsIndex) {
  for (const uint64_t seed : sim::seeds(50)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const ReceiverIndexes indexes = indexes_of(seed);
    sim::Random random(~seed);
    std::vector<uint32_t> samples = {0, 1, 0x7fff'ffff, 0x8000'0000, 0xffff'fffe, 0xffff'ffff};
    for (int i = 0; i < 2'000; ++i) samples.push_back(random.next_u32());
    for (const uint32_t sample : samples) {
      const KeypairPlace place = indexes.place_of(sample);
      ASSERT_LT(place.slot, KeypairPlace::kSlots);
      ASSERT_LT(place.generation, KeypairPlace::kGenerations);
      ASSERT_EQ(indexes.index_of(place), sample);
      const KeypairPlace other{.slot = sample % KeypairPlace::kSlots,
                               .generation = sample / KeypairPlace::kSlots};
      ASSERT_EQ(indexes.place_of(indexes.index_of(other)), other);
    }
  }
}

TEST(ReceiverIndexes, NoTwoPlacesShareAnIndex) {
  const ReceiverIndexes indexes = indexes_of(7);
  std::vector<uint32_t> all;
  for (uint32_t slot = 0; slot < 500; ++slot) {
    for (uint32_t generation = 0; generation < KeypairPlace::kGenerations; ++generation) {
      all.push_back(indexes.index_of({slot, generation}));
    }
  }
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
}

TEST(ReceiverIndexes, AnotherKeyGivesOtherIndexes) {
  std::set<uint32_t> distinct;
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    distinct.insert(indexes_of(seed).index_of({.slot = 3, .generation = 0}));
  }
  EXPECT_GT(distinct.size(), 998u);
}

// What goes over the wire: indexes of slots side by side, and of the lives of one slot. Each must look drawn at random,
// whatever was seen before. Bounds are six standard deviations for 50 seeds of fixed bits.
class Looks : public testing::TestWithParam<uint32_t> {
 protected:
  static constexpr int kDraws = 1'024;
  // Consecutive places, `GetParam()` apart.
  static std::vector<uint32_t> drawn(const ReceiverIndexes& indexes, uint32_t first) {
    std::vector<uint32_t> all;
    for (uint32_t i = 0; i < kDraws; ++i) {
      const uint32_t place = first + i * GetParam();
      all.push_back(indexes.index_of({place % KeypairPlace::kSlots, place / KeypairPlace::kSlots}));
    }
    return all;
  }
};

TEST_P(Looks, EveryBitIsSetAndChangesHalfOfTheTime) {
  constexpr double kDeviation = 16;  // half the square root of the draws
  for (const uint64_t seed : sim::seeds(50)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::vector<uint32_t> indexes = drawn(indexes_of(seed), 0);
    std::array<int, 32> ones{}, flips{};
    for (size_t i = 0; i < indexes.size(); ++i) {
      for (unsigned bit = 0; bit < 32; ++bit) {
        ones[bit] += static_cast<int>(indexes[i] >> bit & 1);
        flips[bit] += static_cast<int>((indexes[i] ^ indexes[i == 0 ? 0 : i - 1]) >> bit & 1);
      }
    }
    for (unsigned bit = 0; bit < 32; ++bit) {
      EXPECT_NEAR(ones[bit], kDraws / 2, 6 * kDeviation) << "bit " << bit;
      EXPECT_NEAR(flips[bit], kDraws / 2, 6 * kDeviation) << "bit " << bit;
    }
  }
}

TEST_P(Looks, TheNextOneDiffersFromTheLastInHalfOfItsBitsAndNeverBySameSteps) {
  for (const uint64_t seed : sim::seeds(50)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::vector<uint32_t> indexes = drawn(indexes_of(seed), 5);
    std::set<uint32_t> differences, sums;
    double bits = 0;
    for (size_t i = 1; i < indexes.size(); ++i) {
      bits += std::popcount(indexes[i] ^ indexes[i - 1]);
      differences.insert(indexes[i] - indexes[i - 1]);
      sums.insert(indexes[i] ^ indexes[i - 1]);
    }
    // Of 32 bits 16 on average, the deviation of one is 2.83.
    EXPECT_NEAR(bits / (kDraws - 1), 16, 6 * 2.83 / 32);
    // Of 1,023 random words the chance that three pairs agree is below 10^-11.
    EXPECT_GT(differences.size(), kDraws - 4u);
    EXPECT_GT(sums.size(), kDraws - 4u);
  }
}

// No region is preferred: 64 boxes by the upper bits, and by the lower ones.
TEST_P(Looks, TheyLieEverywhere) {
  for (const uint64_t seed : sim::seeds(50)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::array<int, 64> by_upper{}, by_lower{};
    for (const uint32_t index : drawn(indexes_of(seed), 77)) {
      ++by_upper[index >> 26];
      ++by_lower[index % 64];
    }
    // 63 degrees of freedom: 63 on average, deviation 11.2.
    const auto chi_square = [](const std::array<int, 64>& boxes) {
      double sum = 0;
      for (const int count : boxes) sum += (count - 16.0) * (count - 16.0) / 16.0;
      return sum;
    };
    EXPECT_LT(chi_square(by_upper), 63 + 6 * 11.2);
    EXPECT_LT(chi_square(by_lower), 63 + 6 * 11.2);
    EXPECT_GT(chi_square(by_upper), 20) << "too even to be random";
    EXPECT_GT(chi_square(by_lower), 20) << "too even to be random";
  }
}

// And who meets the workers with guesses: the places of indexes side by side are as scattered.
TEST(ReceiverIndexes, NeighbouringIndexesLeadFarApart) {
  for (const uint64_t seed : sim::seeds(50)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const ReceiverIndexes indexes = indexes_of(seed);
    double bits = 0;
    for (uint32_t index = 0; index < 1'023; ++index) {
      bits += std::popcount(indexes.place_of(index).slot ^ indexes.place_of(index + 1).slot);
    }
    EXPECT_NEAR(bits / 1'023, 11, 6 * 2.35 / 32);  // half of 22
  }
}

INSTANTIATE_TEST_SUITE_P(Apart, Looks, testing::Values(1u, 2u, 1u << 14, KeypairPlace::kSlots),
                         [](const auto& apart) { return std::to_string(apart.param); });

}  // namespace
}  // namespace turnpike::wireguard

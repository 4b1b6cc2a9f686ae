#include "control/state/hash_index.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

#include "control/state/slots.h"

namespace turnpike::state {
namespace {

TEST(HashIndex, AgreesWithAMapThroughGrowthShrinkageAndColliding) {
  for (const unsigned shard_bits : {0u, 3u}) {
    for (const uint64_t hash_mask : {~uint64_t{0}, uint64_t{0xf}, uint64_t{0}}) {
      SCOPED_TRACE(testing::Message() << shard_bits << " " << hash_mask);
      std::mt19937_64 random(11);
      HashIndex index(shard_bits);
      std::unordered_map<uint32_t, uint64_t> model;  // slot -> hash
      const uint32_t range = hash_mask == ~uint64_t{0} ? 4000 : 100;
      for (int round = 0; round < 20'000; ++round) {
        const uint32_t slot = static_cast<uint32_t>(random() % range);
        const uint64_t hash = mix_hash(slot) & hash_mask;
        // Grows in the first half, shrinks in the second.
        const bool grow = random() % 4 != (round < 10'000 ? 0u : 1u);
        if (model.contains(slot)) {
          if (!grow || round >= 10'000) {
            index.erase(hash, slot);
            model.erase(slot);
          }
        } else if (round < 10'000) {
          index.insert(hash, slot);
          model[slot] = hash;
        }
        ASSERT_EQ(index.size(), model.size());
      }
      for (uint32_t slot = 0; slot < range; ++slot) {
        const uint32_t found = index.find(mix_hash(slot) & hash_mask,
                                          [&](uint32_t candidate) { return candidate == slot; });
        ASSERT_EQ(found, model.contains(slot) ? slot : kNoSlot);
      }
    }
  }
}

TEST(Slots, KeepNumbersAndAddressesWhileTheyGrowAndReuseWhatIsReleased) {
  Slots<int> slots;
  const uint32_t first = slots.allocate();
  slots[first] = 7;
  const int* address = &slots[first];
  for (int i = 0; i < 5000; ++i) slots[slots.allocate()] = i;
  EXPECT_EQ(&slots[first], address);
  EXPECT_EQ(slots[first], 7);
  slots.release(100);
  EXPECT_EQ(slots.size(), 5000u);
  EXPECT_EQ(slots.allocate(), 100u);
  EXPECT_EQ(slots[100], 0);
}

}  // namespace
}  // namespace turnpike::state

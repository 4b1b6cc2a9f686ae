#include "dataplane/lookup/receiver_table.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <vector>

#include "dataplane/base/check.h"
#include "tests/support/keypairs.h"
#include "tests/support/sim_random.h"

namespace turnpike::lookup {
namespace {

using wireguard::Keypair;

// Gives the words of a list, in their order.
class ListedRandom final : public RandomSource {
 public:
  explicit ListedRandom(std::vector<uint32_t> words) : words_(std::move(words)) {}
  void fill(std::span<uint8_t> out) noexcept override {
    CHECK(out.size() == 4);
    store_le32(out.data(), words_[at_++ % words_.size()]);
  }

 private:
  std::vector<uint32_t> words_;
  size_t at_ = 0;
};

test::KeypairPtr keypair_with(uint32_t local_index) {
  auto keypair = test::make_keypair();
  keypair->local_index = local_index;
  return keypair;
}

TEST(ReceiverTable, FindsAKeypairFromInstallToRemove) {
  SystemPages pages;
  ReceiverTable table(pages, 64);
  ASSERT_TRUE(table.valid());
  sim::Random random(1);
  const uint32_t index = *table.reserve(random);
  EXPECT_EQ(table.find(index), nullptr);
  const auto keypair = keypair_with(index);
  table.install(index, keypair.get());
  EXPECT_EQ(table.find(index), keypair.get());
  table.remove(index);
  EXPECT_EQ(table.find(index), nullptr);
  table.release(index);
}

TEST(ReceiverTable, AnIndexOfTheSameSlotLeadsToAKeypairWhoseFullIndexDiffers) {
  SystemPages pages;
  ReceiverTable table(pages, 64);
  ListedRandom random({0x1234'5605});
  const uint32_t index = *table.reserve(random);
  const auto keypair = keypair_with(index);
  table.install(index, keypair.get());
  const Keypair* guessed = table.find(0x9999'9905);
  ASSERT_NE(guessed, nullptr);
  EXPECT_NE(guessed->local_index, 0x9999'9905u);  // what the worker compares
  EXPECT_EQ(table.find(0x1234'5606), nullptr);
}

TEST(ReceiverTable, ReservedSlotIsNotGivenOutAgainUntilItIsReleased) {
  SystemPages pages;
  ReceiverTable table(pages, 64);
  ListedRandom same_slot({0x0000'0007, 0x1111'1107});
  ASSERT_EQ(table.reserve(same_slot), 0x0000'0007u);
  EXPECT_EQ(table.reserve(same_slot), std::nullopt);
  const auto keypair = keypair_with(7);
  table.install(7, keypair.get());
  table.remove(7);
  EXPECT_EQ(table.reserve(same_slot), std::nullopt);  // removed, but its epoch has not passed
  table.release(7);
  EXPECT_TRUE(table.reserve(same_slot).has_value());
}

TEST(ReceiverTable, AbandonedReservationCanBeReleasedWithoutAKeypair) {
  SystemPages pages;
  ReceiverTable table(pages, 64);
  ListedRandom random({0x0000'0009});
  ASSERT_EQ(table.reserve(random), 9u);
  table.release(9);
  EXPECT_EQ(table.reserve(random), 9u);
}

TEST(ReceiverTable, SaysNoWhenItIsFullAndGivesEverySlotOnce) {
  SystemPages pages;
  ReceiverTable table(pages, 64);
  sim::Random random(3);
  std::set<uint32_t> slots;
  int refused = 0;
  while (slots.size() < 64) {
    if (const auto index = table.reserve(random)) {
      EXPECT_TRUE(slots.insert(*index & 63).second);
    } else {
      ++refused;
      ASSERT_LT(refused, 10'000);
    }
  }
  EXPECT_EQ(table.reserve(random), std::nullopt);
}

// Whoever knows many indexes must not be able to guess the next: all 32 bits come from the random source.
TEST(ReceiverTable, EveryBitOfAnIndexIsRandom) {
  SystemPages pages;
  ReceiverTable table(pages, 1u << 16);
  sim::Random random(4);
  constexpr int kDraws = 8'192;
  std::array<int, 32> ones{};
  std::array<int, 32> flips{};
  uint32_t last = 0;
  std::set<uint32_t> distinct;
  for (int i = 0; i < kDraws; ++i) {
    const uint32_t index = *table.reserve(random);
    distinct.insert(index);
    for (int bit = 0; bit < 32; ++bit) {
      ones[bit] += static_cast<int>(index >> bit & 1);
      flips[bit] += static_cast<int>((index ^ last) >> bit & 1);
    }
    last = index;
  }
  EXPECT_EQ(distinct.size(), size_t{kDraws});
  // Six standard deviations (half the square root of the draws) around one half; the seed is fixed.
  for (int bit = 0; bit < 32; ++bit) {
    EXPECT_NEAR(ones[bit], kDraws / 2, 6 * 46) << "bit " << bit;
    EXPECT_NEAR(flips[bit], kDraws / 2, 6 * 46) << "bit " << bit;
  }
}

TEST(ReceiverTable, NoMemoryLeavesItInvalid) {
  SystemPages pages(4'096);
  ReceiverTable table(pages, 1u << 20);
  EXPECT_FALSE(table.valid());
}

TEST(ReceiverTableDeath, MisuseStopsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  SystemPages pages;
  ReceiverTable table(pages, 64);
  const auto keypair = keypair_with(5);
  const auto other = keypair_with(6);
  ListedRandom random({5});
  EXPECT_DEATH(table.install(5, keypair.get()), "CHECK failed");  // not reserved
  ASSERT_EQ(table.reserve(random), 5u);
  EXPECT_DEATH(table.install(5, other.get()), "CHECK failed");  // not its index
  table.install(5, keypair.get());
  EXPECT_DEATH(table.install(5, keypair.get()), "CHECK failed");  // twice
  EXPECT_DEATH(table.release(5), "CHECK failed");  // still found
  EXPECT_DEATH(ReceiverTable(pages, 63), "CHECK failed");  // not a power of two
}

}  // namespace
}  // namespace turnpike::lookup

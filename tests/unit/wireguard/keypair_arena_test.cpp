#include "dataplane/wireguard/keypair_arena.h"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <vector>

#include "dataplane/crypto/secret_pages.h"
#include "tests/support/sim_random.h"
#include "tests/support/stingy_pages.h"

namespace turnpike::wireguard {
namespace {

struct Arena : KeypairArena {
  Arena(PageSource& pages, uint32_t max_keypairs, uint64_t seed = 1)
      : Arena(pages, max_keypairs, sim::Random(seed)) {}
  Keypair* make_one() {
    const auto index = reserve();
    return index ? &make(*index) : nullptr;
  }
  uint32_t slot(uint32_t index) const { return indexes().place_of(index).slot; }

 private:
  Arena(PageSource& pages, uint32_t max_keypairs, sim::Random&& random)
      : KeypairArena(pages, max_keypairs, random) {}
};

bool all_zero(const void* memory, size_t bytes) {
  const auto* first = static_cast<const uint8_t*>(memory);
  return std::all_of(first, first + bytes, [](uint8_t b) { return b == 0; });
}

TEST(KeypairArena, GivesFreshAlignedKeypairsUpToItsBoundAndThenSaysNo) {
  SystemPages system;
  crypto::SecretPages pages(system);
  constexpr uint32_t kRoom = KeypairChunk::kKeypairs + 100;
  Arena arena(pages, kRoom);
  EXPECT_EQ(arena.capacity(), kRoom);
  std::set<Keypair*> seen;
  std::set<uint32_t> indexes;
  for (uint32_t i = 0; i < kRoom; ++i) {
    const auto index = arena.reserve();
    ASSERT_TRUE(index);
    indexes.insert(*index);
    Keypair& keypair = arena.make(*index);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&keypair) % alignof(Keypair), 0u);
    EXPECT_EQ(keypair.sending().counter, 0u);
    EXPECT_EQ(keypair.peer, PeerRef{});
    EXPECT_EQ(keypair.tunnel, kNoTunnel);
    keypair.sending().counter = i + 1;
    seen.insert(&keypair);
  }
  EXPECT_EQ(seen.size(), kRoom);
  EXPECT_EQ(indexes.size(), kRoom);
  EXPECT_EQ(arena.in_use(), kRoom);
  EXPECT_EQ(arena.reserve(), std::nullopt);
  arena.release(*indexes.begin());
  EXPECT_EQ(arena.reserved(), kRoom - 1);
  EXPECT_TRUE(arena.reserve());
}

// So many keypairs, so few pages.
TEST(KeypairArena, GivesOutSlotsSideBySide) {
  SystemPages pages;
  Arena arena(pages, KeypairArena::kMaxKeypairs);
  for (uint32_t i = 0; i < 3'000; ++i) {
    const uint32_t index = arena.reserve().value();
    ASSERT_EQ(arena.slot(index), i);
    ASSERT_EQ(arena.locate(index), arena.locate(arena.indexes().index_of({0, 0})) + i);
  }
  EXPECT_LE(pages.used_bytes(), KeypairChunk::kBytes + 2 * kHugePageBytes);
}

TEST(KeypairArena, SaysNoWhenItsSourceHasNoMoreAndRecovers) {
  // Of the bitmaps only the first page fits.
  SystemPages pages(KeypairChunk::kBytes + kHugePageBytes);
  Arena arena(pages, 100'000);
  std::vector<uint32_t> all;
  while (const auto index = arena.reserve()) all.push_back(*index);
  EXPECT_EQ(all.size(), KeypairChunk::kBitmapsOfPage);
  for (const uint32_t index : all) arena.release(index);
  EXPECT_EQ(arena.reserved(), 0u);
  EXPECT_NE(arena.make_one(), nullptr);
  SystemPages none(kHugePageBytes);
  Arena empty(none, 100'000);
  EXPECT_EQ(empty.reserve(), std::nullopt);
  EXPECT_EQ(empty.find(0), nullptr);
  EXPECT_EQ(none.used_bytes(), 0u);
}

TEST(KeypairArena, IsFoundFromPublishToWithdrawAndUnderItsOwnIndexOnly) {
  SystemPages pages;
  Arena arena(pages, 64);
  const uint32_t index = arena.reserve().value();
  EXPECT_EQ(arena.find(index), nullptr) << "reserved";
  Keypair& keypair = arena.make(index);
  EXPECT_EQ(arena.find(index), nullptr) << "made";
  EXPECT_EQ(arena.index_of(keypair), index);
  arena.publish(keypair);
  EXPECT_EQ(arena.find(index), &keypair);
  EXPECT_EQ(keypair.local_index, index);
  // Another life of the same slot, and a slot of which there is no memory.
  const KeypairPlace place = arena.indexes().place_of(index);
  const uint32_t later = arena.indexes().index_of({place.slot, place.generation + 1});
  EXPECT_EQ(arena.locate(later), &keypair);
  EXPECT_EQ(arena.find(later), nullptr);
  EXPECT_EQ(arena.locate(arena.indexes().index_of({KeypairPlace::kSlots - 1, 0})), nullptr);
  arena.withdraw(keypair);
  EXPECT_EQ(arena.find(index), nullptr) << "withdrawn";
  EXPECT_EQ(arena.index_of(keypair), index);
  arena.release(index);
  EXPECT_EQ(arena.find(index), nullptr) << "released";
}

// Also not under the number that a slot has in which nothing is.
TEST(KeypairArena, FindsNothingInSlotsThatAreFree) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SystemPages pages;
    Arena arena(pages, KeypairArena::kMaxKeypairs, seed);
    (void)arena.reserve();
    for (uint32_t slot = 0; slot < KeypairChunk::kKeypairs; ++slot) {
      for (const uint32_t generation : {0u, 1u, KeypairPlace::kGenerations - 1}) {
        const uint32_t index = arena.indexes().index_of({slot, generation});
        ASSERT_NE(arena.locate(index), nullptr);
        ASSERT_EQ(arena.find(index), nullptr);
      }
    }
    EXPECT_EQ(arena.find(0), nullptr);
  }
}

TEST(KeypairArena, FindsNothingUnderIndexZeroWhileItsSlotIsFree) {
  // A seed whose index 0 leads into the first chunk.
  for (uint64_t seed = 1;; ++seed) {
    SystemPages pages;
    Arena arena(pages, KeypairArena::kMaxKeypairs, seed);
    const uint32_t slot = arena.slot(0);
    if (slot >= 2'000) continue;
    uint32_t index = 0;
    do {
      index = arena.reserve().value();
    } while (arena.slot(index) != slot);
    EXPECT_EQ(arena.find(0), nullptr);
    Keypair& keypair = arena.make(index);
    arena.publish(keypair);
    EXPECT_EQ(arena.find(index), &keypair);
    arena.withdraw(keypair);
    EXPECT_EQ(arena.find(0), nullptr);
    EXPECT_EQ(arena.find(index), nullptr);
    break;
  }
}

TEST(KeypairArena, UsesASlotAgainInItsNextLifeAndAfterAllOthersThatAreFree) {
  SystemPages pages;
  Arena arena(pages, 10);
  std::vector<uint32_t> first;
  for (int i = 0; i < 10; ++i) first.push_back(arena.reserve().value());
  for (const size_t i : {7u, 2u, 5u}) arena.release(first[i]);
  for (const size_t i : {7u, 2u, 5u}) {
    const uint32_t again = arena.reserve().value();
    EXPECT_EQ(arena.slot(again), arena.slot(first[i]));
    EXPECT_EQ(arena.indexes().place_of(again).generation, 1u);
    EXPECT_NE(again, first[i]);
  }
  EXPECT_EQ(arena.reserve(), std::nullopt);
}

TEST(KeypairArena, GivesOutHundredsOfThousandsOfIndexesBeforeOneComesAgain) {
  SystemPages pages;
  Arena arena(pages, KeypairArena::kMaxKeypairs);
  std::vector<uint32_t> all;
  constexpr size_t kAtLeast = size_t{KeypairArena::kResting} * KeypairPlace::kGenerations;
  for (size_t i = 0; i < kAtLeast; ++i) {
    all.push_back(arena.reserve().value());
    arena.release(all.back());
  }
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
  // And for that keeps no more slots than it must.
  EXPECT_LE(pages.used_bytes(), KeypairChunk::kBytes + kHugePageBytes);
}

TEST(KeypairArena, LeavesNoKeyInReleasedMemoryAndReusesNothingOfIt) {
  SystemPages pages;
  Arena arena(pages, 1);
  for (const bool was_published : {false, true}) {
    const uint32_t index = arena.reserve().value();
    Keypair* keypair = &arena.make(index);
    keypair->sending().key.fill(0xaa);
    keypair->receiving_key.fill(0xbb);
    keypair->sending().counter = 77;
    keypair->confirmed = true;
    keypair->tunnel = 3;
    ASSERT_TRUE(keypair->accept(5));
    ASSERT_TRUE(keypair->accept(5 + kReplayWindow));
    const ReplayBitmap& bitmap = keypair->bitmap();
    ASSERT_NE(bitmap.blocks[0], 0u);
    if (was_published) {
      arena.publish(*keypair);
      arena.withdraw(*keypair);
      arena.release(index);
    } else {
      arena.unmake(index);
      EXPECT_EQ(arena.in_use(), 0u);
      EXPECT_EQ(arena.reserved(), 1u);
    }
    // The memory is still the arena's.
    EXPECT_EQ(keypair->sending().counter, 0u);
    EXPECT_TRUE(all_zero(keypair->sending().key.data(), kKeyBytes));
    EXPECT_TRUE(all_zero(keypair->receiving_key.data(), kKeyBytes));
    EXPECT_TRUE(all_zero(&keypair->window, sizeof(keypair->window)));
    EXPECT_TRUE(all_zero(&bitmap, sizeof(bitmap)));
    if (!was_published) arena.release(index);
    Keypair* again = arena.make_one();
    ASSERT_EQ(again, keypair);
    EXPECT_FALSE(again->confirmed);
    EXPECT_EQ(again->tunnel, kNoTunnel);
    EXPECT_TRUE(again->accept(5));
    arena.release(arena.index_of(*again));
  }
}

TEST(KeypairArena, GivesEachKeypairABitmapOfItsOwn) {
  SystemPages pages;
  Arena arena(pages, KeypairChunk::kKeypairs + 10);
  std::vector<Keypair*> all;
  while (Keypair* keypair = arena.make_one()) all.push_back(keypair);
  ASSERT_EQ(all.size(), arena.capacity());
  // Every block of it, by windows full of what is this keypair's alone.
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(std::ranges::all_of(all[i]->bitmap().blocks, [](uint32_t b) { return b == 0; }));
    all[i]->bitmap().blocks.fill(static_cast<uint32_t>(i + 1));
    all[i]->sending().remote_index = static_cast<uint32_t>(i);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]->sending().remote_index, i);
    EXPECT_TRUE(std::ranges::all_of(all[i]->bitmap().blocks,
                                    [i](uint32_t block) { return block == i + 1; }));
  }
  arena.release(arena.index_of(*all[1]));  // nothing of its neighbours' goes
  EXPECT_EQ(all[0]->bitmap().blocks.back(), 1u);
  EXPECT_EQ(all[2]->bitmap().blocks.front(), 3u);
}

// Pages that report whether they come back without a byte set.
class WatchedPages final : public PageSource {
 public:
  void* allocate(size_t bytes) noexcept override { return under_.allocate(bytes); }
  void release(void* pages, size_t bytes) noexcept override {
    clean = clean && all_zero(pages, bytes);
    ++released;
    under_.release(pages, bytes);
  }
  bool clean = true;
  int released = 0;

 private:
  SystemPages under_;
};

// For workers, who write there first, at a packet.
TEST(KeypairArena, TakesOnlyBitmapsFromTheirSourceAndHasThemTouched) {
  test::StingyPages keys, bitmaps;
  {
    sim::Random random(1);
    KeypairArena arena(keys, bitmaps, KeypairArena::kMaxKeypairs, random);
    Keypair* keypair = nullptr;
    for (uint32_t i = 0; i < KeypairChunk::kKeypairs; ++i) {
      keypair = &arena.make(arena.reserve().value());
    }
    EXPECT_EQ(keys.out, KeypairChunk::kBytes);
    EXPECT_EQ(bitmaps.out, KeypairChunk::kKeypairs * sizeof(ReplayBitmap));
    auto* const end = reinterpret_cast<uint8_t*>(&keypair->bitmap() + 1);
    std::array<unsigned char, kHugePageBytes / 4'096> resident;
    ASSERT_EQ(mincore(end - kHugePageBytes, kHugePageBytes, resident.data()), 0);
    EXPECT_TRUE(std::ranges::all_of(resident, [](unsigned char c) { return (c & 1) != 0; }));
  }
  EXPECT_EQ(keys.out + bitmaps.out, 0u);
}

TEST(KeypairArena, WipesKeypairsThatAreStillInUseWhenItDies) {
  WatchedPages pages;
  {
    Arena arena(pages, 1);
    Keypair* keypair = arena.make_one();
    ASSERT_NE(keypair, nullptr);
    keypair->sending().key.fill(0xaa);
  }
  EXPECT_EQ(pages.released, 2);
  EXPECT_TRUE(pages.clean);
}

TEST(KeypairArenaDeath, MisuseStopsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  SystemPages pages;
  Arena arena(pages, 8);
  const uint32_t index = arena.reserve().value();
  EXPECT_DEATH((void)arena.make(index + 1), "CHECK failed");  // not reserved
  EXPECT_DEATH(arena.unmake(index), "CHECK failed");          // not made
  Keypair& keypair = arena.make(index);
  EXPECT_DEATH((void)arena.make(index), "CHECK failed");  // twice
  EXPECT_DEATH(arena.withdraw(keypair), "CHECK failed");  // not published
  arena.publish(keypair);
  EXPECT_DEATH(arena.publish(keypair), "CHECK failed");  // twice
  EXPECT_DEATH(arena.release(index), "CHECK failed");    // still found
  EXPECT_DEATH(arena.unmake(index), "CHECK failed");
  arena.withdraw(keypair);
  arena.release(index);
  EXPECT_DEATH(arena.release(index), "CHECK failed");  // twice
  EXPECT_DEATH(Arena(pages, KeypairArena::kMaxKeypairs + 1), "CHECK failed");
}

}  // namespace
}  // namespace turnpike::wireguard

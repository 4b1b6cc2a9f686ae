#include "dataplane/wireguard/keypair_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include "dataplane/crypto/secret_pages.h"

namespace turnpike::wireguard {
namespace {

TEST(KeypairArena, GivesFreshAlignedKeypairsUpToItsBoundAndThenSaysNo) {
  SystemPages system;
  crypto::SecretPages pages(system);
  KeypairArena arena(pages, 2000);
  EXPECT_GE(arena.capacity(), 2000u);
  std::set<Keypair*> seen;
  for (size_t i = 0; i < arena.capacity(); ++i) {
    Keypair* keypair = arena.allocate();
    ASSERT_NE(keypair, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(keypair) % alignof(Keypair), 0u);
    EXPECT_EQ(keypair->send_counter, 0u);
    keypair->send_counter = i + 1;
    seen.insert(keypair);
  }
  EXPECT_EQ(seen.size(), arena.capacity());
  EXPECT_EQ(arena.in_use(), arena.capacity());
  EXPECT_EQ(arena.allocate(), nullptr);
  arena.release(*seen.begin());
  EXPECT_NE(arena.allocate(), nullptr);
}

TEST(KeypairArena, SaysNoWhenItsSourceHasNoMoreAndRecovers) {
  SystemPages pages(size_t{2} << 20);
  KeypairArena arena(pages, 100'000);
  std::vector<Keypair*> all;
  while (Keypair* keypair = arena.allocate()) all.push_back(keypair);
  EXPECT_GT(all.size(), 1000u);
  EXPECT_LT(all.size(), arena.capacity());
  for (Keypair* keypair : all) arena.release(keypair);
  EXPECT_EQ(arena.in_use(), 0u);
  EXPECT_NE(arena.allocate(), nullptr);
}

TEST(KeypairArena, LeavesNoKeyInReleasedMemoryAndReusesNothingOfIt) {
  SystemPages pages;
  KeypairArena arena(pages, 1);
  Keypair* keypair = arena.allocate();
  ASSERT_NE(keypair, nullptr);
  keypair->sending_key.fill(0xaa);
  keypair->receiving_key.fill(0xbb);
  keypair->send_counter = 77;
  keypair->confirmed = true;
  ASSERT_TRUE(keypair->accept(5));
  ASSERT_TRUE(keypair->accept(5 + kReplayWindow));
  const auto* bytes = reinterpret_cast<const uint8_t*>(keypair);
  const ReplayBitmap& bitmap = keypair->bitmap();
  ASSERT_NE(bitmap.blocks[0], 0u);
  arena.release(keypair);
  // The memory is still the arena's; the first word links the free list.
  EXPECT_TRUE(std::all_of(bytes + sizeof(void*), bytes + sizeof(Keypair),
                          [](uint8_t b) { return b == 0; }));
  EXPECT_TRUE(std::ranges::all_of(bitmap.blocks, [](uint32_t block) { return block == 0; }));
  Keypair* again = arena.allocate();
  ASSERT_EQ(again, keypair);
  EXPECT_EQ(again->send_counter, 0u);
  EXPECT_FALSE(again->confirmed);
  EXPECT_TRUE(again->accept(5));
}

TEST(KeypairArena, GivesEachKeypairABitmapOfItsOwn) {
  SystemPages pages;
  KeypairArena arena(pages, 2 * KeypairChunk::kKeypairs);
  std::vector<Keypair*> all;
  while (Keypair* keypair = arena.allocate()) all.push_back(keypair);
  ASSERT_EQ(all.size(), arena.capacity());
  // Every block of it, by windows full of what is this keypair's alone.
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(std::ranges::all_of(all[i]->bitmap().blocks, [](uint32_t b) { return b == 0; }));
    all[i]->bitmap().blocks.fill(static_cast<uint32_t>(i + 1));
    all[i]->remote_index = static_cast<uint32_t>(i);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]->remote_index, i);
    EXPECT_TRUE(std::ranges::all_of(all[i]->bitmap().blocks,
                                    [i](uint32_t block) { return block == i + 1; }));
  }
  arena.release(all[1]);  // nothing of its neighbours' goes
  EXPECT_EQ(all[0]->bitmap().blocks.back(), 1u);
  EXPECT_EQ(all[2]->bitmap().blocks.front(), 3u);
}

// Pages that report whether they come back without a byte set.
class WatchedPages final : public PageSource {
 public:
  void* allocate(size_t bytes) noexcept override { return under_.allocate(bytes); }
  void release(void* pages, size_t bytes) noexcept override {
    const auto* first = static_cast<const uint8_t*>(pages);
    clean = clean && std::all_of(first, first + bytes, [](uint8_t b) { return b == 0; });
    ++released;
    under_.release(pages, bytes);
  }
  bool clean = true;
  int released = 0;

 private:
  SystemPages under_;
};

TEST(KeypairArena, WipesKeypairsThatAreStillInUseWhenItDies) {
  WatchedPages pages;
  {
    KeypairArena arena(pages, 1);
    Keypair* keypair = arena.allocate();
    ASSERT_NE(keypair, nullptr);
    keypair->sending_key.fill(0xaa);
    keypair->bitmap().blocks.fill(0xcc);
  }
  EXPECT_EQ(pages.released, 1);
  EXPECT_TRUE(pages.clean);
}

}  // namespace
}  // namespace turnpike::wireguard

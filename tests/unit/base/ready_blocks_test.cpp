#include "dataplane/base/ready_blocks.h"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <thread>

namespace turnpike {
namespace {

constexpr size_t kLarge = 2 * kHugePageBytes + 4'096, kSmall = kHugePageBytes;

// For two threads.
class CountedPages final : public PageSource {
 public:
  void* allocate(size_t bytes) noexcept override {
    if (refuses) return nullptr;
    if (std::this_thread::get_id() != owner_) {
      ++helped;
      holds_helper.wait(true);
    }
    ++given;
    out += bytes;
    return pages_.allocate(bytes);
  }
  void release(void* pages, size_t bytes) noexcept override {
    out -= bytes;
    pages_.release(pages, bytes);
  }
  std::atomic<size_t> given = 0, out = 0;
  std::atomic<bool> refuses = false;
  std::atomic<size_t> helped = 0;  // requests of the helper
  std::atomic<bool> holds_helper = false;  // in its requests

 private:
  const std::thread::id owner_ = std::this_thread::get_id();
  SystemPages pages_;
};

// Waits for the helper, for as long as a slow machine may need.
bool comes(const ReadyBlocks& blocks, size_t bytes) {
  for (int i = 0; i < 20'000 && !blocks.ready(bytes); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return blocks.ready(bytes);
}

// Whether all of it has memory.
bool resident(void* pages, size_t bytes) {
  std::array<unsigned char, kLarge / 4'096> of_pages;
  if (mincore(pages, bytes, of_pages.data()) != 0) return false;
  return std::ranges::all_of(std::span(of_pages).first(bytes / 4'096),
                             [](unsigned char c) { return (c & 1) != 0; });
}

TEST(ReadyBlocks, TheNextOfASizeIsTouchedAndZeroOnceOneWasAskedFor) {
  CountedPages beneath;
  {
    ReadyBlocks blocks(beneath, {kLarge, kSmall});
    blocks.start();
    std::this_thread::sleep_for(2 * ReadyBlocks::kPause);
    EXPECT_EQ(beneath.given, 0u);  // nobody asked
    for (const size_t bytes : {kLarge, kSmall}) {
      void* first = blocks.allocate(bytes);
      ASSERT_NE(first, nullptr);
      EXPECT_FALSE(resident(first, bytes));
      for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(comes(blocks, bytes));
        auto* next = static_cast<uint8_t*>(blocks.allocate(bytes));
        EXPECT_FALSE(blocks.ready(bytes));
        EXPECT_TRUE(resident(next, bytes));
        EXPECT_TRUE(std::ranges::all_of(std::span(next, bytes), [](uint8_t b) { return b == 0; }));
        blocks.release(next, bytes);
      }
      blocks.release(first, bytes);
    }
    ASSERT_TRUE(comes(blocks, kLarge) && comes(blocks, kSmall));
    EXPECT_EQ(beneath.out, kLarge + kSmall);
  }
  EXPECT_EQ(beneath.out, 0u);
}

TEST(ReadyBlocks, OtherSizesAndRequestsBeforeTheStartAreServedAsTheyCome) {
  CountedPages beneath;
  ReadyBlocks blocks(beneath, {kLarge, kSmall});
  void* early = blocks.allocate(kSmall);
  blocks.release(early, kSmall);
  EXPECT_EQ(beneath.given, 1u);
  blocks.start();
  ASSERT_TRUE(comes(blocks, kSmall));
  void* other = blocks.allocate(4'096);
  EXPECT_TRUE(blocks.ready(kSmall));
  EXPECT_EQ(beneath.given, 3u);
  blocks.release(other, 4'096);
}

TEST(ReadyBlocks, WhereMemoryIsShortWhatIsReadyIsGivenAndThenItIsRefused) {
  CountedPages beneath;
  ReadyBlocks blocks(beneath, {kLarge, kSmall});
  blocks.start();
  void* first = blocks.allocate(kSmall);
  ASSERT_TRUE(comes(blocks, kSmall));
  beneath.refuses = true;
  void* second = blocks.allocate(kSmall);
  ASSERT_NE(second, nullptr);
  std::this_thread::sleep_for(2 * ReadyBlocks::kPause);
  EXPECT_FALSE(blocks.ready(kSmall));
  EXPECT_EQ(blocks.allocate(kSmall), nullptr);
  // And one is ready again once there is memory.
  std::this_thread::sleep_for(2 * ReadyBlocks::kPause);
  beneath.refuses = false;
  void* third = blocks.allocate(kSmall);
  ASSERT_NE(third, nullptr);
  EXPECT_TRUE(comes(blocks, kSmall));
  for (void* pages : {first, second, third}) blocks.release(pages, kSmall);
}

TEST(ReadyBlocks, ARequestWhileTheNextIsBeingTouchedLosesNone) {
  CountedPages beneath;
  {
    ReadyBlocks blocks(beneath, {kLarge, kSmall});
    blocks.start();
    beneath.holds_helper = true;
    void* first = blocks.allocate(kSmall);
    for (int i = 0; i < 20'000 && beneath.helped == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_EQ(beneath.helped, 1u);
    void* second = blocks.allocate(kSmall);
    beneath.holds_helper = false;
    beneath.holds_helper.notify_all();
    ASSERT_TRUE(comes(blocks, kSmall));
    for (void* pages : {first, second}) blocks.release(pages, kSmall);
  }
  EXPECT_EQ(beneath.helped, 1u) << "what was asked for twice is ready once";
  EXPECT_EQ(beneath.out, 0u);
}

}  // namespace
}  // namespace turnpike

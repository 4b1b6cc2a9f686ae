#include "dataplane/base/ready_pages.h"

#include <gtest/gtest.h>

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <thread>

namespace turnpike {
namespace {

constexpr size_t kPart = kHugePageBytes;

// Waits for the helper, for as long as a slow machine may need.
bool comes_to(const ReadyPages& pages, size_t ready) {
  for (int i = 0; i < 20'000; ++i) {
    if (pages.counts().ready == ready) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// Likewise: what the helper is at work on when nobody wants it any more goes a moment later.
bool all_is_given_back(const ReadyPages& pages) {
  for (int i = 0; i < 20'000; ++i) {
    if (pages.used_bytes() == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// Small pages of the part that have memory.
size_t resident(void* part) {
  std::array<unsigned char, kPart / 4'096> pages;
  if (mincore(part, kPart, pages.data()) != 0) return 0;
  return static_cast<size_t>(std::ranges::count_if(pages, [](unsigned char c) { return c & 1; }));
}

class ReadyPagesTest : public testing::Test {
 protected:
  explicit ReadyPagesTest(const SystemPages::Options& options = {}) : pages(options) {
    room = static_cast<uint8_t*>(pages.reserve(4 * kPart));
  }
  ~ReadyPagesTest() override { pages.give_up(room, 4 * kPart); }
  ReadyPages pages;
  uint8_t* room;
};

TEST_F(ReadyPagesTest, AGrowingRoomGetsMemoryThatWasTouchedBefore) {
  ASSERT_NE(room, nullptr);
  ASSERT_TRUE(pages.back(room, kPart));
  EXPECT_EQ(resident(room), 0u);  // nobody said that it would be wanted
  EXPECT_EQ(pages.counts().missed, 1u);
  pages.expect_growth(true);
  for (size_t part = 1; part < 4; ++part) {
    ASSERT_TRUE(comes_to(pages, 1));
    uint8_t* at = room + part * kPart;
    ASSERT_TRUE(pages.back(at, kPart));
    EXPECT_EQ(resident(at), kPart / 4'096);
    EXPECT_TRUE(std::ranges::all_of(std::span(at, kPart), [](uint8_t b) { return b == 0; }));
    at[kPart - 1] = 1;
  }
  EXPECT_EQ(pages.counts().served, 3u);
  EXPECT_EQ(pages.counts().missed, 1u);
  pages.expect_growth(false);
  for (size_t part = 0; part < 4; ++part) pages.unback(room + part * kPart, kPart);
  EXPECT_TRUE(all_is_given_back(pages));
}

TEST_F(ReadyPagesTest, AsManyAreKeptAsRoomsGrowUpToABoundAndNoneWhenNoneDoes) {
  for (size_t growing = 1; growing <= ReadyPages::kReadyMost + 2; ++growing) {
    pages.expect_growth(true);
    EXPECT_TRUE(comes_to(pages, std::min(growing, ReadyPages::kReadyMost)));
  }
  EXPECT_EQ(pages.used_bytes(), ReadyPages::kReadyMost * kPart);
  for (size_t growing = ReadyPages::kReadyMost + 2; growing > 0; --growing) {
    pages.expect_growth(false);
    EXPECT_EQ(pages.counts().ready, std::min(growing - 1, ReadyPages::kReadyMost));
  }
  EXPECT_TRUE(all_is_given_back(pages));
}

TEST_F(ReadyPagesTest, ASmallPartIsServedAsItComes) {
  pages.expect_growth(true);
  ASSERT_TRUE(comes_to(pages, 1));
  ASSERT_TRUE(pages.back(room, kPart / 8));
  EXPECT_EQ(pages.counts().ready, 1u);
  EXPECT_EQ(pages.counts().missed, 0u);
  pages.unback(room, kPart / 8);
  pages.expect_growth(false);
}

class ReadyPagesAtTheirLimit : public ReadyPagesTest {
 protected:
  ReadyPagesAtTheirLimit() : ReadyPagesTest({.limit_bytes = 2 * kPart}) {}
};

// What is kept ready is never the reason for a refusal.
TEST_F(ReadyPagesAtTheirLimit, WhatIsReadyGoesBeforeAnythingIsRefused) {
  pages.expect_growth(true);
  ASSERT_TRUE(comes_to(pages, 1));
  void* other = pages.allocate(2 * kPart);
  EXPECT_NE(other, nullptr);
  EXPECT_FALSE(pages.back(room, kPart));
  pages.release(other, 2 * kPart);
  // And it is kept again once there is memory.
  ASSERT_TRUE(pages.back(room, kPart));
  ASSERT_TRUE(comes_to(pages, 1));
  ASSERT_TRUE(pages.back(room + kPart, kPart / 8) && pages.back(room + 2 * kPart, kPart / 8));
  EXPECT_FALSE(pages.back(room + 3 * kPart, kPart));
  pages.unback(room, kPart);
  pages.unback(room + kPart, kPart / 8);
  pages.unback(room + 2 * kPart, kPart / 8);
  pages.expect_growth(false);
}

// Touched elsewhere and by another thread, and still where the table wants it.
TEST(ReadyPages, WhatIsMovedInLiesOnTheNodeThatWasChosen) {
  ReadyPages pages({.numa_node = 0});
  auto* room = static_cast<uint8_t*>(pages.reserve(kPart));
  ASSERT_NE(room, nullptr);
  pages.expect_growth(true);
  ASSERT_TRUE(comes_to(pages, 1));
  ASSERT_TRUE(pages.back(room, kPart));
  ASSERT_EQ(pages.counts().served, 1u);
  int node = -1, policy = -1;
  if (syscall(SYS_get_mempolicy, &node, nullptr, 0, room, MPOL_F_NODE | MPOL_F_ADDR) == 0) {
    EXPECT_EQ(node, 0);
    ASSERT_EQ(syscall(SYS_get_mempolicy, &policy, nullptr, 0, room, MPOL_F_ADDR), 0);
    EXPECT_EQ(policy, MPOL_PREFERRED);
  }
  pages.unback(room, kPart);
  pages.expect_growth(false);
  EXPECT_TRUE(all_is_given_back(pages));
  pages.give_up(room, kPart);
}

TEST(ReadyPages, OfReservedHugepagesAreReadyAsFarAsThereAreSome) {
  ReadyPages pages({.hugepages = true, .numa_node = 0});
  auto* room = static_cast<uint8_t*>(pages.reserve(kPart));
  ASSERT_NE(room, nullptr);
  pages.expect_growth(true);
  ASSERT_TRUE(comes_to(pages, 1));
  ASSERT_TRUE(pages.back(room, kPart));
  EXPECT_EQ(pages.counts().served, 1u);
  room[0] = room[kPart - 1] = 1;
  pages.unback(room, kPart);
  pages.expect_growth(false);
  EXPECT_TRUE(all_is_given_back(pages));
  pages.give_up(room, kPart);
}

}  // namespace
}  // namespace turnpike

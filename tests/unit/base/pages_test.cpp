#include "dataplane/base/pages.h"

#include <gtest/gtest.h>

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace turnpike {
namespace {

TEST(SystemPages, GivesZeroedAlignedMemoryAndTakesItBack) {
  SystemPages pages;
  for (const size_t bytes : {size_t{4096}, size_t{2} << 20, size_t{5} << 20}) {
    auto* p = static_cast<uint8_t*>(pages.allocate(bytes));
    ASSERT_NE(p, nullptr);
    const uintptr_t alignment = bytes >= (size_t{2} << 20) ? size_t{2} << 20 : 4096;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignment, 0u);
    EXPECT_EQ(p[0], 0);
    p[bytes - 1] = 1;
    pages.release(p, bytes);
  }
}

TEST(SystemPages, SaysNoAtItsLimitAndRecovers) {
  SystemPages pages(8192);
  void* first = pages.allocate(8192);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(pages.allocate(4096), nullptr);
  pages.release(first, 8192);
  void* again = pages.allocate(4096);
  EXPECT_NE(again, nullptr);
  pages.release(again, 4096);
}

TEST(SystemPages, ARoomGetsMemoryPartByPartAndGivesItBack) {
  constexpr size_t kPart = size_t{2} << 20;
  SystemPages pages(2 * kPart);
  auto* room = static_cast<uint8_t*>(pages.reserve(4 * kPart));
  ASSERT_NE(room, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(room) % kPart, 0u);
  ASSERT_TRUE(pages.back(room + kPart, kPart));
  ASSERT_TRUE(pages.back(room + 3 * kPart, kPart));
  EXPECT_FALSE(pages.back(room, kPart));  // addresses are free, memory is not
  room[kPart] = room[4 * kPart - 1] = 1;
  pages.unback(room + kPart, kPart);
  ASSERT_TRUE(pages.back(room + kPart, kPart));
  EXPECT_EQ(room[kPart], 0);
  EXPECT_EQ(room[4 * kPart - 1], 1);
  pages.unback(room + kPart, kPart);
  pages.unback(room + 3 * kPart, kPart);
  pages.give_up(room, 4 * kPart);
}

TEST(SystemPages, MemoryLiesOnTheNodeThatWasChosen) {
  SystemPages pages({.numa_node = 0});
  auto* p = static_cast<uint8_t*>(pages.allocate(size_t{2} << 20));
  ASSERT_NE(p, nullptr);
  p[0] = 1;
  int node = -1;
  if (syscall(SYS_get_mempolicy, &node, nullptr, 0, p, MPOL_F_NODE | MPOL_F_ADDR) == 0) {
    EXPECT_EQ(node, 0);
    int policy = -1;
    ASSERT_EQ(syscall(SYS_get_mempolicy, &policy, nullptr, 0, p, MPOL_F_ADDR), 0);
    EXPECT_EQ(policy, MPOL_PREFERRED);
    // A node that is not there is a mistake, not a reason to take another.
    SystemPages nowhere({.numa_node = 63});
    EXPECT_EQ(nowhere.allocate(4096), nullptr);
  }
  pages.release(p, size_t{2} << 20);
}

// The size of the pages under `address`, in KiB.
size_t page_kib(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      inside = from <= wanted && wanted < to;
    }
    size_t kib = 0;
    if (inside && std::sscanf(line.c_str(), "KernelPageSize: %zu kB", &kib) == 1) return kib;
  }
  return 0;
}

// With reserved hugepages (vm.nr_hugepages) on them, without on others, which it tells.
TEST(SystemPages, HugepagesAreUsedAsFarAsThereAreSome) {
  constexpr size_t kPart = size_t{2} << 20;
  SystemPages pages({.hugepages = true});
  auto* room = static_cast<uint8_t*>(pages.reserve(2 * kPart));
  ASSERT_NE(room, nullptr);
  ASSERT_TRUE(pages.back(room + kPart, kPart));
  room[kPart] = 1;
  EXPECT_EQ(page_kib(room + kPart), pages.all_huge() ? 2048u : 4u);
  pages.unback(room + kPart, kPart);
  pages.give_up(room, 2 * kPart);
}

}  // namespace
}  // namespace turnpike

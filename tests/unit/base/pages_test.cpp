#include "dataplane/base/pages.h"

#include <gtest/gtest.h>

#include <cstdint>

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

}  // namespace
}  // namespace turnpike

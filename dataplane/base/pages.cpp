#include "dataplane/base/pages.h"

#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "dataplane/base/check.h"

namespace turnpike {
namespace {

constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

// Addresses only. Over-maps by one huge page and cuts the ends off, so that the kernel can use huge pages.
void* map_aligned(size_t bytes) noexcept {
  const size_t mapped_bytes = bytes + kHugePageBytes;
  void* mapped = mmap(nullptr, mapped_bytes, PROT_NONE, kFlags, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = (start + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  if (aligned > start) munmap(mapped, aligned - start);
  const uintptr_t end = (aligned + bytes + 4095) & ~uintptr_t{4095};
  if (start + mapped_bytes > end) {
    munmap(reinterpret_cast<void*>(end), start + mapped_bytes - end);
  }
  return reinterpret_cast<void*>(aligned);
}

// glibc has no wrapper. A nodemask of one word holds what Linux calls nodes 0 to 63.
bool prefer_node(void* at, size_t bytes, int node) noexcept {
  if (node >= 64) return false;
  const unsigned long mask = 1ul << node;
  // Where placing is not allowed (a container) or unknown to the kernel, memory is better than none.
  return syscall(SYS_mbind, at, bytes, MPOL_PREFERRED, &mask, sizeof(mask) * 8 + 1, 0) == 0 ||
         errno == EPERM || errno == ENOSYS;
}

}  // namespace

void touch(void* pages, size_t bytes) noexcept {
  // Of the pages that there may be beneath: without transparent huge pages each is touched by itself.
  static constexpr size_t kSmallPageBytes = 4'096;
  auto* first = static_cast<volatile uint8_t*>(pages);
  for (size_t at = 0; at < bytes; at += kSmallPageBytes) first[at] = 0;
}

bool SystemPages::take(size_t bytes) noexcept {
  const size_t used = __atomic_add_fetch(&used_bytes_, bytes, __ATOMIC_RELAXED);
  if (options_.limit_bytes == 0 || used <= options_.limit_bytes) return true;
  put_back(bytes);
  return false;
}

void SystemPages::put_back(size_t bytes) noexcept {
  __atomic_sub_fetch(&used_bytes_, bytes, __ATOMIC_RELAXED);
}

// Puts memory at addresses that are reserved.
bool SystemPages::fill(void* at, size_t bytes) noexcept {
  const bool large = bytes >= kHugePageBytes;
  void* mapped = MAP_FAILED;
  if (options_.hugepages && large && bytes % kHugePageBytes == 0) {
    // Elsewhere first: a refusal with MAP_FIXED would leave a hole for others' mappings. And without
    // MAP_NORESERVE: what the kernel grants here it has, so that no touch fails later.
    void* elsewhere = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
    if (elsewhere != MAP_FAILED) {
      mapped = mremap(elsewhere, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at);
      if (mapped == MAP_FAILED) munmap(elsewhere, bytes);
    }
    if (mapped == MAP_FAILED) __atomic_store_n(&hugepages_missed_, true, __ATOMIC_RELAXED);
  }
  if (mapped == MAP_FAILED) {
    mapped = mmap(at, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (large ? MAP_NORESERVE : 0), -1, 0);
    if (mapped == MAP_FAILED) return false;
    if (large) madvise(at, bytes, MADV_HUGEPAGE);
  }
  return options_.numa_node < 0 || prefer_node(at, bytes, options_.numa_node);
}

void* SystemPages::allocate(size_t bytes) noexcept {
  if (!take(bytes)) return nullptr;
  void* pages = bytes >= kHugePageBytes ? map_aligned(bytes) : nullptr;
  if (bytes < kHugePageBytes) {
    pages = mmap(nullptr, bytes, PROT_NONE, kFlags, -1, 0);
    if (pages == MAP_FAILED) pages = nullptr;
  }
  if (pages != nullptr && !fill(pages, bytes)) {
    munmap(pages, bytes);
    pages = nullptr;
  }
  if (pages == nullptr) put_back(bytes);
  return pages;
}

void SystemPages::release(void* pages, size_t bytes) noexcept {
  CHECK(munmap(pages, bytes) == 0);
  put_back(bytes);
}

void* SystemPages::reserve(size_t bytes) noexcept { return map_aligned(bytes); }

bool SystemPages::back(void* part, size_t bytes) noexcept {
  if (!take(bytes)) return false;
  if (fill(part, bytes)) return true;
  unback(part, bytes);
  return false;
}

// Whole huge pages move as such: the kernel changes an entry of its tables, not 512.
bool SystemPages::move_in(void* part, void* pages, size_t bytes) noexcept {
  return mremap(pages, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, part) == part;
}

void SystemPages::unback(void* part, size_t bytes) noexcept {
  CHECK(mmap(part, bytes, PROT_NONE, kFlags | MAP_FIXED, -1, 0) == part);
  put_back(bytes);
}

void SystemPages::give_up(void* room, size_t bytes) noexcept { CHECK(munmap(room, bytes) == 0); }

}  // namespace turnpike

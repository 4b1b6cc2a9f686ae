#include "dataplane/base/pages.h"

#include <sys/mman.h>

#include "dataplane/base/check.h"

namespace turnpike {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

// Over-maps by one huge page and cuts the ends off, so that the kernel can use huge pages.
void* map_aligned(size_t bytes) noexcept {
  const size_t mapped_bytes = bytes + kHugePageBytes;
  void* mapped = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = (start + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  if (aligned > start) munmap(mapped, aligned - start);
  const uintptr_t end = (aligned + bytes + 4095) & ~uintptr_t{4095};
  if (start + mapped_bytes > end) {
    munmap(reinterpret_cast<void*>(end), start + mapped_bytes - end);
  }
  void* pages = reinterpret_cast<void*>(aligned);
  madvise(pages, bytes, MADV_HUGEPAGE);
  return pages;
}

}  // namespace

void* SystemPages::allocate(size_t bytes) noexcept {
  const size_t used = __atomic_add_fetch(&used_bytes_, bytes, __ATOMIC_RELAXED);
  void* pages = nullptr;
  if (limit_bytes_ == 0 || used <= limit_bytes_) {
    if (bytes >= kHugePageBytes) {
      pages = map_aligned(bytes);
    } else {
      pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (pages == MAP_FAILED) pages = nullptr;
    }
  }
  if (pages == nullptr) __atomic_sub_fetch(&used_bytes_, bytes, __ATOMIC_RELAXED);
  return pages;
}

void SystemPages::release(void* pages, size_t bytes) noexcept {
  CHECK(munmap(pages, bytes) == 0);
  __atomic_sub_fetch(&used_bytes_, bytes, __ATOMIC_RELAXED);
}

}  // namespace turnpike

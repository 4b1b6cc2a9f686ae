// Large zeroed memory for arenas, and the source that it comes from: the kernel here, hugepages of
// DPDK in io/.
#pragma once

#include <cstddef>
#include <cstdint>

namespace turnpike {

// Threads: any, if the implementation says so; SystemPages is safe from all.
class PageSource {
 public:
  virtual ~PageSource() = default;
  // Zeroed memory aligned to 2 MiB where `bytes` is at least that, else to 4 KiB; nullptr when there
  // is none (the caller fails its operation cleanly).
  [[nodiscard]] virtual void* allocate(size_t bytes) noexcept = 0;
  virtual void release(void* pages, size_t bytes) noexcept = 0;
};

// Anonymous mappings, transparent hugepages advised.
class SystemPages final : public PageSource {
 public:
  // `limit_bytes`: allocations beyond it fail; 0 is no limit.
  explicit SystemPages(size_t limit_bytes = 0) noexcept : limit_bytes_(limit_bytes) {}
  [[nodiscard]] void* allocate(size_t bytes) noexcept override;
  void release(void* pages, size_t bytes) noexcept override;

 private:
  size_t limit_bytes_;
  size_t used_bytes_ = 0;  // changed with atomic built-ins
};

}  // namespace turnpike

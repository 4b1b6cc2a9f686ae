// Large zeroed memory for arenas, and the sources that it comes from.
#pragma once

#include <cstddef>
#include <cstdint>

namespace turnpike {

inline constexpr size_t kHugePageBytes = size_t{2} << 20;

// Threads: any, if the implementation says so; SystemPages is safe from all.
class PageSource {
 public:
  virtual ~PageSource() = default;
  // Zeroed memory aligned to 2 MiB where `bytes` is at least that, else to 4 KiB; nullptr when there
  // is none (the caller fails its operation cleanly).
  [[nodiscard]] virtual void* allocate(size_t bytes) noexcept = 0;
  virtual void release(void* pages, size_t bytes) noexcept = 0;
};

// Also gives rooms: addresses first and memory later, so that what grows stays in one place.
class RoomSource : public PageSource {
 public:
  // Addresses without memory, aligned to 2 MiB; nullptr when there are none.
  [[nodiscard]] virtual void* reserve(size_t bytes) noexcept = 0;
  // Zeroed memory for a part of a room that has none. False: there is none.
  [[nodiscard]] virtual bool back(void* part, size_t bytes) noexcept = 0;
  // The part's memory goes, its addresses stay.
  virtual void unback(void* part, size_t bytes) noexcept = 0;
  // A room of which nothing is backed.
  virtual void give_up(void* room, size_t bytes) noexcept = 0;
  // A room now grows by parts of kHugePageBytes (true), and no longer does (false): a source may have such parts
  // ready before they are asked for.
  virtual void expect_growth(bool expected) noexcept { (void)expected; }
};

// Has the kernel give the memory of zeroed pages now instead of when they are first written to. By plain writes:
// madvise() would hold the lock of the address space, which others need, for as long as it takes.
void touch(void* pages, size_t bytes) noexcept;

// Anonymous mappings. Parts of 2 MiB and more are on reserved hugepages where these are wanted and there are
// some, else on transparent ones where the kernel gives them.
class SystemPages final : public RoomSource {
 public:
  struct Options {
    size_t limit_bytes = 0;  // memory beyond it is refused; 0: no limit
    bool hugepages = false;  // reserved ones (vm.nr_hugepages)
    // Where memory should be; a full node gives way to another, one that is not there refuses. Negative:
    // near the thread that touches it first.
    int numa_node = -1;
  };
  explicit SystemPages(size_t limit_bytes = 0) noexcept
      : SystemPages({.limit_bytes = limit_bytes}) {}
  explicit SystemPages(const Options& options) noexcept : options_(options) {}

  [[nodiscard]] void* allocate(size_t bytes) noexcept override;
  void release(void* pages, size_t bytes) noexcept override;
  [[nodiscard]] void* reserve(size_t bytes) noexcept override;
  [[nodiscard]] bool back(void* part, size_t bytes) noexcept override;
  void unback(void* part, size_t bytes) noexcept override;
  void give_up(void* room, size_t bytes) noexcept override;

  // Like back(), with memory that allocate() gave and that is then no longer where it was.
  [[nodiscard]] bool move_in(void* part, void* pages, size_t bytes) noexcept;

  [[nodiscard]] size_t used_bytes() const noexcept {
    return __atomic_load_n(&used_bytes_, __ATOMIC_RELAXED);
  }
  // False once reserved hugepages were wanted and had run out.
  [[nodiscard]] bool all_huge() const noexcept {
    return !__atomic_load_n(&hugepages_missed_, __ATOMIC_RELAXED);
  }

 private:
  [[nodiscard]] bool take(size_t bytes) noexcept;
  void put_back(size_t bytes) noexcept;
  [[nodiscard]] bool fill(void* at, size_t bytes) noexcept;

  // Changed with atomic built-ins.
  size_t used_bytes_ = 0;
  bool hugepages_missed_ = false;
  const Options options_;
};

}  // namespace turnpike

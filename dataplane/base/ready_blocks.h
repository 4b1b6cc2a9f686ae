// A source of pages for who must not be held up by the first touch of them (ready_pages.h says what it costs): of two
// sizes the next block is there, touched by a thread of its own.
//   Threads: any, if the source beneath says so; start() once.
//   Bounds:  one block of a size, from the first request for it on. A request that finds none is served by the source
//            beneath, as those for other sizes are.
#pragma once

#include <pthread.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "dataplane/base/pages.h"

namespace turnpike {

class ReadyBlocks final : public PageSource {
 public:
  using Sizes = std::array<size_t, 2>;
  // Who asked may have more to do to the address space, such as locking what it got; until Linux 6.4 a first touch holds
  // that up. So the next block is touched so much later.
  static constexpr std::chrono::milliseconds kPause{50};

  ReadyBlocks(PageSource& beneath, const Sizes& sizes_bytes) noexcept;
  ~ReadyBlocks() override;
  ReadyBlocks(const ReadyBlocks&) = delete;
  ReadyBlocks& operator=(const ReadyBlocks&) = delete;

  // Makes the thread; it runs where the caller may run. Before, and where there can be no thread, none is ready.
  void start() noexcept;

  [[nodiscard]] void* allocate(size_t bytes) noexcept override;
  void release(void* pages, size_t bytes) noexcept override { beneath_.release(pages, bytes); }

  [[nodiscard]] bool ready(size_t bytes) const noexcept;

 private:
  struct Block {
    size_t bytes = 0;
    void* pages = nullptr;
    bool wanted = false;
  };
  [[nodiscard]] Block* wanted() noexcept;
  void help() noexcept;

  PageSource& beneath_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::array<Block, 2> blocks_;
  bool started_ = false;
  bool ended_ = false;
  pthread_t helper_{};
};

}  // namespace turnpike

// A source of rooms that has memory ready before a writer asks for it. The first touch of a huge page is the
// kernel's clearing of 2 MiB, and where a hypervisor has to find the memory too it takes milliseconds: a thread of its
// own touches pages ahead, and back() moves one in.
//   Threads: any. The first expect_growth(true) makes the helper; it runs where its maker may run.
//   Bounds:  one page for each room that grows, kReadyMost at most, none when no room does. They count as used memory,
//            and go before anything is refused. A request that finds none ready is served as by SystemPages.
#pragma once

#include <pthread.h>

#include <array>
#include <condition_variable>
#include <mutex>

#include "dataplane/base/pages.h"

namespace turnpike {

class ReadyPages final : public RoomSource {
 public:
  static constexpr size_t kReadyMost = 2;

  explicit ReadyPages(const SystemPages::Options& options = SystemPages::Options()) noexcept
      : pages_(options) {}
  ~ReadyPages() override;
  ReadyPages(const ReadyPages&) = delete;
  ReadyPages& operator=(const ReadyPages&) = delete;

  [[nodiscard]] void* allocate(size_t bytes) noexcept override;
  void release(void* pages, size_t bytes) noexcept override { pages_.release(pages, bytes); }
  [[nodiscard]] void* reserve(size_t bytes) noexcept override { return pages_.reserve(bytes); }
  [[nodiscard]] bool back(void* part, size_t bytes) noexcept override;
  void unback(void* part, size_t bytes) noexcept override { pages_.unback(part, bytes); }
  void give_up(void* room, size_t bytes) noexcept override { pages_.give_up(room, bytes); }
  void expect_growth(bool expected) noexcept override;

  [[nodiscard]] size_t used_bytes() const noexcept { return pages_.used_bytes(); }
  [[nodiscard]] bool all_huge() const noexcept { return pages_.all_huge(); }
  // Pages that wait now; parts of rooms that were served with one, and that found none.
  struct Counts {
    size_t ready = 0, served = 0, missed = 0;
  };
  [[nodiscard]] Counts counts() const noexcept;

 private:
  [[nodiscard]] size_t wanted() const noexcept {
    return growing_ < kReadyMost ? growing_ : kReadyMost;
  }
  [[nodiscard]] void* take_ready() noexcept;
  bool drop_ready() noexcept;
  void start_helper() noexcept;
  void help() noexcept;

  SystemPages pages_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::array<void*, kReadyMost> ready_{};
  Counts counts_;  // counts_.ready of ready_
  size_t growing_ = 0;  // rooms
  bool refused_ = false;  // memory was short: not asked for again before a room does
  bool touching_ = false;  // the helper has one in its hands
  bool started_ = false;
  bool ended_ = false;
  pthread_t helper_{};
};

}  // namespace turnpike

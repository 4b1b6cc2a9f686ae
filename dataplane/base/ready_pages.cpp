#include "dataplane/base/ready_pages.h"

#include <utility>

#include "dataplane/base/helper_thread.h"

namespace turnpike {

ReadyPages::~ReadyPages() {
  if (started_) {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    pthread_join(helper_, nullptr);
  }
  drop_ready();
}

void* ReadyPages::take_ready() noexcept {
  const std::lock_guard lock(mutex_);
  if (counts_.ready == 0) return nullptr;
  return std::exchange(ready_[--counts_.ready], nullptr);
}

// Memory is short: what is ready, or about to be, goes. True when there was some.
bool ReadyPages::drop_ready() noexcept {
  std::array<void*, kReadyMost> pages{};
  size_t count = 0;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !touching_; });
    refused_ = true;
    count = std::exchange(counts_.ready, 0);
    std::swap(pages, ready_);
  }
  for (size_t i = 0; i < count; ++i) pages_.release(pages[i], kHugePageBytes);
  return count != 0;
}

void* ReadyPages::allocate(size_t bytes) noexcept {
  void* pages = pages_.allocate(bytes);
  return pages == nullptr && drop_ready() ? pages_.allocate(bytes) : pages;
}

bool ReadyPages::back(void* part, size_t bytes) noexcept {
  if (bytes == kHugePageBytes) {
    void* page = take_ready();
    const bool served = page != nullptr && pages_.move_in(part, page, bytes);
    if (page != nullptr && !served) pages_.release(page, bytes);
    {
      const std::lock_guard lock(mutex_);
      ++(served ? counts_.served : counts_.missed);
      refused_ = false;
    }
    changed_.notify_all();
    if (served) return true;
  }
  return pages_.back(part, bytes) || (drop_ready() && pages_.back(part, bytes));
}

void ReadyPages::expect_growth(bool expected) noexcept {
  void* surplus = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (expected) {
      ++growing_;
      refused_ = false;
      if (!started_) start_helper();
    } else {
      --growing_;
      if (counts_.ready > wanted()) surplus = std::exchange(ready_[--counts_.ready], nullptr);
    }
  }
  changed_.notify_all();
  if (surplus != nullptr) pages_.release(surplus, kHugePageBytes);
}

ReadyPages::Counts ReadyPages::counts() const noexcept {
  const std::lock_guard lock(mutex_);
  return counts_;
}

// Without a helper, when there can be no thread, each request is served as it comes.
void ReadyPages::start_helper() noexcept {
  const auto run = [](void* self) -> void* {
    static_cast<ReadyPages*>(self)->help();
    return nullptr;
  };
  started_ = make_helper_thread(helper_, "pages", run, this);
}

void ReadyPages::help() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ended_ || (!refused_ && counts_.ready < wanted()); });
    if (ended_) return;
    touching_ = true;
    lock.unlock();
    void* page = pages_.allocate(kHugePageBytes);
    if (page != nullptr) touch(page, kHugePageBytes);
    lock.lock();
    touching_ = false;
    refused_ = page == nullptr;
    // Nobody wants it any more, perhaps.
    if (page != nullptr && !ended_ && counts_.ready < wanted()) {
      ready_[counts_.ready++] = std::exchange(page, nullptr);
    }
    if (page != nullptr) pages_.release(page, kHugePageBytes);
    changed_.notify_all();
  }
}

}  // namespace turnpike

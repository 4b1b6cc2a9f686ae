// A helper thread as Committer wants one, whose every step a test can wait for.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace turnpike::gateway {

// The helper thread and the control thread's queue; the test is the control thread.
class Helper {
 public:
  Helper() : thread_([this] { run(); }) {}
  ~Helper() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void offload(std::function<void()> work, std::function<void()> done) {
    const std::lock_guard lock(mutex_);
    work_.emplace_back(std::move(work), std::move(done));
    changed_.notify_all();
  }
  // Keeps the helper from beginning anything.
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  // Waits for one piece of work and runs what comes after it.
  void step() {
    std::function<void()> done;
    {
      std::unique_lock lock(mutex_);
      ASSERT_TRUE(
          changed_.wait_for(lock, std::chrono::seconds(60), [&] { return !done_.empty(); }));
      done = std::move(done_.front());
      done_.pop_front();
    }
    done();
  }
  [[nodiscard]] bool idle() {
    const std::lock_guard lock(mutex_);
    return work_.empty() && done_.empty() && !working_;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return ending_ || (!held_ && !work_.empty()); });
      if (ending_) return;
      auto [work, done] = std::move(work_.front());
      work_.pop_front();
      working_ = true;
      lock.unlock();
      work();
      work = nullptr;
      lock.lock();
      working_ = false;
      done_.push_back(std::move(done));
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<std::function<void()>, std::function<void()>>> work_;
  std::deque<std::function<void()>> done_;
  bool held_ = false, working_ = false, ending_ = false;
  std::thread thread_;
};

}  // namespace turnpike::gateway

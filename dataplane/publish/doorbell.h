// Wakes a worker that sleeps until something comes: beside its queues' interrupts it waits for this.
//   Threads: listen(), ignore() and fd() on the owner worker; ring() on any thread.
//   Ringing costs a load while the worker is awake, a system call while it listens.
#pragma once

#include <atomic>

#include "dataplane/base/limits.h"

namespace turnpike::publish {

class Doorbell {
 public:
  Doorbell() noexcept;
  ~Doorbell();
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;

  // False: the kernel gave no eventfd or has no membarrier(2); nobody may sleep on it then.
  [[nodiscard]] bool valid() const noexcept { return valid_; }
  // Readable, with a new edge for each ring(). Nobody reads it.
  [[nodiscard]] int fd() const noexcept { return fd_; }

  // From here on others ring. What they put down without ringing, because they did not see it yet, is visible
  // after the call: so look once more before sleeping.
  void listen() noexcept;
  void ignore() noexcept { listening_.store(false, std::memory_order_relaxed); }

  // After what the worker is to find has been put down.
  void ring() noexcept {
    // The compiler keeps the order of that store and this load; membarrier(2) in listen() makes the processor.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (listening_.load(std::memory_order_relaxed)) [[unlikely]]
      wake();
  }

 private:
  void wake() const noexcept;

  const int fd_;
  const bool valid_;
  alignas(kCacheLine) std::atomic<bool> listening_{false};  // worker: writes · who rings: reads
};

}  // namespace turnpike::publish

#pragma once

#include <atomic>

namespace turnpike {

// A small test-and-set lock, held for some tens of instructions: uncontended where RSS keeps a peer on
// one queue, correct where it does not. For workers alone: none ever waits for a thread of control.
class SpinLock {
 public:
  void lock() noexcept {
    // Acquire pairs with the release in unlock().
    while (held_.exchange(true, std::memory_order_acquire)) {
      while (held_.load(std::memory_order_relaxed)) __builtin_ia32_pause();
    }
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace turnpike

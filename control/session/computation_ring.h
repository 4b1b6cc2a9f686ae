// A bounded ring in which computations go to another thread and come back in the same places: the session thread fills
// and takes out, the other one works out what lies between.
//   taken <= worked <= filled <= taken + kSlots
//   Threads:   try_begin(), commit(), front(), pop() on the session thread; work() on the other one.
//   Ownership: a computation belongs to the other thread between commit() and front().
//   Bounds:    kSlots. Few, so that the other thread is never far behind: what finds no place the session thread works
//              out itself, and looks for results after each, so that both have work for as long as there is some.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "control/session/computation.h"
#include "dataplane/base/check.h"
#include "dataplane/base/limits.h"

namespace turnpike::session {

class ComputationRing {
 public:
  static constexpr uint32_t kSlots = 8;

  ComputationRing() = default;
  ComputationRing(const ComputationRing&) = delete;
  ComputationRing& operator=(const ComputationRing&) = delete;

  // The place to fill, empty; nullptr: none is free. Not seen before commit().
  [[nodiscard]] Computation* try_begin() noexcept {
    return tail_ - taken_ == kSlots ? nullptr : &at(tail_);
  }
  void commit() noexcept {
    DCHECK(tail_ - taken_ < kSlots);
    filled_.store(++tail_, std::memory_order_release);  // pairs with the acquire in work()
  }
  // The oldest one that is worked out, or nullptr.
  [[nodiscard]] Computation* front() noexcept {
    // Acquire pairs with the release in work(): the results are there.
    return taken_ == worked_.load(std::memory_order_acquire) ? nullptr : &at(taken_);
  }
  // Secrets of it are wiped.
  void pop() noexcept { at(taken_++).emplace<std::monostate>(); }
  // Handed over and not taken out yet.
  [[nodiscard]] uint32_t pending() const noexcept { return tail_ - taken_; }

  // Works out at most `limit`; returns how many.
  size_t work(RandomSource& random, size_t limit) noexcept {
    uint32_t next = worked_.load(std::memory_order_relaxed);
    const uint32_t filled = filled_.load(std::memory_order_acquire);
    size_t done = 0;
    for (; next != filled && done < limit; ++done) {
      std::visit(
          [&random](auto& computation) {
            if constexpr (requires { computation.run(random); }) computation.run(random);
          },
          at(next));
      worked_.store(++next, std::memory_order_release);  // pairs with the acquire in front()
    }
    return done;
  }

 private:
  static_assert((kSlots & (kSlots - 1)) == 0);
  [[nodiscard]] Computation& at(uint32_t position) noexcept {
    return slots_[position & (kSlots - 1)];
  }

  std::array<Computation, kSlots> slots_;
  // session thread: writes
  alignas(kCacheLine) uint32_t tail_ = 0;
  uint32_t taken_ = 0;
  alignas(kCacheLine) std::atomic<uint32_t> filled_{0};  // session thread: writes · other: reads
  alignas(kCacheLine) std::atomic<uint32_t> worked_{0};  // other: writes · session thread: reads
};

}  // namespace turnpike::session

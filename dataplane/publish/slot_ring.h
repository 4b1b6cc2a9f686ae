// A bounded ring with one producer and one consumer, of fixed slots: a header and room for the bytes of one
// datagram, which are written in place (Boost.Lockfree's ring would copy a whole slot twice).
//   Threads:   try_begin(), commit() on the producer; front(), pop() on the consumer.
//   Ownership: bytes are copied in; what front() returns is good until pop().
//   Bounds:    `slots` (a power of two) of `slot_bytes`. Full: try_begin() returns nullptr, the caller
//              drops and counts.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <new>
#include <type_traits>

#include "dataplane/base/check.h"
#include "dataplane/base/limits.h"
#include "dataplane/base/pages.h"

namespace turnpike::publish {

template <typename Header>
class SlotRing {
  static_assert(std::is_trivially_destructible_v<Header>);

 public:
  struct Slot {
    Header header;
    uint32_t length_bytes;
    [[nodiscard]] uint8_t* data() noexcept { return reinterpret_cast<uint8_t*>(this + 1); }
    [[nodiscard]] const uint8_t* data() const noexcept {
      return reinterpret_cast<const uint8_t*>(this + 1);
    }
  };

  // `start`: the first position; tests start short of the wrap.
  SlotRing(PageSource& pages, uint32_t slots, uint32_t slot_bytes, uint32_t start = 0) noexcept
      : pages_(pages),
        slots_(slots),
        slot_bytes_(slot_bytes),
        stride_((sizeof(Slot) + slot_bytes + kCacheLine - 1) / kCacheLine * kCacheLine),
        memory_(static_cast<uint8_t*>(pages.allocate(stride_ * slots))),
        tail_(start),
        head_seen_(start),
        published_(start),
        taken_(start),
        published_seen_(start),
        head_(start) {
    CHECK(std::has_single_bit(slots));
  }
  ~SlotRing() {
    if (memory_ != nullptr) pages_.release(memory_, stride_ * slots_);
  }
  SlotRing(const SlotRing&) = delete;
  SlotRing& operator=(const SlotRing&) = delete;

  // False: there was no memory. Asked once, at start.
  [[nodiscard]] bool valid() const noexcept { return memory_ != nullptr; }
  [[nodiscard]] uint32_t slot_bytes() const noexcept { return slot_bytes_; }
  [[nodiscard]] uint32_t slots() const noexcept { return slots_; }

  // Producer. The slot to fill, or nullptr when the ring is full. Not seen before commit().
  [[nodiscard]] Slot* try_begin() noexcept {
    if (tail_ - head_seen_ == slots_) {
      // Acquire pairs with the release in pop(): the consumer is done with the slot.
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail_ - head_seen_ == slots_) return nullptr;
    }
    return slot(tail_);
  }
  void commit() noexcept {
    DCHECK(tail_ - head_seen_ < slots_);  // try_begin() gave a slot
    ++tail_;
    published_.store(tail_, std::memory_order_release);  // pairs with the acquire in front()
  }

  // Consumer. The oldest slot, or nullptr when the ring is empty.
  [[nodiscard]] Slot* front() noexcept {
    if (taken_ == published_seen_) {
      published_seen_ = published_.load(std::memory_order_acquire);
      if (taken_ == published_seen_) return nullptr;
    }
    return slot(taken_);
  }
  void pop() noexcept {
    DCHECK(taken_ != published_seen_);  // front() gave a slot
    ++taken_;
    head_.store(taken_,
                std::memory_order_release);  // pairs with the acquires in try_begin(), waiting()
  }

  // Any thread, about now; never above slots().
  [[nodiscard]] uint32_t waiting() const noexcept {
    // The head first, and by acquire: what is published then is at or after it, so the difference is never
    // negative. It can be too large, when the ring moves on between the loads.
    const uint32_t head = head_.load(std::memory_order_acquire);
    return std::min(published_.load(std::memory_order_relaxed) - head, slots_);
  }

 private:
  [[nodiscard]] Slot* slot(uint32_t position) noexcept {
    return reinterpret_cast<Slot*>(memory_ + size_t{position & (slots_ - 1)} * stride_);
  }

  PageSource& pages_;
  uint32_t slots_;
  uint32_t slot_bytes_;
  size_t stride_;
  uint8_t* memory_;

  // producer: writes
  alignas(kCacheLine) uint32_t tail_;
  uint32_t head_seen_;
  alignas(kCacheLine) std::atomic<uint32_t> published_;  // consumer: reads
  // consumer: writes
  alignas(kCacheLine) uint32_t taken_;
  uint32_t published_seen_;
  alignas(kCacheLine) std::atomic<uint32_t> head_;  // producer: reads
};

}  // namespace turnpike::publish

// The sliding window of RFC 6479: which counters were seen under one key. The newest 32 of them have their bits
// beside the highest counter, the others theirs in a bitmap that lies elsewhere: messages in order touch it once
// in 32.
//   Threads: guarded by the lock of the peer's slot; bitmap_line() may be asked without it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "dataplane/base/limits.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::wireguard {

struct alignas(kCacheLine) ReplayBitmap {
  static constexpr uint64_t kBlockBits = 32;
  static constexpr uint64_t kBlocks = kReplayWindowBits / kBlockBits;
  std::array<uint32_t, kBlocks> blocks{};
};
static_assert(sizeof(ReplayBitmap) == kReplayWindowBits / 8);

class ReplayWindow {
 public:
  // Marks `counter` as seen. False, and nothing changes, when it was seen before, lies more than
  // kReplayWindow behind the highest, or is at or above kRejectAfterMessages. `bitmap` is the same one in each
  // call, zero before the first.
  [[nodiscard]] bool accept(uint64_t counter, ReplayBitmap& bitmap) noexcept {
    if (counter >= kRejectAfterMessages) return false;
    const uint64_t block = counter / kBlockBits;
    const uint64_t top = top_block();
    const uint32_t mask = uint32_t{1} << (counter % kBlockBits);
    if (block == top) [[likely]]
      return take(newest_, mask);
    if (block > top) {
      advance(block, bitmap);
      newest_ = mask;
      return true;
    }
    // The highest is the last bit of the newest ones: while there is an older block, there is one.
    const uint64_t above_highest =
        top * kBlockBits + static_cast<uint64_t>(std::bit_width(newest_));
    if (counter + 1 + kReplayWindow < above_highest) return false;
    return take(bitmap.blocks[block % kBlocks], mask);
  }

  // What of the bitmap accept(counter) will touch, to be prefetched, or nullptr where it will not. A hint: without
  // the lock it may be out of date.
  [[nodiscard]] const void* bitmap_line(uint64_t counter,
                                        const ReplayBitmap& bitmap) const noexcept {
    const uint32_t top = __atomic_load_n(&top_low_, __ATOMIC_RELAXED);
    const auto block = static_cast<uint32_t>(counter / kBlockBits);
    if (block == top) [[likely]]
      return nullptr;
    const bool newer = static_cast<int32_t>(block - top) > 0;
    return &bitmap.blocks[(newer ? top : block) % kBlocks];
  }

 private:
  static constexpr uint64_t kBlockBits = ReplayBitmap::kBlockBits;
  static constexpr uint64_t kBlocks = ReplayBitmap::kBlocks;
  // The oldest counter that is taken is in another block of the bitmap than the newest.
  static_assert(kReplayWindow + 2 * kBlockBits <= kReplayWindowBits);

  // The top block becomes one of the others; those between it and the new one are new ground, at most all.
  void advance(uint64_t block, ReplayBitmap& bitmap) noexcept {
    const uint64_t top = top_block();
    bitmap.blocks[top % kBlocks] = newest_;
    const uint64_t fresh = std::min(block - top - 1, kBlocks);
    for (uint64_t i = 1; i <= fresh; ++i) bitmap.blocks[(top + i) % kBlocks] = 0;
    __atomic_store_n(&top_low_, static_cast<uint32_t>(block), __ATOMIC_RELAXED);
    top_high_ = static_cast<uint32_t>(block >> 32);
  }
  [[nodiscard]] static bool take(uint32_t& bits, uint32_t mask) noexcept {
    if ((bits & mask) != 0) return false;
    bits |= mask;
    return true;
  }
  [[nodiscard]] uint64_t top_block() const noexcept { return uint64_t{top_high_} << 32 | top_low_; }

  // The block of the highest counter in two halves, so that the object needs no more than the 12 bytes that are
  // left in a line. What the bitmap has at its place is out of date; none seen: block 0 without bits.
  uint32_t top_low_ = 0;  // stored and asked without the lock by atomic built-ins
  uint32_t top_high_ = 0;
  uint32_t newest_ = 0;
};

}  // namespace turnpike::wireguard

// The sliding window of RFC 6479: which counters were seen under one key.
//   Threads: guarded by the keypair's lock.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/wireguard/constants.h"

namespace turnpike::wireguard {

class ReplayWindow {
 public:
  // Marks `counter` as seen. False, and nothing changes, when it was seen before, lies more than
  // kReplayWindow behind the highest, or is at or above kRejectAfterMessages.
  [[nodiscard]] bool accept(uint64_t counter) noexcept {
    if (counter >= kRejectAfterMessages) return false;
    // One above the highest counter seen, so that zero means "none yet".
    const uint64_t next = counter + 1;
    if (next + kReplayWindow < above_highest_) return false;
    const uint64_t word = counter / 64;
    if (next > above_highest_) {
      // The words between the old top and the new one are new ground: clear them, at most all.
      const uint64_t top = above_highest_ == 0 ? 0 : (above_highest_ - 1) / 64;
      const uint64_t fresh = word - top < kWords ? word - top : kWords;
      for (uint64_t i = 1; i <= fresh; ++i) bitmap_[(top + i) % kWords] = 0;
      above_highest_ = next;
    }
    const uint64_t mask = uint64_t{1} << (counter % 64);
    uint64_t& bits = bitmap_[word % kWords];
    if ((bits & mask) != 0) return false;
    bits |= mask;
    return true;
  }

  // Where accept(counter) will look: to be prefetched.
  [[nodiscard]] const void* line_of(uint64_t counter) const noexcept {
    return &bitmap_[counter / 64 % kWords];
  }

 private:
  static constexpr uint64_t kWords = kReplayWindowBits / 64;

  uint64_t above_highest_ = 0;
  std::array<uint64_t, kWords> bitmap_{};
};

}  // namespace turnpike::wireguard

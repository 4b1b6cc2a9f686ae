// Whether it pays to fetch the next text while the cipher is at this one. It does where texts were written by another
// core or a device far away, and costs where they are near: that depends on the machine, and on virtual ones changes
// with where the hypervisor puts a CPU. So it is found out at work: bursts with and without take turns now and then.
//   Threads: one, the owner of the AEAD.
#pragma once

#include <cstddef>
#include <cstdint>

namespace turnpike::crypto {

class FetchAhead {
 public:
  // Of one direction's burst. Smaller ones say nothing, and have nothing to gain.
  static constexpr size_t kMinBytes = 4'096;
  // Trials at the beginning of each period, in bursts; two make a pair.
  static constexpr uint32_t kTrials = 32;
  static constexpr uint32_t kPeriod = 4'096;

  // For the burst that is about to begin.
  [[nodiscard]] bool wanted(size_t bytes) const noexcept {
    if (bytes < kMinBytes) return false;
    return trying() ? turn_ % 2 != 0 : chosen_;
  }

  // What the burst cost, with or without as wanted() said.
  void note(size_t bytes, uint64_t cycles) noexcept {
    if (bytes < kMinBytes) return;
    if (trying()) {
      // A pair is one vote, however much one of the two was disturbed.
      const double cost = static_cast<double>(cycles) / static_cast<double>(bytes);
      if (turn_ % 2 == 0) {
        cost_without_ = cost;
      } else {
        votes_ += cost < cost_without_ ? 1 : -1;
      }
    }
    turn_ = (turn_ + 1) % kPeriod;
    if (turn_ != kTrials) return;
    chosen_ = votes_ > 0;
    votes_ = 0;
  }

 private:
  [[nodiscard]] bool trying() const noexcept { return turn_ < kTrials; }

  uint32_t turn_ = 0;
  int votes_ = 0;
  double cost_without_ = 0;
  bool chosen_ = false;
};

}  // namespace turnpike::crypto

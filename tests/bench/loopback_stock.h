// Frames made before a trial: plain ones for the gateway's inside, which may go round, or messages sealed for
// many sessions, each of which is good once.
//   An inner packet is UDP with its number in its first eight bytes. One in kProbeEvery is a probe for the
//   latency: ECN says so (RFC 6040: it is copied out), since nobody sees numbers through the cipher.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/bench/loopback_sessions.h"

namespace turnpike::bench {

inline constexpr uint64_t kProbeEvery = 64;

enum class Flow { Outbound, Inbound };

class Stock {
 public:
  // `count` frames of `inner_bytes` (at least kMinInnerBytes), peer after peer.
  static constexpr uint16_t kMinInnerBytes = 36;
  void make(Flow flow, uint16_t inner_bytes, size_t count, Sessions& sessions);

  void use_up() noexcept { count_ = 0; }

  [[nodiscard]] size_t count() const noexcept { return count_; }
  [[nodiscard]] uint16_t frame_bytes() const noexcept { return frame_bytes_; }
  // Begins with a cache line.
  [[nodiscard]] uint8_t* frame(size_t i) noexcept { return memory_[i * frame_lines_].bytes; }

 private:
  struct alignas(kCacheLine) Line {
    uint8_t bytes[kCacheLine];
  };
  std::vector<Line> memory_;
  size_t frame_lines_ = 0;
  size_t count_ = 0;
  uint16_t frame_bytes_ = 0;
};

// The number of the inner packet at `ip`.
[[nodiscard]] uint64_t number_of(const uint8_t* ip) noexcept;
void set_number(uint8_t* ip, uint64_t number) noexcept;

}  // namespace turnpike::bench

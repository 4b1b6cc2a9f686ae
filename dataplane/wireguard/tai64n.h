// The timestamp of an initiation: TAI64N, twelve bytes, big endian, so that bytes compare as times
// do.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

#include "dataplane/base/bytes.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::wireguard {

struct Tai64n {
  // All zero, before every real time, means "none yet".
  std::array<uint8_t, 12> bytes{};
  friend auto operator<=>(const Tai64n&, const Tai64n&) = default;
};

// 2^62, and the ten leap seconds by which TAI led UTC in 1970 (TAI64's convention for clocks on
// UTC).
inline constexpr uint64_t kTai64Epoch = 0x400000000000000a;

[[nodiscard]] inline Tai64n to_tai64n(WallTime at) noexcept {
  constexpr uint64_t kPerSecond = 1'000'000'000;
  Tai64n stamp;
  store_be64(stamp.bytes.data(), kTai64Epoch + at.nanoseconds / kPerSecond);
  store_be32(stamp.bytes.data() + 8, static_cast<uint32_t>(at.nanoseconds % kPerSecond));
  return stamp;
}

// The timestamp to send at `now`: aligned down, so that it does not tell how exact our clock is,
// and at least one step after `last_sent`, also when the clock was set back: a peer accepts only
// later ones. `last_sent` becomes what is returned (as a wall time).
[[nodiscard]] inline Tai64n next_tai64n(WallTime now, WallTime& last_sent) noexcept {
  constexpr auto kStep = static_cast<uint64_t>(kInitiationInterval.count());
  uint64_t stamp = now.nanoseconds / kStep * kStep;
  const uint64_t last = last_sent.nanoseconds / kStep * kStep;
  if (stamp <= last) stamp = last + kStep;
  last_sent.nanoseconds = stamp;
  return to_tai64n(last_sent);
}

}  // namespace turnpike::wireguard

// Time as a value: nothing below control/daemon and the two loops reads a clock.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace turnpike {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

// A point on the monotonic clock, in nanoseconds. Zero means "never".
struct Instant {
  uint64_t nanoseconds = 0;

  static constexpr Instant never() noexcept { return {}; }
  [[nodiscard]] constexpr bool is_never() const noexcept { return nanoseconds == 0; }
  friend constexpr auto operator<=>(const Instant&, const Instant&) = default;
};

constexpr Instant operator+(Instant at, Duration by) noexcept {
  return {at.nanoseconds + static_cast<uint64_t>(by.count())};
}
constexpr Instant operator-(Instant at, Duration by) noexcept {
  return {at.nanoseconds - static_cast<uint64_t>(by.count())};
}
// Signed: negative when `a` is before `b`.
constexpr Duration operator-(Instant a, Instant b) noexcept {
  return Duration(static_cast<int64_t>(a.nanoseconds - b.nanoseconds));
}

// A point on the wall clock, nanoseconds since 1970-01-01T00:00:00Z. Only for TAI64N and for people.
struct WallTime {
  uint64_t nanoseconds = 0;
  friend constexpr auto operator<=>(const WallTime&, const WallTime&) = default;
};

// The one moment in which something happens, on both clocks.
struct Now {
  Instant instant;
  WallTime wall;
};

}  // namespace turnpike

// How a worker rests that found nothing: the longer nothing comes, the longer. A worker whose ports have RX interrupts
// at last sleeps until one comes.
#pragma once

#include <cstdint>

namespace turnpike::io {

enum class Idle : uint8_t {
  Poll,  // yields to others on its core, never sleeps
  Adaptive,  // sleeps when nothing has come for a while
};

enum class RestKind : uint8_t { None, Yield, Sleep, UntilInterrupt };

struct Rest {
  RestKind kind = RestKind::None;
  long nanoseconds = 0;  // of Sleep
  bool operator==(const Rest&) const = default;
};

struct RestRules {
  Idle idle = Idle::Adaptive;
  bool interrupts = false;  // they wake the worker, whatever comes
  bool serves_others = false;  // who send through it
};

// After this many turns without a packet the worker lets others run (dpdk-facts: a poller that never yields
// holds a control thread on the same core back for milliseconds).
inline constexpr uint32_t kTurnsBeforeYield = 64;
// And after this many turns it sleeps, if it may: the longer, the longer nothing has come. A sleep costs some 16 us
// of a core in a virtual machine, timer and wake-up included. The longest is half of what 1,024 descriptors hold of a
// burst at a million packets a second.
inline constexpr uint32_t kTurnsBeforeSleep = 2'048;
inline constexpr uint32_t kShortSleeps = 400;  // 20 ms
inline constexpr uint32_t kMediumSleeps = 5'000;  // until a second has gone

// `empty_turns`: one after the other, this one included.
constexpr Rest rest_after(uint32_t empty_turns, const RestRules& rules) noexcept {
  if (rules.idle == Idle::Poll || empty_turns < kTurnsBeforeSleep) {
    const bool yields = empty_turns % kTurnsBeforeYield == 0;
    return {.kind = yields ? RestKind::Yield : RestKind::None};
  }
  const uint32_t sleeps = empty_turns - kTurnsBeforeSleep;
  if (sleeps >= kMediumSleeps && rules.interrupts) return {.kind = RestKind::UntilInterrupt};
  // Whom others send through keeps them waiting while it sleeps without being woken: never long.
  if (sleeps < kShortSleeps || rules.serves_others) {
    return {.kind = RestKind::Sleep, .nanoseconds = 50'000};
  }
  return {.kind = RestKind::Sleep, .nanoseconds = sleeps < kMediumSleeps ? 200'000 : 500'000};
}

// Woken, and there was nothing: it counts on from here, so that one short sleep comes before it waits again, and what
// rings without end is no busy loop.
inline constexpr uint32_t kTurnsAfterNeedlessWake = kTurnsBeforeSleep + kMediumSleeps - 2;

// A wait could not be, perhaps for want of a descriptor: some second of sleeps until the next try.
inline constexpr uint32_t kTurnsAfterNoWait = kTurnsBeforeSleep + kShortSleeps;

// Whether the interrupts that a port promises come. What a port is found to have only when the longest rest is over came
// without one. Once that may be because it came just then. A bell and what it is rung for say nothing about interrupts.
class InterruptTrust {
 public:
  void note_interrupt() noexcept { late_ = 0; }
  void note_found_late() noexcept { ++late_; }
  void note_refused() noexcept { ++late_; }  // by the port, to turn them on
  [[nodiscard]] bool trusted() const noexcept { return late_ < kLateMax; }

 private:
  static constexpr unsigned kLateMax = 3;  // one after the other
  unsigned late_ = 0;
};

}  // namespace turnpike::io

// What the turns of a worker's loop cost, in TSC cycles, for `turnpike show workers`.
//   Threads: the worker.
#pragma once

#include <cstdint>

#include "dataplane/publish/counters.h"

namespace turnpike::io {

class TurnMeter {
 public:
  // `rings`: how many beside the ports a turn takes a burst from.
  TurnMeter(publish::Counters& counters, uint64_t tsc_hz, size_t rings = 0) noexcept
      : counters_(counters),
        longest_cycles_(tsc_hz / 1'000'000 *
                        (kLongestMicroseconds + rings * kMicrosecondsOfARing)) {}

  void note_turn(uint64_t cycles, uint64_t packets) noexcept {
    counters_.turns.add(1);
    // Somebody else had the core meanwhile: what the packets cost is not known, and the time was not ours.
    if (cycles > longest_cycles_) [[unlikely]]
      return;
    counters_.total_cycles.add(cycles);
    if (packets == 0) return;
    counters_.busy_cycles.add(cycles);
    counters_.busy_packets.add(packets);
  }
  // Between two turns: nothing had come, and others had the core.
  void note_rest(uint64_t cycles) noexcept { counters_.total_cycles.add(cycles); }

 private:
  // No turn is that long by itself: it has a burst of each port and of the inject ring, some 100 us for a few
  // ports.
  static constexpr uint64_t kLongestMicroseconds = 300;
  static constexpr uint64_t kMicrosecondsOfARing =
      30;  // a burst of 1,420 bytes, every frame sealed

  publish::Counters& counters_;
  const uint64_t longest_cycles_;
};

}  // namespace turnpike::io

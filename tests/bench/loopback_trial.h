// One trial: frames of the stock into the gateway at a given rate, what comes out of it counted.
#pragma once

#include <vector>

#include "tests/bench/loopback_stock.h"

namespace turnpike::bench {

struct TrialOptions {
  Flow flow = Flow::Outbound;
  double rate = 0;  // packets a second; 0: whenever the gateway's ring has room
  double seconds = 1;  // shorter where the stock ends before
};

struct TrialResult {
  uint64_t offered = 0;   // due by the rate
  uint64_t refused =
      0;   // of these, the gateway's ring had no room: its port would call them missed
  uint64_t offers = 0;  // bursts held out to the gateway's ring ...
  uint64_t held_back = 0;  // ... and of these not taken whole: the gateway was behind
  uint64_t received = 0;  // at the other side, of the trial's kind
  uint64_t other = 0;     // keepalives, handshakes, ...
  uint64_t wrong = 0;     // not authentic, not one of ours, or twice
  double seconds = 0;     // from the first to the last frame sent
  double worst_gap_us = 0;  // between two turns of the loop: it was off its core, or blocked
  std::vector<double> latency_us;  // of the probes, sorted
};

[[nodiscard]] TrialResult run_trial(const TrialOptions& options, Link& link, Sessions& sessions,
                                    Stock& stock);

}  // namespace turnpike::bench

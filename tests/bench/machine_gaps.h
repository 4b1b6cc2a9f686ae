// What the machine does to a thread, told apart from what the thread does: the gaps that a loop sees which does nothing
// but read the same clock, and what the kernel counted while a slow piece of work ran.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "tests/bench/paired.h"

namespace turnpike::bench {

// What the kernel counts of a thread.
struct Disturbances {
  long page_faults = 0;
  long waits = 0;  // the thread gave its CPU away: a lock, a wait
  long preemptions = 0;  // it was taken
};

[[nodiscard]] inline Disturbances of_this_thread() noexcept {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return {.page_faults = usage.ru_minflt + usage.ru_majflt,
          .waits = usage.ru_nvcsw,
          .preemptions = usage.ru_nivcsw};
}

// Moments of all CPUs that the hypervisor gave to others, units of 10 ms. 0 where there is no /proc/stat.
[[nodiscard]] inline uint64_t stolen_ticks() noexcept {
  std::FILE* file = std::fopen("/proc/stat", "r");
  if (file == nullptr) return 0;
  unsigned long long stolen = 0;
  const int fields = std::fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &stolen);
  std::fclose(file);
  return fields == 1 ? stolen : 0;
}

// The longest gap between two readings, and how many were at least as long as what counts as slow.
class MachineGaps {
 public:
  explicit MachineGaps(double slow_us) noexcept : slow_us_(slow_us) {}

  // For as long as `us` on the thread's clock.
  void watch(double us) noexcept {
    const uint64_t start = thread_cpu_ns();
    const uint64_t end = start + static_cast<uint64_t>(us * 1e3);
    for (uint64_t last = start; last < end;) {
      const uint64_t now = thread_cpu_ns();
      const double gap_us = static_cast<double>(now - last) / 1e3;
      longest_us_ = std::max(longest_us_, gap_us);
      slow_ += gap_us >= slow_us_;
      last = now;
    }
  }
  [[nodiscard]] double longest_us() const noexcept { return longest_us_; }
  [[nodiscard]] uint64_t slow() const noexcept { return slow_; }

 private:
  double slow_us_;
  double longest_us_ = 0;
  uint64_t slow_ = 0;
};

}  // namespace turnpike::bench

// The longest edit while a table grows from nothing, one edit at a time, and whose time that was.
//   1. Slices of edits take turns with slices of a loop that only reads the clock: the machine's own gaps, which
//      are the baseline of the row.
//   2. The same edits several times. What an edit does, it does each time; what the machine does meets another one.
//      So the fastest of an edit's times is its own.
//   3. Of each edit that was slow, the first of these that is true: it had page faults; it took memory that had been
//      touched before; it waited; its thread was pre-empted; the hypervisor gave moments of that slice to others (told
//      in units of 10 ms).
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "tests/bench/machine_gaps.h"
#include "tests/bench/paired.h"

namespace turnpike::bench {

class Growth {
 public:
  explicit Growth(size_t edits) : own_us_(edits, kNever) {}

  // Once from nothing. `edit(i)` makes the i-th edit and returns the microseconds that it took; `reserved()` is the
  // table's memory.
  template <typename Edit, typename Reserved>
  void run(Edit edit, Reserved reserved) {
    MachineGaps gaps(kSlowUs);
    double longest = 0, slice = 0;
    size_t slow_in_slice = 0;
    uint64_t stolen = stolen_ticks();
    const auto end_slice = [&] {
      gaps.watch(slice);
      const uint64_t now = stolen_ticks();
      (now != stolen ? stolen_slow_ : unexplained_) += slow_in_slice;
      stolen = now;
      slice = 0;
      slow_in_slice = 0;
    };
    Disturbances before = of_this_thread();
    size_t reserved_before = reserved();
    for (size_t i = 0; i < own_us_.size(); ++i) {
      const double us = edit(i);
      const Disturbances after = of_this_thread();
      every_us_.push_back(us);
      own_us_[i] = std::min(own_us_[i], us);
      longest = std::max(longest, us);
      slice += us;
      if (us >= kSlowUs) {
        ++slow_;
        if (after.page_faults != before.page_faults) {
          ++faulted_slow_;
        } else if (reserved() != reserved_before) {
          ++moving_slow_;
        } else if (after.waits != before.waits) {
          ++waiting_slow_;
        } else if (after.preemptions != before.preemptions) {
          ++preempted_slow_;
        } else {
          ++slow_in_slice;
        }
      }
      before = after;
      reserved_before = reserved();
      if (slice >= kSliceUs) end_slice();
    }
    end_slice();
    longest_us_.push_back(longest);
    gap_us_.push_back(gaps.longest_us());
    slow_gaps_ += gaps.slow();
  }

  void report(Report& report, const std::string& name) const {
    report.add(name + "/p50", "us", {percentile(every_us_, 0.5)});
    report.add(name + "/p99", "us", {percentile(every_us_, 0.99)});
    add_beside_gaps(report, name + "/max", "us", percentile(longest_us_, 1.0),
                    percentile(gap_us_, 1.0), longest_us_);
    // Only this can be an edit's own doing.
    report.add(name + "/max-each-time", "us", {percentile(own_us_, 1.0)});
    add_beside_gaps(report, name + "/above-1ms", "edits", static_cast<double>(slow_),
                    static_cast<double>(slow_gaps_), {});
    const auto count = [&](const char* what, size_t n) {
      report.add(name + "/above-1ms/" + what, "edits", {static_cast<double>(n)});
    };
    count("with-page-faults", faulted_slow_);
    count("with-new-memory", moving_slow_);
    count("with-waits", waiting_slow_);
    count("pre-empted", preempted_slow_);
    count("stolen", stolen_slow_);
    count("not-explained", unexplained_);
  }

 private:
  static constexpr double kSlowUs = 1'000;
  static constexpr double kSliceUs = 2'000;
  static constexpr double kNever = 1e12;

  static void add_beside_gaps(Report& report, const std::string& name, const char* unit,
                              double value, double gaps, std::vector<double> runs) {
    if (runs.empty()) runs.push_back(value);
    report.add(Figure{.name = name,
                      .value = value,
                      .unit = unit,
                      .baseline_name = "gap-of-the-machine",
                      .baseline_value = gaps,
                      .ratio = gaps > 0 ? value / gaps : 0,
                      .runs = std::move(runs)});
  }

  std::vector<double> own_us_;  // of each edit, the fastest
  std::vector<double> every_us_;
  std::vector<double> longest_us_, gap_us_;  // of each run
  size_t slow_ = 0, faulted_slow_ = 0, moving_slow_ = 0, waiting_slow_ = 0, preempted_slow_ = 0,
         stolen_slow_ = 0;
  size_t unexplained_ = 0;
  uint64_t slow_gaps_ = 0;
};

}  // namespace turnpike::bench

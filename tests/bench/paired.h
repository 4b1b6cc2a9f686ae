// Interleaved comparisons for benchmarks: every contender runs once in each round, so that a slow moment of
// the machine meets all of them; figures are medians, ratios the medians of the rounds' ratios. Time is the
// thread's CPU time, which leaves pre-emption out.
#pragma once

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace turnpike::bench {

[[nodiscard]] inline uint64_t thread_cpu_ns() noexcept {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

// Keeps a result alive without storing it.
template <typename T>
inline void keep(const T& value) noexcept {
  asm volatile("" : : "r,m"(value) : "memory");
}

[[nodiscard]] inline double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<size_t>(std::lround(share * last))];
}
[[nodiscard]] inline double median(std::vector<double> values) {
  return percentile(std::move(values), 0.5);
}

struct Options {
  std::string json;  // file to write figures to; empty: none
  std::string filter;  // only figures whose name contains it, or is it, after a '='
  bool quick = false;  // tiny inputs: a test that the benchmark still runs
};

// --quick, --json FILE, --filter TEXT; anything else ends the program with its usage.
[[nodiscard]] inline Options parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--json" && i + 1 < argc) {
      options.json = argv[++i];
    } else if (argument == "--filter" && i + 1 < argc) {
      options.filter = argv[++i];
    } else {
      std::fprintf(stderr, "usage: %s [--quick] [--json FILE] [--filter TEXT]\n", argv[0]);
      std::exit(2);
    }
  }
  return options;
}

// One line of the report. Without a baseline its name is empty.
struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  std::string baseline_name;
  double baseline_value = 0;
  double ratio = 0;
  std::vector<double> runs;
};

class Report {
 public:
  explicit Report(Options options) : options_(std::move(options)) {}

  [[nodiscard]] const Options& options() const noexcept { return options_; }
  [[nodiscard]] bool wants(std::string_view name) const noexcept {
    const std::string_view filter = options_.filter;
    if (filter.starts_with('=')) return name == filter.substr(1);
    return name.find(filter) != std::string_view::npos;
  }

  // Prints the figure at once and keeps it for the JSON file.
  void add(Figure f) {
    if (figures_.empty()) {
      std::printf("%-40s %12s %-10s %14s %-14s %8s\n", "figure", "value", "unit", "baseline", "",
                  "ratio");
    }
    std::printf("%-40s %12.2f %-10s", f.name.c_str(), f.value, f.unit.c_str());
    if (!f.baseline_name.empty()) {
      std::printf(" %14.2f %-14s %8.2f", f.baseline_value, f.baseline_name.c_str(), f.ratio);
    }
    std::printf("\n");
    std::fflush(stdout);
    figures_.push_back(std::move(f));
  }

  // A figure of its own, from its runs.
  void add(std::string name, std::string unit, std::vector<double> runs) {
    add(Figure{
        .name = std::move(name), .value = median(runs), .unit = std::move(unit), .runs = runs});
  }

  // False when the file cannot be written. No name or unit here needs escaping.
  [[nodiscard]] bool write_json() const {
    if (options_.json.empty()) return true;
    std::FILE* file = std::fopen(options_.json.c_str(), "w");
    if (file == nullptr) return false;
    std::fprintf(file, "[\n");
    for (size_t i = 0; i < figures_.size(); ++i) {
      const Figure& f = figures_[i];
      std::fprintf(file, "  {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"baseline\": ",
                   f.name.c_str(), f.value, f.unit.c_str());
      if (f.baseline_name.empty()) {
        std::fprintf(file, "null, \"ratio\": null");
      } else {
        std::fprintf(file, "{\"name\": \"%s\", \"value\": %.6g}, \"ratio\": %.6g",
                     f.baseline_name.c_str(), f.baseline_value, f.ratio);
      }
      std::fprintf(file, ", \"runs\": [");
      for (size_t k = 0; k < f.runs.size(); ++k) {
        std::fprintf(file, "%s%.6g", k == 0 ? "" : ", ", f.runs[k]);
      }
      std::fprintf(file, "]}%s\n", i + 1 < figures_.size() ? "," : "");
    }
    std::fprintf(file, "]\n");
    return std::fclose(file) == 0;
  }

 private:
  Options options_;
  std::vector<Figure> figures_;
};

// One way to do the same work. run() does it once and returns how many operations that were.
struct Contender {
  std::string name;
  std::function<uint64_t()> run;
};

struct Measured {
  std::string name;
  std::vector<double> ns_per_operation;  // one for each round
};

// One unmeasured round first. The order turns by one place each round.
[[nodiscard]] inline std::vector<Measured> run_interleaved(const std::vector<Contender>& contenders,
                                                           size_t rounds) {
  std::vector<Measured> measured;
  for (const Contender& c : contenders)
    measured.push_back({.name = c.name, .ns_per_operation = {}});
  for (size_t round = 0; round <= rounds; ++round) {
    for (size_t k = 0; k < contenders.size(); ++k) {
      const size_t i = (k + round) % contenders.size();
      const uint64_t start = thread_cpu_ns();
      const uint64_t operations = contenders[i].run();
      const uint64_t spent = thread_cpu_ns() - start;
      if (round == 0) continue;
      measured[i].ns_per_operation.push_back(
          static_cast<double>(spent) / static_cast<double>(std::max<uint64_t>(1, operations)));
    }
  }
  return measured;
}

// Figures of the first contender against each of the others, in millions of operations a second: larger is
// better, a ratio above 1 says that the first is faster. Alone, it is a figure without baseline.
inline void add_rates(Report& report, const std::string& name,
                      const std::vector<Measured>& measured) {
  const auto rates = [](const Measured& m) {
    std::vector<double> result;
    for (const double ns : m.ns_per_operation) result.push_back(1000.0 / ns);
    return result;
  };
  const std::vector<double> own = rates(measured[0]);
  if (measured.size() == 1) report.add(name, "M/s", own);
  for (size_t i = 1; i < measured.size(); ++i) {
    const std::vector<double> other = rates(measured[i]);
    std::vector<double> ratios;
    for (size_t round = 0; round < own.size(); ++round) ratios.push_back(own[round] / other[round]);
    report.add(Figure{.name = name,
                      .value = median(own),
                      .unit = "M/s",
                      .baseline_name = measured[i].name,
                      .baseline_value = median(other),
                      .ratio = median(ratios),
                      .runs = own});
  }
}

}  // namespace turnpike::bench

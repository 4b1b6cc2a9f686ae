// Which failures of commits the log tells of: each kind once until a commit works again, since whoever asks is told
// each time.
//   Threads: control.
//   Bounds:  kToldMax kinds; what more there are is told to those who ask.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <utility>

namespace turnpike::daemon {

class Failures {
 public:
  static constexpr size_t kToldMax = 8;

  // Whether the log is to tell of it.
  [[nodiscard]] bool begin(const std::string& what) {
    return told_.size() < kToldMax && told_.insert(what).second;
  }
  // A commit has worked. Whether the log is to tell of that.
  [[nodiscard]] bool end() { return !std::exchange(told_, {}).empty(); }

 private:
  std::set<std::string> told_;
};

}  // namespace turnpike::daemon

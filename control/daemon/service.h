// What systemd is told of us: sd_notify(3), as services of Type=notify and notify-reload are to do it. Nothing where
// systemd has not started us.
//   Threads: control.
//   Bounds:  the line for people has at most kStatusBytesMax, UTF-8 without control characters: systemd passes over
//            a message that is longer than 4 KiB or no text, and a line break would begin another assignment.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "control/api/backend.h"
#include "dataplane/base/time.h"

namespace turnpike::daemon {

inline constexpr size_t kStatusBytesMax = 1'024;

// How a reload ended, in one line that stays true when transactions follow.
[[nodiscard]] std::string outcome_line(const api::FileAnswer& answer, Generation running);

class Service {
 public:
  static void ready(std::string_view status);
  static void stopping(std::string_view why);
  // We end now: why.
  static void failed(std::string_view why);

  // Reloads may overlap: the service is ready again when the last one has ended.
  void reload_begins(Instant now);
  void reload_ends(std::string_view status);

 private:
  size_t reloads_ = 0;
};

}  // namespace turnpike::daemon

// What happens, as JSON lines with an `event` field, to everybody who listens.
//   Threads: control.
//   Bounds:  kMaxListeners, of them kMaxListenersOfReaders who may only look; each has kMaxPendingBytes of lines
//            that it has not taken yet. Who is slower than that gets what is there, one line with the event
//            "cut_off", and the end: nobody waits for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/api/json_text.h"
#include "control/api/request.h"
#include "dataplane/base/time.h"

namespace turnpike::api {

inline constexpr size_t kMaxListeners = 64;
inline constexpr size_t kMaxListenersOfReaders = 48;
inline constexpr size_t kMaxPendingBytes = 256 * 1024;

// One line, piece by piece.
class EventLine {
 public:
  EventLine(std::string_view event, WallTime at) {
    line_ = "{";
    text("event", event);
    text("time", rfc3339(at));
  }
  EventLine& text(std::string_view key, std::string_view value) {
    append_json_key(line_, key);
    append_json_string(line_, value);
    return *this;
  }
  EventLine& number(std::string_view key, uint64_t value) {
    append_json_key(line_, key);
    append_json_number(line_, value);
    return *this;
  }
  EventLine& boolean(std::string_view key, bool value) {
    append_json_key(line_, key);
    line_ += value ? "true" : "false";
    return *this;
  }
  [[nodiscard]] std::string take() { return std::move(line_) + "}\n"; }

 private:
  std::string line_;
};

class EventHub {
 public:
  EventHub();
  ~EventHub();
  EventHub(const EventHub&) = delete;
  EventHub& operator=(const EventHub&) = delete;

  // Whether a line has a reader at all: making it may be spared.
  [[nodiscard]] bool heard() const noexcept;
  void publish(const std::string& line);
  // Lines from now on, without end; nullptr when there are as many as may be. May outlive the hub, and ends then.
  [[nodiscard]] std::unique_ptr<BodySource> listen(Access access = Access::All);
  // Readers that were cut off.
  [[nodiscard]] uint64_t cut_off() const noexcept { return cut_off_; }

 private:
  struct Listener;
  class Source;
  std::vector<std::weak_ptr<Listener>> listeners_;
  uint64_t cut_off_ = 0;
};

}  // namespace turnpike::api

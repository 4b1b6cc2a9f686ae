// A request and its answer as values, so that routes know nothing of HTTP's library or of sockets.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "control/api/backend.h"

namespace turnpike::api {

struct Request {
  std::string method;
  std::string path;                          // decoded, without the query
  std::map<std::string, std::string> query;  // decoded
  std::string content_type;                  // without parameters, in lower case
  std::optional<std::string> if_match;
  std::string body;
  Caller caller;
  Access access = Access::All;
};

// An answer that is made while it is sent. One call does at most some ten microseconds of work.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // Appends the next slice; false when that was the last one.
  [[nodiscard]] virtual bool next(std::string& out) = 0;
  // True when there is nothing yet: `ready` is then called once, as soon as there is. Sources that make their
  // answer by themselves never wait.
  [[nodiscard]] virtual bool wait(std::function<void()> /*ready*/) { return false; }
};

struct Response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::unique_ptr<BodySource> source;  // if set, what follows `body`
  bool bounded = false;  // all of it within HttpTimeouts::bounded, else its reader is cut off
  std::optional<Generation> generation;  // becomes the ETag
  std::string allow;  // methods, with status 405
};

using Respond = std::function<void(Response)>;

// Runs `work` where it stalls nobody, then `done` on the control thread. Tests run both at once.
using Offload = std::function<void(std::function<void()> work, std::function<void()> done)>;

}  // namespace turnpike::api

// Asks the daemon over its UNIX socket, one request at a time, waiting for each answer.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "dataplane/base/result.h"

namespace turnpike::cli {

struct Ask {
  std::string method = "GET";
  std::string target;
  std::map<std::string, std::string> headers;
  std::string body;
};

struct Reply {
  unsigned status = 0;
  std::string body;
};

// The error is one line for a person. With `pieces`, the body of a reply with status 200 goes there as it
// comes and Reply::body stays empty.
[[nodiscard]] Result<Reply, std::string> ask(
    const std::string& socket, const Ask& request,
    const std::function<void(std::string_view)>& pieces = nullptr);

}  // namespace turnpike::cli

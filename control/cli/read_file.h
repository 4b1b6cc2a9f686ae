// A whole file for a command.
//   Bounds:  kMaxInputBytes; what is longer is refused.
#pragma once

#include <cstddef>
#include <string>

#include "dataplane/base/result.h"

namespace turnpike::cli {

inline constexpr size_t kMaxInputBytes = size_t{256} << 20;

// The error is one line, with the file's name. Pipes are read to their end.
[[nodiscard]] Result<std::string, std::string> read_file(const std::string& path);

}  // namespace turnpike::cli

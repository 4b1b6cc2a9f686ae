// What a reload would do, as tables for a person.
#pragma once

#include <string>
#include <string_view>

#include "control/cli/environment.h"
#include "dataplane/base/result.h"

namespace turnpike::cli {

// `json` is the daemon's answer. The error is one line (the answer is not what it should be).
[[nodiscard]] Result<std::string, std::string> diff_text(std::string_view json,
                                                         const Environment& environment);

}  // namespace turnpike::cli

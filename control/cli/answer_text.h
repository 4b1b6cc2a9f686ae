// The daemon's answers to changes and small questions, for a person.
#pragma once

#include <string>

#include "control/cli/client.h"
#include "dataplane/base/result.h"

namespace turnpike::cli {

[[nodiscard]] std::string commit_text(const Reply& reply);
// Every conflict, what to type to move what somebody else owns, and that nothing has changed.
[[nodiscard]] std::string refusal_text(const Reply& reply, bool dry_run);
[[nodiscard]] std::string problem_text(const Reply& reply);
[[nodiscard]] Result<std::string, std::string> owner_text(const std::string& body);

}  // namespace turnpike::cli

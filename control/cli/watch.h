// What happens, as it happens.
#pragma once

#include <string>
#include <string_view>

#include "control/cli/commands.h"

namespace turnpike::cli {

// Ends when the daemon does, or when it was too slow a reader: an error, since events are missed from then on.
int watch(const Common& common, Environment& environment);

// One JSON line of the daemon's as a line for a person.
[[nodiscard]] std::string event_text(std::string_view line);

}  // namespace turnpike::cli

// What a way back over commits leaves as it is: peers, prefixes and tunnels go back, addresses, routes and MTUs are the
// file's.
#pragma once

#include <string>
#include <vector>

#include "control/store/store.h"

namespace turnpike::daemon {

// A line for each of these commits, which Store::from_file() gave. None where the history could not be read.
[[nodiscard]] std::vector<std::string> what_stays(
    const Result<std::vector<Generation>, std::string>& from_file);

}  // namespace turnpike::daemon

// What a way back over commits leaves as it is: peers, prefixes and tunnels go back, addresses, routes and MTUs are the
// file's.
#pragma once

#include <string>
#include <vector>

#include "control/store/store.h"

namespace turnpike::daemon {

// A line for each commit from `first` to `last` that came from the file. None where the history could not be read.
[[nodiscard]] std::vector<std::string> what_stays(
    const Result<std::vector<store::HistoryEntry>, std::string>& history, Generation first,
    Generation last);

}  // namespace turnpike::daemon

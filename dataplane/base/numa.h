// Whether memory can be placed on a NUMA node.
#pragma once

#include <string>

#include "dataplane/base/result.h"

namespace turnpike {

// The error is a line that says why not: no such node with memory for this process, or placing is not allowed to it.
[[nodiscard]] Result<void, std::string> can_place_memory(int numa_node);

}  // namespace turnpike

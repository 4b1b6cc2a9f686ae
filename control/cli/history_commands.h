// What the commands about past commits do.
#pragma once

#include "control/cli/commands.h"

namespace turnpike::cli {

int history(const Common& common, Environment& environment);
int rollback(uint64_t generation, const ChangeOptions& options, const Common& common,
             Environment& environment);
// Without a generation: all that waits.
int confirm(std::optional<uint64_t> generation, const Common& common, Environment& environment);

}  // namespace turnpike::cli

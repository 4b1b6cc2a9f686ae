// Commands about configuration files and the running gateway: reload, diff.
#pragma once

#include <string>

#include "control/cli/commands.h"

namespace turnpike::cli {

int reload(const ChangeOptions& options, const Common& common, Environment& environment);
int diff(const std::string& file, const Common& common, Environment& environment);

}  // namespace turnpike::cli

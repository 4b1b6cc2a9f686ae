// Files of wg(8) and wg-quick(8) as configurations.
#pragma once

#include <string>

#include "control/cli/environment.h"

namespace turnpike::cli {

// The YAML goes to the output, what was left out or changed to the error output. Keys become files below
// `secrets`; empty: they are only named.
int import_file(const std::string& file, const std::string& tunnel, const std::string& secrets,
                Environment& environment);

}  // namespace turnpike::cli

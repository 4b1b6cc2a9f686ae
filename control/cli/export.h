// What runs, as a configuration.
#pragma once

#include <string>

#include "control/cli/commands.h"
#include "control/cli/environment.h"

namespace turnpike::cli {

struct ExportOptions {
  std::string output;  // empty: the standard output
  std::string secrets;  // directory for the keys; empty: none are asked for
  bool force = false;  // files that are there are replaced
};

// What a configuration cannot say goes to the error output.
int export_running(const ExportOptions& options, const Common& common, Environment& environment);

}  // namespace turnpike::cli

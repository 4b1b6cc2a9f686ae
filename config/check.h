// What can be judged only when the whole file is read: names that must be unique, names that must
// exist, prefixes and addresses that must not meet.
#pragma once

#include "config/config.h"
#include "config/report.h"

namespace turnpike::config {

// Passes over the placeholders that mistakes left (see DocumentReader).
void check(const Config& config, Report& report);

}  // namespace turnpike::config

// Peers and what goes through them, again and again.
#pragma once

#include <string>

#include "control/cli/commands.h"

namespace turnpike::cli {

struct TopOptions {
  uint64_t interval_seconds = 2;
  uint64_t rounds = 0;  // 0: until the end
  std::string tunnel;
};

// On a terminal the table is drawn anew and q ends it; else each round is printed below the one before it.
int top(const TopOptions& options, const Common& common, Environment& environment);

}  // namespace turnpike::cli

// The part of the control benchmark that goes through the real daemon's sockets.
#pragma once

#include <string>

#include "tests/bench/paired.h"

namespace turnpike::bench {

struct ServedSizes {
  uint32_t peers;  // in place, in one tunnel
  uint32_t prefixes_each;
  uint32_t set_peers;  // that wg sets in the other
  size_t rounds;
  size_t moves;  // in each round
};

// `directory` is empty, and where wg finds its sockets (enter_wg_namespace()).
void served(Report& report, const ServedSizes& sizes, const std::string& directory);
// Moves and commits again, each on the disk of `directory`, which is empty, before it is acknowledged.
void served_durable(Report& report, const ServedSizes& sizes, const std::string& directory);

}  // namespace turnpike::bench

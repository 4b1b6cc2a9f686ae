// Reload of a large configuration file while commits go on, beside the YAML library's own event parse of it.
#pragma once

#include "tests/bench/paired.h"

namespace turnpike::bench {

struct ReloadSizes {
  uint32_t peers;
  size_t rounds;
};

void reload_figures(Report& report, const ReloadSizes& sizes, uint64_t seed);

}  // namespace turnpike::bench

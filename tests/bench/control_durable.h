// Durable commits a second beside SQLite's own rate for the same rows, and how long a start with many prefixes
// in the store takes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/bench/paired.h"

namespace turnpike::bench {

struct DurableSizes {
  size_t commits;  // in each round
  size_t rounds;
  uint32_t prefixes;  // in the store at the start, one of each peer
};

// The files are in the current directory: what is measured is its disk.
void durable_figures(Report& report, const DurableSizes& sizes);

}  // namespace turnpike::bench

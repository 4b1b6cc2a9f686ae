// What edits of the allowed-IPs trie cost, in time, in memory and to the readers.
#pragma once

#include "tests/bench/paired.h"

namespace turnpike::bench {

void measure_edits(Report& report);

}  // namespace turnpike::bench

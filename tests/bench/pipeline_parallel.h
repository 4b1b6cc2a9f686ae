// Two workers at once over one set of tables, beside two threads with nothing but the AEAD; and one worker while
// another thread publishes a commit every millisecond.
#pragma once

#include "tests/bench/paired.h"

namespace turnpike::bench {

// Two CPUs; on a machine with one it says so and measures nothing.
void measure_parallel(Report& report, bool quick);

}  // namespace turnpike::bench

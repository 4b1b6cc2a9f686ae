// The bare AEAD over texts that another core has just written, as packets of a virtual port are, beside the same over
// texts in the own caches: what the distance between two cores costs before a packet path does anything.
#pragma once

#include "tests/bench/paired.h"

namespace turnpike::bench {

// Figures pipeline/far/...: the time a line takes to the other core and back, sealing and opening.
void measure_far(Report& report, bool quick);

}  // namespace turnpike::bench

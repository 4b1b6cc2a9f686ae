// A storm: after an outage all peers begin at once, with one session core to answer them. On the virtual clock; only
// the session's turns take time, as much of it as they take of the CPU.
#pragma once

#include <cstdint>

#include "tests/bench/paired.h"

namespace turnpike::bench {

// Adds how many peers are back after some seconds, beside what bare X25519 would have done by then, and the seconds
// until all are. False when they are not all back before stock peers give up (kRekeyAttemptTime).
bool storm(Report& report, uint32_t peers);

}  // namespace turnpike::bench

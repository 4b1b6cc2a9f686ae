// How fast the AEAD back ends are on this CPU, by a short measurement at start: which is the fastest depends on
// the instructions it has and on how the libraries were built.
#pragma once

#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/crypto/aead.h"

namespace turnpike::crypto {

struct AeadSpeed {
  AeadBackend backend;
  double bits_per_second;  // sealed by one core, in messages of kMeasuredBytes
};
inline constexpr size_t kMeasuredBytes = 1'420;

// Of the back ends that work on this machine (of Auto: all; of another: that one), the fastest first. Takes some
// milliseconds; the best of several rounds, because others may share the core. `clock` is monotonic.
[[nodiscard]] std::vector<AeadSpeed> measure_aeads(AeadBackend which, Instant (*clock)());

}  // namespace turnpike::crypto

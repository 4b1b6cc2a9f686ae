// How fast the AEAD back ends are on this machine, by a short measurement at start: which is the fastest depends on
// the instructions it has and on how the libraries were built.
#pragma once

#include <span>
#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/crypto/aead.h"

namespace turnpike::crypto {

struct AeadSpeed {
  AeadBackend backend;
  double bits_per_second;  // sealed by one core, in messages of kMeasuredBytes
};
inline constexpr size_t kMeasuredBytes = 1'420;

inline constexpr size_t kMeasuringRoomBytes = kRxBurst * (kMeasuredBytes + kAuthTagBytes);

// Of one, working in `room` (kMeasuringRoomBytes of memory that it can reach). `keys`: where it wants to be told of
// keys, else nullptr; 0 when it takes none or does not seal. The rest as below.
[[nodiscard]] double measure_aead(Aead& aead, AeadKeys* keys, std::span<uint8_t> room,
                                  Instant (*clock)());

// Of the back ends that need no device and work on this machine (of Auto: all; of another: that one), the fastest first. Takes some
// milliseconds; the best of several rounds, because others may share the core. `clock` is monotonic.
[[nodiscard]] std::vector<AeadSpeed> measure_aeads(AeadBackend which, Instant (*clock)());

}  // namespace turnpike::crypto

// SipHash-2-4: a keyed hash for tables that strangers fill, so that they cannot choose where their entries lie.
//   Threads: pure function, any thread.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/bytes.h"

namespace turnpike::crypto {

using SipHashKey = std::array<uint8_t, 16>;

[[nodiscard]] uint64_t siphash(const SipHashKey& key, Bytes bytes) noexcept;

}  // namespace turnpike::crypto

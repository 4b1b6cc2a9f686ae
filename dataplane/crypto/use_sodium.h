// libsodium, ready for use. For the sources of this folder only.
#pragma once

#include <sodium.h>

#include "dataplane/base/check.h"

namespace turnpike::crypto {

// Lets libsodium choose its implementations for this CPU, once; what is called before works too,
// but slowly. Safe from every thread.
inline void require_sodium() noexcept {
  static const int started = sodium_init();
  CHECK(started >= 0);
}

}  // namespace turnpike::crypto

// The makers behind make_aead(). For the sources of this folder only.
#pragma once

#include <memory>

#include "dataplane/crypto/aead.h"

namespace turnpike::crypto {

[[nodiscard]] std::unique_ptr<Aead> make_ipsec_mb_aead();
[[nodiscard]] std::unique_ptr<Aead> make_libsodium_aead();

}  // namespace turnpike::crypto

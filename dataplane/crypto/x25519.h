// X25519 (RFC 7748).
//   Threads: pure functions, any thread.
#pragma once

#include "dataplane/base/keys.h"
#include "dataplane/base/random.h"

namespace turnpike::crypto {

// Sets and clears the bits that every X25519 private key has set or clear (RFC 7748, section 5).
// The results below do not depend on it; tools that show a private key do.
[[nodiscard]] PrivateKey clamp(const PrivateKey& key) noexcept;

[[nodiscard]] PrivateKey generate_private_key(RandomSource& random) noexcept;
[[nodiscard]] PublicKey public_key(const PrivateKey& key) noexcept;

// False, `out` untouched, when the result is zero: `theirs` is of low order and would make the
// secret known to everybody.
[[nodiscard]] bool shared_secret(const PrivateKey& ours, const PublicKey& theirs,
                                 SharedSecret& out) noexcept;

}  // namespace turnpike::crypto

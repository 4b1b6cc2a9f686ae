// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), whose 24-byte nonce may be random: cookie replies.
//   Threads: pure functions, any thread.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"

namespace turnpike::crypto {

inline constexpr size_t kXNonceBytes = 24;
using XNonce = std::span<const uint8_t, kXNonceBytes>;

// `out` is 16 bytes longer than `text`.
void xchacha20poly1305_seal(std::span<const uint8_t, kKeyBytes> key, XNonce nonce, Bytes text,
                            Bytes associated, MutableBytes out) noexcept;
// `sealed` is 16 bytes longer than `out`. False when it is not authentic; `out` is then all zero.
[[nodiscard]] bool xchacha20poly1305_open(std::span<const uint8_t, kKeyBytes> key, XNonce nonce,
                                          Bytes sealed, Bytes associated,
                                          MutableBytes out) noexcept;

}  // namespace turnpike::crypto

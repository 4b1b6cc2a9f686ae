// ChaCha20-Poly1305 (RFC 8439) for single short messages with associated data: the handshake.
// Bursts of packets go through aead.h.
//   Threads: pure functions, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"

namespace turnpike::crypto {

using AeadKey = std::span<const uint8_t, kKeyBytes>;

inline constexpr size_t kNonceBytes = 12;
using Nonce = std::array<uint8_t, kNonceBytes>;

// Four zero bytes and `counter`, little endian (paper, 5.4).
[[nodiscard]] inline Nonce nonce_of(uint64_t counter) noexcept {
  Nonce nonce{};
  store_le64(&nonce[4], counter);
  return nonce;
}

// `out` is 16 bytes longer than `text`; both may be the same memory.
void chacha20poly1305_seal(AeadKey key, const Nonce& nonce, Bytes text, Bytes associated,
                           MutableBytes out) noexcept;
// `sealed` is 16 bytes longer than `out`. False when it is not authentic; `out` is then all zero.
[[nodiscard]] bool chacha20poly1305_open(AeadKey key, const Nonce& nonce, Bytes sealed,
                                         Bytes associated, MutableBytes out) noexcept;

}  // namespace turnpike::crypto

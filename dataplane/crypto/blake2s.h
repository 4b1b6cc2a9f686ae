// BLAKE2s (RFC 7693) as WireGuard uses it: plain hash, keyed MAC, HMAC and the key derivation built
// on it (paper, section 5.4).
//   Threads: pure functions, any thread.
//   Bounds:  keys up to 32 bytes for mac(), up to 64 for hmac().
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"

namespace turnpike::crypto {

inline constexpr size_t kHashBytes = 32;
inline constexpr size_t kMacBytes = 16;

using Hash = std::array<uint8_t, kHashBytes>;
using Mac = std::array<uint8_t, kMacBytes>;

// Of the parts, one after the other: Hash(a || b) is blake2s({a, b}).
[[nodiscard]] Hash blake2s(std::initializer_list<Bytes> parts) noexcept;

// Keyed BLAKE2s with `out.size()` bytes of output (1 to 32; the length is part of the function).
// An empty key makes it the plain hash.
void blake2s_keyed(Bytes key, std::initializer_list<Bytes> parts, MutableBytes out) noexcept;

// Mac(key, parts) of the paper: keyed, 16 bytes.
[[nodiscard]] Mac blake2s_mac(Bytes key, std::initializer_list<Bytes> parts) noexcept;

// HMAC (RFC 2104) over BLAKE2s with 32 bytes of output.
void hmac_blake2s(Bytes key, std::initializer_list<Bytes> parts,
                  std::span<uint8_t, kHashBytes> out) noexcept;

// Kdf_n(key, input) of the paper. An output may be the memory of `key`: it is read before.
using KdfOut = std::span<uint8_t, kHashBytes>;
void kdf1(Bytes key, Bytes input, KdfOut first) noexcept;
void kdf2(Bytes key, Bytes input, KdfOut first, KdfOut second) noexcept;
void kdf3(Bytes key, Bytes input, KdfOut first, KdfOut second, KdfOut third) noexcept;

}  // namespace turnpike::crypto

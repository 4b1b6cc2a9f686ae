// WireGuard's three kinds of 32-byte keys as types that cannot be mixed up. Secret ones are wiped when
// they die, compare in constant time and have no text form by accident.
#pragma once

#include <string.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>

namespace turnpike {

inline constexpr size_t kKeyBytes = 32;

// The compiler may not remove it. Nothing at no address is fine, too.
inline void wipe(void* memory, size_t bytes) noexcept {
  if (bytes != 0) explicit_bzero(memory, bytes);
}

// In time that depends on the length alone.
[[nodiscard]] inline bool equal_constant_time(std::span<const uint8_t> a,
                                              std::span<const uint8_t> b) noexcept {
  if (a.size() != b.size()) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<uint8_t>(a[i] ^ b[i]);
  return difference == 0;
}

struct PublicKey {
  std::array<uint8_t, kKeyBytes> bytes{};
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
};

// 32 secret bytes. `Tag` tells private keys, preshared keys and shared secrets apart.
template <typename Tag>
class SecretKey {
 public:
  SecretKey() = default;
  explicit SecretKey(std::span<const uint8_t, kKeyBytes> bytes) noexcept {
    std::memcpy(bytes_.data(), bytes.data(), kKeyBytes);
  }
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey() { wipe(bytes_.data(), kKeyBytes); }

  [[nodiscard]] std::span<const uint8_t, kKeyBytes> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::span<uint8_t, kKeyBytes> bytes() noexcept { return bytes_; }
  // All zero: "no key" in WireGuard's interfaces.
  [[nodiscard]] bool is_zero() const noexcept {
    return equal_constant_time(bytes_, std::array<uint8_t, kKeyBytes>{});
  }
  friend bool operator==(const SecretKey& a, const SecretKey& b) noexcept {
    return equal_constant_time(a.bytes_, b.bytes_);
  }

 private:
  std::array<uint8_t, kKeyBytes> bytes_{};
};

using PrivateKey = SecretKey<struct PrivateKeyTag>;
using PresharedKey = SecretKey<struct PresharedKeyTag>;
using SharedSecret = SecretKey<struct SharedSecretTag>;

}  // namespace turnpike

template <>
struct std::hash<turnpike::PublicKey> {
  // All four words, mixed: configured keys may be any 32 bytes, also such that agree in some of them. Tables
  // that strangers fill use a keyed hash instead (wireguard/cookie).
  size_t operator()(const turnpike::PublicKey& key) const noexcept {
    uint64_t mixed = 0;
    for (size_t i = 0; i < turnpike::kKeyBytes; i += sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, key.bytes.data() + i, sizeof(word));
      mixed = (mixed ^ word) * 0x9e37'79b9'7f4a'7c15ULL;
      mixed ^= mixed >> 32;
    }
    return mixed;
  }
};

// Loads and stores of integers at any alignment, and spans of bytes.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

namespace turnpike {

static_assert(std::endian::native == std::endian::little, "the loads below assume it");

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

constexpr uint16_t byteswap16(uint16_t v) noexcept { return __builtin_bswap16(v); }
constexpr uint32_t byteswap32(uint32_t v) noexcept { return __builtin_bswap32(v); }
constexpr uint64_t byteswap64(uint64_t v) noexcept { return __builtin_bswap64(v); }

template <typename T>
[[nodiscard]] inline T load_unaligned(const uint8_t* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
template <typename T>
inline void store_unaligned(uint8_t* to, T value) noexcept {
  std::memcpy(to, &value, sizeof(T));
}

[[nodiscard]] inline uint16_t load_le16(const uint8_t* p) noexcept {
  return load_unaligned<uint16_t>(p);
}
[[nodiscard]] inline uint32_t load_le32(const uint8_t* p) noexcept {
  return load_unaligned<uint32_t>(p);
}
[[nodiscard]] inline uint64_t load_le64(const uint8_t* p) noexcept {
  return load_unaligned<uint64_t>(p);
}
[[nodiscard]] inline uint16_t load_be16(const uint8_t* p) noexcept {
  return byteswap16(load_le16(p));
}
[[nodiscard]] inline uint32_t load_be32(const uint8_t* p) noexcept {
  return byteswap32(load_le32(p));
}
[[nodiscard]] inline uint64_t load_be64(const uint8_t* p) noexcept {
  return byteswap64(load_le64(p));
}
inline void store_le16(uint8_t* p, uint16_t v) noexcept { store_unaligned(p, v); }
inline void store_le32(uint8_t* p, uint32_t v) noexcept { store_unaligned(p, v); }
inline void store_le64(uint8_t* p, uint64_t v) noexcept { store_unaligned(p, v); }
inline void store_be16(uint8_t* p, uint16_t v) noexcept { store_unaligned(p, byteswap16(v)); }
inline void store_be32(uint8_t* p, uint32_t v) noexcept { store_unaligned(p, byteswap32(v)); }
inline void store_be64(uint8_t* p, uint64_t v) noexcept { store_unaligned(p, byteswap64(v)); }

}  // namespace turnpike

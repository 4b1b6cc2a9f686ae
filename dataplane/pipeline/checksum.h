// The Internet checksum (RFC 1071) and its change by increments (RFC 1624).
//   Sums are kept in 64 bits in the byte order of the packet (RFC 1071, 2 B: the order does not matter as
//   long as it is one), and folded once at the end. So what load_le16() reads and store_le16() writes are
//   words of the packet as they lie there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/base/bytes.h"

namespace turnpike::pipeline {

inline constexpr size_t kSumBlockBytes = 64;

// The sum of `blocks` times kSumBlockBytes, with the widest vectors that the machine has (checksum.cpp).
[[nodiscard]] uint64_t sum_blocks(const uint8_t* bytes, size_t blocks) noexcept;

// The sum of the 16-bit words of `bytes`, an odd last byte padded with zero. Not folded: the sums of up to
// 2^16 such pieces of a frame may be added to each other. Pieces that are added must begin at even offsets.
[[nodiscard]] inline uint64_t sum_words(const uint8_t* bytes, size_t length) noexcept {
  uint64_t even = 0;
  uint64_t odd = 0;
  // Below some blocks a call costs more than it saves.
  if (length >= 4 * kSumBlockBytes) {
    const size_t blocks = length / kSumBlockBytes;
    even = sum_blocks(bytes, blocks);
    bytes += blocks * kSumBlockBytes;
    length -= blocks * kSumBlockBytes;
  }
  // 32-bit words in 64-bit sums: no carry to take care of for the length of any frame.
  for (; length >= 16; bytes += 16, length -= 16) {
    const uint64_t a = load_le64(bytes);
    const uint64_t b = load_le64(bytes + 8);
    even += (a & 0xffff'ffff) + (b & 0xffff'ffff);
    odd += (a >> 32) + (b >> 32);
  }
  for (; length >= 4; bytes += 4, length -= 4) even += load_le32(bytes);
  if (length >= 2) {
    even += load_le16(bytes);
    bytes += 2;
    length -= 2;
  }
  if (length == 1) even += *bytes;
  return even + odd;
}

// Folded to 16 bits, not inverted.
[[nodiscard]] constexpr uint16_t fold(uint64_t sum) noexcept {
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// The same of a sum that fits into 32 bits: two steps are enough for any.
[[nodiscard]] constexpr uint16_t fold_short(uint32_t sum) noexcept {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// What goes into a checksum field.
[[nodiscard]] constexpr uint16_t finish_checksum(uint64_t sum) noexcept {
  return static_cast<uint16_t>(~fold(sum));
}

// UDP sends a sum of zero as all ones: zero means "none" (RFC 768).
[[nodiscard]] constexpr uint16_t finish_udp_checksum(uint64_t sum) noexcept {
  const uint16_t checksum = finish_checksum(sum);
  return checksum == 0 ? 0xffff : checksum;
}

// The field after one word of what it covers changed from `before` to `after` (RFC 1624, equation 3).
[[nodiscard]] constexpr uint16_t update_checksum(uint16_t checksum, uint16_t before,
                                                 uint16_t after) noexcept {
  const uint64_t sum =
      uint64_t{static_cast<uint16_t>(~checksum)} + static_cast<uint16_t>(~before) + after;
  return static_cast<uint16_t>(~fold(sum));
}

}  // namespace turnpike::pipeline

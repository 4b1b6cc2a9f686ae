// The layout of the allowed-IPs trie in memory: what the writer builds and the look-up kernels read.
//
// A subtree stands at a depth and sees the rest of the address, left-aligned in 64 bits. IPv6 is two halves:
// below /64 the rest is the low half, and the way there always leads over a Skip with `crosses` set.
//   Node   2^stride slots, indexed by the next bits. A slot has the longest prefix that ends in this node
//          on the way to it (so the best match is carried down, not pushed), and the subtree below.
//   Peers  2^stride owners and nothing else: where all prefixes have one length and nothing is below.
//   Leaf   up to 10, 7 or 5 prefixes of at most 15, 31 or 63 further bits in one cache line, longest first.
//   Skip   up to 64 bits that must agree, and one slot.
// A prefix that ends exactly where a subtree starts belongs to the slot (or leaf entry) above it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"

namespace turnpike::lookup {

// The number of a cache line in the arena. 0 is never a node.
using Line = uint32_t;
inline constexpr size_t kLineBytes = kCacheLine;

enum class Kind : uint32_t {
  None = 0,
  Node = 1,
  Peers = 2,
  Leaf16 = 3,
  Leaf32 = 4,
  Leaf64 = 5,
  Skip = 6
};

// What a slot leads to: bits 0-2 kind, 3-6 stride, 7 a mark of the slot that holds the reference, 8-31
// line. Zero leads nowhere.
using Ref = uint32_t;
inline constexpr Ref kExactMark = 0x80;
inline constexpr unsigned kLineShift = 8;
inline constexpr Line kLinesMax = 1u << 24;

[[nodiscard]] constexpr Ref make_ref(Kind kind, unsigned stride, Line line) noexcept {
  return line << kLineShift | stride << 3 | static_cast<uint32_t>(kind);
}
[[nodiscard]] constexpr Kind kind_of(Ref r) noexcept { return static_cast<Kind>(r & 7); }
[[nodiscard]] constexpr unsigned stride_of(Ref r) noexcept { return r >> 3 & 15; }
[[nodiscard]] constexpr uint32_t shape_of(Ref r) noexcept { return r & 0x7f; }  // kind and stride
[[nodiscard]] constexpr Line line_of(Ref r) noexcept { return r >> kLineShift; }
[[nodiscard]] constexpr bool is_leaf(Ref r) noexcept { return (r & 7) - 3 < 3; }

struct Slot {
  Ref child = 0;
  PeerIndex peer = kNoPeer;

  // In a Node: the owner is that of a prefix which ends exactly at this slot, not of a shorter one that
  // covers it.
  [[nodiscard]] bool exact() const noexcept { return (child & kExactMark) != 0; }
  [[nodiscard]] Ref below() const noexcept { return child & ~kExactMark; }
  [[nodiscard]] bool empty() const noexcept { return child == 0; }  // but for shorter prefixes
  void set_below(Ref r) noexcept { child = (child & kExactMark) | r; }
};
static_assert(sizeof(Slot) == 8);

inline constexpr unsigned kStrideMax = 10;

// A key is the prefix's bits, left-aligned, then a one, then zeros; 0 is an unused entry, which matches
// everything and belongs to nobody. An address matches when it differs from the key at or below the
// marker only. Longer prefixes stand first. Bit i of `links`: values[i] is a Ref, not a peer.
struct alignas(kCacheLine) Leaf16 {
  static constexpr size_t kCapacity = 10;
  static constexpr unsigned kKeyBits = 16;
  uint16_t keys[10];
  uint32_t links;
  uint32_t values[10];
};
struct alignas(kCacheLine) Leaf32 {
  static constexpr size_t kCapacity = 7;
  static constexpr unsigned kKeyBits = 32;
  uint32_t keys[7];
  uint32_t links;
  uint32_t values[7];
  uint32_t unused;
};
struct alignas(kCacheLine) Leaf64 {
  static constexpr size_t kCapacity = 5;
  static constexpr unsigned kKeyBits = 64;
  uint64_t keys[5];
  uint32_t links;
  uint32_t values[5];
};
static_assert(sizeof(Leaf16) == kLineBytes && sizeof(Leaf32) == kLineBytes &&
              sizeof(Leaf64) == kLineBytes);

struct alignas(kCacheLine) Skip {
  uint64_t bits;  // left-aligned, zero behind `length`
  uint32_t length;  // 0 to 64; 0 only where it crosses
  uint32_t crosses;  // 1: the bits are the first of the low half
  Slot slot;  // its peer owns the prefix that ends behind the bits
};
static_assert(sizeof(Skip) == kLineBytes);

// Where a version of the table starts. All lines of an arena lie in one room of addresses, at `base`.
struct alignas(kCacheLine) RootLine {
  const uint8_t* base;
  Slot top;  // its peer owns the prefix of length 0
  Line line;  // its own
  uint32_t near;  // 1: the table is small enough to be in the second-level cache
  Line stamps;  // 0: it keeps none
  uint32_t era;  // of the stamps
};
static_assert(sizeof(RootLine) == kLineBytes);

[[nodiscard]] inline const uint8_t* at(const uint8_t* base, Line line) noexcept {
  return base + size_t{line} * kLineBytes;
}

// The first `n` of 64 bits. n is 0 to 64.
[[nodiscard]] constexpr uint64_t high_bits(uint64_t bits, unsigned n) noexcept {
  return n == 0 ? 0 : bits & ~uint64_t{0} << (64 - n);
}
// The first n bits as a number, n from 0 to 63; and the rest.
[[nodiscard]] constexpr uint64_t take(uint64_t bits, unsigned n) noexcept {
  return bits >> 1 >> (63 - n);
}
[[nodiscard]] constexpr uint64_t rest(uint64_t bits, unsigned n) noexcept {
  return n >= 64 ? 0 : bits << n;
}

}  // namespace turnpike::lookup

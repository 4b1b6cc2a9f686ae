// Leaves of the trie as lists of entries, for the writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/lookup/allowed_ips_node.h"

namespace turnpike::lookup {

// One prefix below a subtree's depth, or the link to the low half of IPv6 that hangs at /64.
struct Entry {
  uint64_t key = 0;  // left-aligned, zero behind `length`
  uint32_t value = 0;
  uint8_t length = 0;
  bool link = false;
};

// The most entries that one leaf holds, and one more.
inline constexpr size_t kLeafEntries = Leaf16::kCapacity;
struct EntryList {
  Entry entries[kLeafEntries + 1];
  size_t count = 0;

  void push(const Entry& e) noexcept { entries[count++] = e; }
  void erase(size_t i) noexcept {
    for (--count; i < count; ++i) entries[i] = entries[i + 1];
  }
  [[nodiscard]] Entry* begin() noexcept { return entries; }
  [[nodiscard]] Entry* end() noexcept { return entries + count; }
  [[nodiscard]] const Entry* begin() const noexcept { return entries; }
  [[nodiscard]] const Entry* end() const noexcept { return entries + count; }
};

// In the order in which they stand in the leaf.
[[nodiscard]] EntryList read_leaf(Kind kind, const void* line) noexcept;
// Where `wanted` stands, whose value it gets; kLeafEntries: nowhere.
[[nodiscard]] size_t find_in_leaf(Kind kind, const void* line, Entry& wanted) noexcept;
[[nodiscard]] size_t count_leaf(Kind kind, const void* line) noexcept;
// The kind that holds all of them, or None.
[[nodiscard]] Kind leaf_kind(const EntryList& list) noexcept;
void write_leaf(Kind kind, const EntryList& list, void* line) noexcept;
// Entry `i` in the order of read_leaf(): another value for it, and its end.
void set_leaf_value(Kind kind, void* line, size_t i, uint32_t value) noexcept;
void erase_from_leaf(Kind kind, void* line, size_t i) noexcept;

}  // namespace turnpike::lookup

#include "dataplane/lookup/allowed_ips_leaf.h"

#include <algorithm>

#include "dataplane/base/check.h"

namespace turnpike::lookup {
namespace {

// Calls `f` with the leaf as what it is.
template <typename F>
auto with_leaf(Kind kind, void* line, F f) noexcept {
  switch (kind) {
    case Kind::Leaf16:
      return f(*static_cast<Leaf16*>(line));
    case Kind::Leaf32:
      return f(*static_cast<Leaf32*>(line));
    default:
      CHECK(kind == Kind::Leaf64);
      return f(*static_cast<Leaf64*>(line));
  }
}
template <typename F>
auto with_leaf(Kind kind, const void* line, F f) noexcept {
  return with_leaf(kind, const_cast<void*>(line), f);
}

// Longer prefixes first; a link before the prefix that ends where it hangs.
bool stands_before(const Entry& a, const Entry& b) noexcept {
  return a.length != b.length ? a.length > b.length : a.link && !b.link;
}

}  // namespace

EntryList read_leaf(Kind kind, const void* line) noexcept {
  return with_leaf(kind, line, [](const auto& leaf) {
    EntryList list;
    for (size_t i = 0; i < leaf.kCapacity && leaf.keys[i] != 0; ++i) {
      const uint64_t key = uint64_t{leaf.keys[i]} << (64 - leaf.kKeyBits);
      list.push({.key = key & (key - 1),
                 .value = leaf.values[i],
                 .length = static_cast<uint8_t>(63 - std::countr_zero(key)),
                 .link = (leaf.links >> i & 1) != 0});
    }
    return list;
  });
}

size_t find_in_leaf(Kind kind, const void* line, Entry& wanted) noexcept {
  return with_leaf(kind, line, [&wanted](const auto& leaf) {
    // What does not fit into a key of this leaf, with the mark behind it, cannot stand here.
    if (wanted.length >= leaf.kKeyBits) return kLeafEntries;
    const unsigned beyond = 64 - leaf.kKeyBits;
    const uint64_t marked = wanted.key | uint64_t{1} << (63 - wanted.length);
    for (size_t i = 0; i < leaf.kCapacity; ++i) {
      if (leaf.keys[i] == marked >> beyond && (leaf.links >> i & 1) == wanted.link) {
        wanted.value = leaf.values[i];
        return i;
      }
    }
    return kLeafEntries;
  });
}

size_t count_leaf(Kind kind, const void* line) noexcept {
  return with_leaf(kind, line, [](const auto& leaf) {
    size_t n = 0;
    while (n < leaf.kCapacity && leaf.keys[n] != 0) ++n;
    return n;
  });
}

Kind leaf_kind(const EntryList& list) noexcept {
  unsigned longest = 0;
  for (const Entry& e : list) longest = std::max<unsigned>(longest, e.length);
  if (longest < Leaf16::kKeyBits && list.count <= Leaf16::kCapacity) return Kind::Leaf16;
  if (longest < Leaf32::kKeyBits && list.count <= Leaf32::kCapacity) return Kind::Leaf32;
  if (longest < Leaf64::kKeyBits && list.count <= Leaf64::kCapacity) return Kind::Leaf64;
  return Kind::None;
}

void write_leaf(Kind kind, const EntryList& list, void* line) noexcept {
  EntryList sorted;
  for (const Entry& e : list) {
    size_t i = sorted.count++;
    for (; i > 0 && stands_before(e, sorted.entries[i - 1]); --i) {
      sorted.entries[i] = sorted.entries[i - 1];
    }
    sorted.entries[i] = e;
  }
  with_leaf(kind, line, [&](auto& leaf) {
    std::fill(std::begin(leaf.keys), std::end(leaf.keys), 0);
    std::fill(std::begin(leaf.values), std::end(leaf.values), kNoPeer);
    leaf.links = 0;
    for (size_t i = 0; i < sorted.count; ++i) {
      const Entry& e = sorted.entries[i];
      const uint64_t key = e.key | uint64_t{1} << (63 - e.length);
      leaf.keys[i] =
          static_cast<std::remove_reference_t<decltype(leaf.keys[0])>>(key >> (64 - leaf.kKeyBits));
      leaf.values[i] = e.value;
      leaf.links |= uint32_t{e.link} << i;
    }
  });
}

void set_leaf_value(Kind kind, void* line, size_t i, uint32_t value) noexcept {
  with_leaf(kind, line, [&](auto& leaf) { leaf.values[i] = value; });
}

void erase_from_leaf(Kind kind, void* line, size_t i) noexcept {
  with_leaf(kind, line, [&](auto& leaf) {
    std::copy(std::begin(leaf.keys) + i + 1, std::end(leaf.keys), std::begin(leaf.keys) + i);
    std::copy(std::begin(leaf.values) + i + 1, std::end(leaf.values), std::begin(leaf.values) + i);
    *std::rbegin(leaf.keys) = 0;
    *std::rbegin(leaf.values) = kNoPeer;
    const uint32_t before = (1u << i) - 1;
    leaf.links = (leaf.links & before) | (leaf.links >> 1 & ~before);
  });
}

}  // namespace turnpike::lookup

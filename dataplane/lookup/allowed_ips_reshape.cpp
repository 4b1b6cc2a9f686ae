// How subtrees take shape: from a list of entries, growing by one level, and shrinking.
#include <algorithm>
#include <span>

#include "dataplane/base/check.h"
#include "dataplane/base/prefetch.h"
#include "dataplane/lookup/allowed_ips_trie.h"

namespace turnpike::lookup {
namespace {

// A node with at most this many prefixes becomes a leaf again: half of what a leaf holds, so that a
// prefix that comes and goes does not reshape the table each time.
constexpr size_t kJoinEntries = 5;

// A node grows by one level when one in four of its slots leads to another node: such lanes save a step,
// and the leaves of the others are full enough to be halved. Or when what lies below its nodes, by an
// estimate of its prefixes, is so much that the new slots (8 bytes each, and leaves that are halved) do not
// matter beside it: so a crowded pool is reached in few steps although its surroundings are empty.
constexpr size_t kGrowShare = 4;
constexpr size_t kGrowWeight = 4;
constexpr size_t kPrefixesOfSlot = 4;
constexpr unsigned kWeightLevels = 2;

unsigned agreed_bits(const EntryList& list) noexcept {
  unsigned agreed = list.entries[0].length;
  for (const Entry& e : list) {
    const auto differs = static_cast<unsigned>(std::countl_zero(e.key ^ list.entries[0].key));
    agreed = std::min({agreed, differs, unsigned{e.length}});
  }
  return agreed;
}

// Owners alone, when all have one length that is near, and the array is not much larger than leaves.
bool fits_peers(const EntryList& list) noexcept {
  const unsigned length = list.entries[0].length;
  return length <= 6 && (length <= 4 || (size_t{1} << length) <= 6 * list.count) &&
         std::ranges::all_of(list, [&](const Entry& e) { return !e.link && e.length == length; });
}

}  // namespace

Ref Trie::build(const EntryList& list, unsigned depth) noexcept {
  if (list.count == 0) return 0;
  if (const Kind kind = leaf_kind(list); kind != Kind::None) return new_leaf(kind, list);
  const unsigned length = list.entries[0].length;
  if (fits_peers(list) && depth + length <= peers_end(depth)) {
    const Ref ref = new_peers(length);
    for (const Entry& e : list) peers(ref)[take(e.key, length)] = e.value;
    return ref;
  }
  const unsigned agreed = agreed_bits(list);
  if (agreed > 2 || depth + agreed + 1 > band_end(depth)) return build_skip(list, agreed, depth);
  Ref node = new_node(agreed + 1);
  for (const Entry& e : list) {
    node = edit_node(node, {.key = e.key, .length = e.length, .depth = depth},
                     {.what = e.link ? Target::What::Link : Target::What::Peer, .value = e.value});
  }
  return node;
}

Ref Trie::build_skip(const EntryList& list, unsigned agreed, unsigned depth) noexcept {
  Slot slot;
  EntryList longer;
  for (const Entry& e : list) {
    if (e.length > agreed) {
      longer.push({.key = rest(e.key, agreed),
                   .value = e.value,
                   .length = static_cast<uint8_t>(e.length - agreed),
                   .link = e.link});
    } else if (e.link) {
      slot.child = e.value;
    } else {
      slot.peer = e.value;
    }
  }
  if (longer.count > 0) slot.child = build(longer, depth + agreed);
  return new_skip(list.entries[0].key, agreed, slot, false);
}

Ref Trie::grow_if_worth(Ref node, unsigned depth) noexcept {
  const unsigned stride = stride_of(node);
  if (stride == kStrideMax || depth + stride >= band_end(depth)) return node;
  const Slot* all = slots(node);
  const size_t count = size_t{1} << stride;
  size_t nodes = 0;
  for (size_t i = 0; i < count; ++i) nodes += kind_of(all[i].child) == Kind::Node;
  if (nodes * kGrowShare >= count) return grow(node, depth);
  const size_t enough = kGrowWeight * count;
  size_t below = 0;
  for (size_t i = 0; i < count && below < enough; ++i) {
    const Kind kind = kind_of(all[i].child);
    if (kind == Kind::Node || kind == Kind::Skip) {
      below += weight(all[i].below(), kWeightLevels, enough - below);
    }
  }
  return below >= enough ? grow(node, depth) : node;
}

// About how many prefixes there are, from a look at `levels` of nodes; stops at `enough`.
size_t Trie::weight(Ref ref, unsigned levels, size_t enough) const noexcept {
  switch (kind_of(ref)) {
    case Kind::None:
      return 0;
    case Kind::Peers:
      return size_t{1} << stride_of(ref);
    case Kind::Skip:
      return skip(ref).crosses ? 1 : weight(skip(ref).slot.below(), levels, enough);
    case Kind::Node: {
      const size_t count = size_t{1} << stride_of(ref);
      if (levels == 0) return count * kPrefixesOfSlot;
      size_t sum = 0;
      for (size_t i = 0; i < count && sum < enough; ++i) {
        sum += weight(slots(ref)[i].below(), levels - 1, enough - sum);
      }
      return sum;
    }
    default:
      return kPrefixesOfSlot;
  }
}

Ref Trie::grow(Ref node, unsigned) noexcept {
  const unsigned stride = stride_of(node);
  const uint32_t count = 1u << stride;
  const Slot* old = slots(node);
  const Ref grown = new_node(stride + 1);
  Slot* all = slots(grown);
  // What ended at a slot now ends inside the node.
  if (const PeerIndex* old_shorts = shorts(node)) {
    PeerIndex* heap = own_shorts(grown);
    std::copy_n(old_shorts, count, heap);
    arena_.drop(arena_.attached(line_of(node)));
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (old[i].exact()) set_short(grown, count + i, old[i].peer);
  }
  constexpr uint32_t kAhead = 8;
  for (uint32_t i = 0; i < count; ++i) {
    if (i + kAhead < count) prefetch(arena_.at(line_of(old[i + kAhead].child)));
    PeerIndex exact[2] = {kNoPeer, kNoPeer};
    split_below(old[i].below(), &all[2 * i], exact);
    for (unsigned side = 0; side < 2; ++side) {
      if (exact[side] == kNoPeer) continue;
      all[2 * i + side].child |= kExactMark;
      all[2 * i + side].peer = exact[side];
    }
  }
  spread(grown, 1, 0, kNoPeer);
  drop(node);
  return grown;
}

// Divides a subtree by its first bit; prefixes of just that bit go to `exact`.
void Trie::split_below(Ref ref, Slot* sides, PeerIndex* exact) noexcept {
  switch (kind_of(ref)) {
    case Kind::None:
      return;
    case Kind::Node:
      if (stride_of(ref) == 1) {
        for (unsigned side = 0; side < 2; ++side) {
          const Slot& slot = slots(ref)[side];
          sides[side].child = slot.below();
          if (slot.exact()) exact[side] = slot.peer;
        }
      } else {
        for (unsigned side = 0; side < 2; ++side) {
          sides[side].child = half_of_node(ref, side, &exact[side]);
        }
        if (const Line line = arena_.attached(line_of(ref))) arena_.drop(line);
      }
      drop(ref);
      return;
    case Kind::Peers: {
      const unsigned stride = stride_of(ref);
      const size_t half = size_t{1} << stride >> 1;
      for (unsigned side = 0; side < 2; ++side) {
        const PeerIndex* from = peers(ref) + side * half;
        if (stride == 1) {
          exact[side] = *from;
        } else if (std::any_of(from, from + half, [](PeerIndex p) { return p != kNoPeer; })) {
          sides[side].child = new_peers(stride - 1);
          std::copy_n(from, half, peers(sides[side].child));
        }
      }
      drop(ref);
      return;
    }
    case Kind::Skip: {
      ref = own(ref);
      Skip& s = skip(ref);
      CHECK(!s.crosses);
      const auto side = static_cast<unsigned>(s.bits >> 63);
      if (s.length == 1) {
        sides[side].child = s.slot.child;
        exact[side] = s.slot.peer;
        drop(ref);
      } else {
        s.bits <<= 1;
        --s.length;
        sides[side].child = ref;
      }
      return;
    }
    default: {
      EntryList lists[2];
      for (const Entry& e : read_leaf(kind_of(ref), arena_.at(line_of(ref)))) {
        const auto side = static_cast<unsigned>(e.key >> 63);
        if (e.length > 1) {
          lists[side].push({.key = e.key << 1,
                            .value = e.value,
                            .length = static_cast<uint8_t>(e.length - 1),
                            .link = e.link});
        } else if (e.link) {
          sides[side].child = e.value;
        } else {
          exact[side] = e.value;
        }
      }
      drop(ref);
      for (unsigned side = 0; side < 2; ++side) {
        if (lists[side].count > 0)
          sides[side].child = new_leaf(leaf_kind(lists[side]), lists[side]);
      }
      return;
    }
  }
}

Ref Trie::half_of_node(Ref node, unsigned side, PeerIndex* exact) noexcept {
  const unsigned stride = stride_of(node);
  const uint32_t count = 1u << stride >> 1;
  const Slot* from = slots(node) + side * count;
  const Ref half = new_node(stride - 1);
  std::copy_n(from, count, slots(half));
  if (const PeerIndex* heap = shorts(node)) {
    *exact = heap[2 + side];
    for (unsigned length = 2; length < stride; ++length) {
      const uint32_t width = 1u << (length - 1);
      for (uint32_t i = 0; i < width; ++i) {
        const PeerIndex peer = heap[1u << length | side << (length - 1) | i];
        if (peer != kNoPeer) set_short(half, width | i, peer);
      }
    }
    spread(half, 1, 0, kNoPeer);
  }
  if (shorts(half) == nullptr &&
      std::all_of(from, from + count, [](const Slot& s) { return s.empty(); })) {
    drop(half);
    return 0;
  }
  return half;
}

// A node whose slots lead to owners alone becomes owners alone: when at least half of them do, and what the
// others have, if anything, is a leaf of prefixes of the same length.
Ref Trie::join_peers(Ref node, unsigned depth) noexcept {
  const unsigned stride = stride_of(node);
  const uint32_t count = 1u << stride;
  const Slot* all = slots(node);
  unsigned below = 0;
  for (uint32_t i = 0; i < count && below == 0; ++i) {
    if (kind_of(all[i].child) == Kind::Peers) below = stride_of(all[i].child);
  }
  if (below == 0 || shorts(node) != nullptr || stride + below > kStrideMax ||
      depth + stride + below > peers_end(depth)) {
    return node;
  }
  uint32_t joining = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (all[i].exact()) return node;
    const Ref child = all[i].child;
    if (kind_of(child) == Kind::Peers && stride_of(child) == below) {
      ++joining;
    } else if (is_leaf(child)) {
      for (const Entry& e : read_leaf(kind_of(child), arena_.at(line_of(child)))) {
        if (e.link || e.length != below) return node;
      }
    } else if (child != 0) {
      return node;
    }
  }
  if (joining * 2 < count) return node;
  const Ref joined = new_peers(stride + below);
  for (uint32_t i = 0; i < count; ++i) {
    const Ref child = all[i].child;
    PeerIndex* to = peers(joined) + (size_t{i} << below);
    if (child == 0) continue;
    if (is_leaf(child)) {
      for (const Entry& e : read_leaf(kind_of(child), arena_.at(line_of(child)))) {
        to[take(e.key, below)] = e.value;
      }
    } else {
      std::copy_n(peers(child), size_t{1} << below, to);
    }
    drop(child);
  }
  drop(node);
  return joined;
}

// A short skip before a node becomes a larger node in the place of both, a step less, when there is so much below
// that the new slots do not matter. A node that grows leaves such skips behind, as in a table that grew edit by edit.
Ref Trie::join_skip(Ref ref, unsigned depth) noexcept {
  const Skip& s = skip(ref);
  const Ref node = s.slot.below();
  if (s.crosses || kind_of(node) != Kind::Node) return ref;
  const unsigned below = stride_of(node);
  const unsigned stride = s.length + below;
  if (stride > kStrideMax || depth + stride > band_end(depth)) return ref;
  const size_t enough = kGrowWeight << stride;
  if (weight(node, kWeightLevels, enough) < enough) return ref;
  const auto bits = static_cast<uint32_t>(take(s.bits, s.length));
  const Ref joined = new_node(stride);
  std::copy_n(slots(node), size_t{1} << below, slots(joined) + (size_t{bits} << below));
  if (const PeerIndex* heap = shorts(node)) {
    for (unsigned length = 1; length < below; ++length) {
      for (uint32_t i = 0; i < 1u << length; ++i) {
        const PeerIndex peer = heap[1u << length | i];
        if (peer == kNoPeer) continue;
        set_short(joined, 1u << (s.length + length) | bits << length | i, peer);
      }
    }
    arena_.drop(arena_.attached(line_of(node)));
  }
  if (s.slot.peer != kNoPeer) {
    set_short(joined, 1u << s.length | bits, s.slot.peer);
    spread(joined, 1u << s.length | bits, s.length, kNoPeer);
  }
  drop(node);
  drop(ref);
  return joined;
}

Ref Trie::peers_to_node(Ref ref) noexcept {
  const unsigned stride = stride_of(ref);
  const Ref node = new_node(stride);
  for (size_t i = 0; i < size_t{1} << stride; ++i) {
    const PeerIndex peer = peers(ref)[i];
    if (peer != kNoPeer) slots(node)[i] = {.child = kExactMark, .peer = peer};
  }
  drop(ref);
  return node;
}

// After a removal. Stops looking as soon as there is too much left.
Ref Trie::shrink_node(Ref node, unsigned depth) noexcept {
  const unsigned stride = stride_of(node);
  const uint32_t count = 1u << stride;
  const Slot* all = slots(node);
  const PeerIndex* heap = shorts(node);
  const auto is_link = [this](Ref r) { return kind_of(r) == Kind::Skip && skip(r).crosses; };
  size_t entries = heap == nullptr ? 0 : heap[0];
  size_t filled = 0;
  bool deep = false;
  uint32_t last = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const Slot& slot = all[i];
    if (slot.empty()) continue;
    last = i;
    ++filled;
    entries += slot.exact();
    if (is_leaf(slot.child)) {
      entries += count_leaf(kind_of(slot.child), arena_.at(line_of(slot.child)));
    } else if (is_link(slot.child)) {
      ++entries;
    } else if (slot.below() != 0) {
      deep = true;
    }
    if (entries > kJoinEntries || (deep && (filled > 1 || heap != nullptr))) return node;
  }
  if (deep) {  // one way only: skip to it
    const Slot slot{.child = all[last].below(), .peer = all[last].peer};
    drop(node);
    return shrink_skip(new_skip(uint64_t{last} << (64 - stride), stride, slot, false));
  }
  EntryList list;
  for (unsigned length = 1; heap != nullptr && length < stride; ++length) {
    for (uint32_t i = 0; i < 1u << length; ++i) {
      const PeerIndex peer = heap[1u << length | i];
      if (peer == kNoPeer) continue;
      list.push({.key = uint64_t{i} << (64 - length),
                 .value = peer,
                 .length = static_cast<uint8_t>(length)});
    }
  }
  for (uint32_t i = 0; i < count; ++i) {
    const Slot& slot = all[i];
    const uint64_t key = uint64_t{i} << (64 - stride);
    const auto length = static_cast<uint8_t>(stride);
    if (slot.exact()) list.push({.key = key, .value = slot.peer, .length = length});
    if (is_leaf(slot.child)) {
      for (Entry e : read_leaf(kind_of(slot.child), arena_.at(line_of(slot.child)))) {
        e.key = key | e.key >> stride;
        e.length = static_cast<uint8_t>(e.length + stride);
        list.push(e);
      }
    } else if (slot.below() != 0) {
      list.push({.key = key, .value = slot.below(), .length = length, .link = true});
    }
  }
  if (list.count > 0 && leaf_kind(list) == Kind::None) return node;
  for (uint32_t i = 0; i < count; ++i) {
    if (is_leaf(all[i].child)) drop(all[i].child);
  }
  if (heap != nullptr) arena_.drop(arena_.attached(line_of(node)));
  drop(node);
  return build(list, depth);
}

// Stops looking as soon as there is too much left, which in most arrays is at once.
Ref Trie::shrink_peers(Ref ref, unsigned depth) noexcept {
  const unsigned stride = stride_of(ref);
  const std::span all(peers(ref), size_t{1} << stride);
  size_t left = 0;
  for (const PeerIndex peer : all) {
    left += peer != kNoPeer;
    if (left > kJoinEntries) return ref;
  }
  EntryList list;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] == kNoPeer) continue;
    list.push({.key = i << (64 - stride), .value = all[i], .length = static_cast<uint8_t>(stride)});
  }
  drop(ref);
  return build(list, depth);
}

Ref Trie::shrink_skip(Ref ref) noexcept {
  Skip& s = skip(ref);
  const Ref child = s.slot.child;
  if (child == 0 && s.slot.peer == kNoPeer) {
    drop(ref);
    return 0;
  }
  if (kind_of(child) == Kind::Skip && !skip(child).crosses && s.slot.peer == kNoPeer) {
    const Skip inner = skip(child);
    s.bits |= s.length == 64 ? 0 : inner.bits >> s.length;
    s.length += inner.length;
    s.slot = inner.slot;
    drop(child);
    return ref;
  }
  if (is_leaf(child) && count_leaf(kind_of(child), arena_.at(line_of(child))) > kJoinEntries) {
    return ref;
  }
  if (s.crosses) {
    if (!is_leaf(child) || s.slot.peer != kNoPeer) return ref;
    const EntryList list = read_leaf(kind_of(child), arena_.at(line_of(child)));
    if (list.count != 1) return ref;
    const Entry& e = list.entries[0];
    s.bits |= e.key >> s.length;
    s.length += e.length;
    s.slot = {.child = 0, .peer = e.value};
    drop(child);
    return ref;
  }
  const EntryList list = entries_behind(s, 0);
  if (list.count == 0) return ref;
  const Kind kind = leaf_kind(list);
  if (kind == Kind::None) return ref;
  if (is_leaf(child)) drop(child);
  drop(ref);
  return new_leaf(kind, list);
}

}  // namespace turnpike::lookup

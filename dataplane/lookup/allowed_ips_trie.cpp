// Edits: the way down, and what happens at its end.
#include "dataplane/lookup/allowed_ips_trie.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>

#include "dataplane/base/check.h"

namespace turnpike::lookup {
namespace {

using Bands = std::array<uint8_t, 128>;

constexpr Bands make_bands(std::initializer_list<unsigned> ends) {
  Bands bands{};
  unsigned depth = 0;
  for (const unsigned end : ends) {
    for (; depth < end; ++depth) bands[depth] = static_cast<uint8_t>(end);
  }
  return bands;
}
// The bytes of a full node for each band, 8 << bits: 2 + 8 + 2 + 0.5 KiB, and 14 KiB for IPv6, where the
// other 2 are for the lines of skips. The wide bands are where tables fan out.
constexpr Bands kBandsV4 = make_bands({8, 18, 26, 32});
constexpr Bands kBandsV6 =
    make_bands({8,  14, 20, 26, 32, 41, 48,  56,  64,  67,  70,  73,  76,  79,
                82, 85, 88, 91, 94, 97, 100, 103, 106, 109, 112, 117, 123, 128});

// Of a prefix shorter than the node's stride.
uint32_t heap_index_of(uint64_t key, unsigned length) noexcept {
  return 1u << length | static_cast<uint32_t>(take(key, length));
}

}  // namespace

Trie::Trie(NodeArena& arena, Family family) noexcept
    : arena_(arena),
      band_end_(family == Family::V4 ? kBandsV4.data() : kBandsV6.data()),
      family_(family) {}

int Trie::edit(Slot& top, const Prefix& prefix, PeerIndex peer) noexcept {
  grown_ = 0;
  reshaped_ = false;
  Target target{.value = peer, .counted = true};
  Way way{.key = 0, .length = prefix.length, .depth = 0};
  if (family_ == Family::V4) {
    way.key = uint64_t{prefix.address.v4_host_order()} << 32;
  } else {
    way.key = load_be64(prefix.address.bytes.data());
    if (prefix.length > 64) {
      target.what = Target::What::LowHalf;
      target.low_key = load_be64(prefix.address.bytes.data() + 8);
      target.low_length = prefix.length - 64u;
      way.length = 64;
    }
  }
  edit_slot(top, way, target);
  return grown_;
}

PeerIndex Trie::change(PeerIndex from, const Target& target) noexcept {
  if (target.counted) grown_ += (target.value != kNoPeer) - (from != kNoPeer);
  return target.value;
}

void Trie::edit_slot(Slot& slot, Way way, const Target& target) noexcept {
  if (way.length > 0) {
    slot.set_below(edit_below(slot.below(), way, target));
  } else if (target.is_link()) {
    slot.set_below(edit_link(slot.below(), target));
  } else {
    slot.peer = change(slot.peer, target);
  }
}

Ref Trie::edit_below(Ref ref, Way way, const Target& target) noexcept {
  switch (kind_of(ref)) {
    case Kind::None: {
      if (target.removes()) return 0;
      note_reshape();
      EntryList one;
      one.push({.key = way.key,
                .value = target.is_link() ? edit_link(0, target) : change(kNoPeer, target),
                .length = static_cast<uint8_t>(way.length),
                .link = target.is_link()});
      return build(one, way.depth);
    }
    case Kind::Node:
      return edit_node(ref, way, target);
    case Kind::Peers:
      return edit_peers(ref, way, target);
    case Kind::Skip:
      return edit_skip(ref, way, target);
    default:
      return edit_leaf(ref, way, target);
  }
}

Ref Trie::edit_leaf(Ref ref, Way way, const Target& target) noexcept {
  Entry entry{.key = way.key,
              .value = target.is_link() ? 0 : kNoPeer,
              .length = static_cast<uint8_t>(way.length),
              .link = target.is_link()};
  const size_t i = find_in_leaf(kind_of(ref), arena_.at(line_of(ref)), entry);
  const bool found = i < kLeafEntries;
  if (!found && target.removes()) return ref;
  const uint32_t old = entry.value;
  const uint32_t value = target.is_link() ? edit_link(old, target) : change(old, target);
  if (value == old) return ref;
  const bool removed = value == (target.is_link() ? 0 : kNoPeer);
  if (found && !removed) {
    ref = own(ref);
    set_leaf_value(kind_of(ref), arena_.at(line_of(ref)), i, value);
    return ref;
  }
  if (removed && i > 0) {  // the longest one stays, and with it the kind of leaf
    ref = own(ref);
    erase_from_leaf(kind_of(ref), arena_.at(line_of(ref)), i);
    return ref;
  }
  EntryList list = read_leaf(kind_of(ref), arena_.at(line_of(ref)));
  if (removed) {
    list.erase(i);
  } else {
    entry.value = value;
    list.push(entry);
  }
  const Kind kind = leaf_kind(list);
  if (kind != Kind::None && list.count > 0 && arena_.is_fresh(line_of(ref))) {
    write_leaf(kind, list, arena_.at(line_of(ref)));
    return make_ref(kind, 0, line_of(ref));
  }
  drop(ref);
  return build(list, way.depth);
}

Ref Trie::edit_link(Ref ref, const Target& target) noexcept {
  if (target.what == Target::What::Link) return target.value;
  const Target low{.value = target.value, .counted = target.counted};
  if (ref == 0) {
    if (target.removes()) return 0;
    return new_skip(target.low_key, target.low_length, Slot{0, change(kNoPeer, low)}, true);
  }
  return edit_skip(ref, {.key = target.low_key, .length = target.low_length, .depth = 64}, low);
}

Ref Trie::edit_node(Ref ref, Way way, const Target& target) noexcept {
  const unsigned stride = stride_of(ref);
  if (way.length < stride) {
    if (target.removes() && short_at(ref, way) == kNoPeer) return ref;
    ref = own(ref);
    edit_short(ref, way, target);
  } else {
    const auto i = static_cast<uint32_t>(take(way.key, stride));
    const Slot old = slots(ref)[i];
    if (way.length > stride || target.is_link()) {
      // What is below first: a removal may find that there is nothing to do.
      const Ref before = old.below();
      const Ref after = way.length > stride ? edit_below(before, way.down(stride), target)
                                            : edit_link(before, target);
      if (after != before) {
        ref = own(ref);
        slots(ref)[i].set_below(after);
      }
      const bool reshaped =
          way.length > stride && shape_of(before) != shape_of(after) && !is_leaf(after);
      if (!target.removes() && (reshaped || often_enough())) {
        return kind_of(after) == Kind::Peers ? join_peers(ref, way.depth)
                                             : grow_if_worth(ref, way.depth);
      }
      if (after == before) return ref;
    } else {
      if (target.removes() && !old.exact()) return ref;
      ref = own(ref);
      Slot& slot = slots(ref)[i];
      const PeerIndex peer = change(old.exact() ? old.peer : kNoPeer, target);
      slot.child = peer != kNoPeer ? slot.child | kExactMark : slot.below();
      slot.peer = peer != kNoPeer ? peer : cover_of(ref, (1u << stride | i) >> 1);
    }
  }
  if (!target.removes()) return ref;
  // A large node is looked at only when a slot of it fell empty: the look costs cold lines.
  const bool worth =
      stride <= 3 || way.length < stride || slots(ref)[take(way.key, stride)].empty();
  return worth ? shrink_node(ref, way.depth) : ref;
}

PeerIndex Trie::short_at(Ref node, Way way) const noexcept {
  const PeerIndex* all = shorts(node);
  return all == nullptr ? kNoPeer : all[heap_index_of(way.key, way.length)];
}

void Trie::edit_short(Ref node, Way way, const Target& target) noexcept {
  const uint32_t heap_index = heap_index_of(way.key, way.length);
  const PeerIndex peer = change(short_at(node, way), target);
  set_short(node, heap_index, peer);
  spread(node, heap_index, way.length, cover_of(node, heap_index >> 1));
}

Ref Trie::edit_peers(Ref ref, Way way, const Target& target) noexcept {
  const unsigned stride = stride_of(ref);
  const auto i = take(way.key, stride);
  const bool is_here = way.length == stride && !target.is_link();
  if (target.removes() && (!is_here || peers(ref)[i] == kNoPeer)) return ref;
  if (!is_here) return edit_node(peers_to_node(ref), way, target);
  ref = own(ref);
  PeerIndex& peer = peers(ref)[i];
  peer = change(peer, target);
  return target.removes() ? shrink_peers(ref, way.depth) : ref;
}

Ref Trie::edit_skip(Ref ref, Way way, const Target& target) noexcept {
  const Skip& s = skip(ref);
  const auto differs = static_cast<unsigned>(std::countl_zero(way.key ^ s.bits));
  const unsigned agreed = std::min({differs, s.length, way.length});
  if (agreed < s.length) {
    return target.removes() ? ref : branch_off(own(ref), way, agreed, target);
  }
  Slot slot = s.slot;
  edit_slot(slot, way.down(agreed), target);
  const bool reshaped = shape_of(slot.child) != shape_of(s.slot.child);
  if (slot.child != s.slot.child || slot.peer != s.slot.peer) {
    ref = own(ref);
    skip(ref).slot = slot;
    if (target.removes()) return shrink_skip(ref);
  }
  return !target.removes() && (reshaped || often_enough()) ? join_skip(ref, way.depth) : ref;
}

// What a skip leads to, as entries behind its first `kept` bits: when that is a leaf, a link or one prefix.
EntryList Trie::entries_behind(const Skip& s, unsigned kept) const noexcept {
  const Ref child = s.slot.child;
  const auto length = static_cast<uint8_t>(s.length - kept);
  const bool is_link = kind_of(child) == Kind::Skip && skip(child).crosses;
  EntryList list;
  if (length == 64 || (child != 0 && !is_leaf(child) && !is_link)) return list;
  const uint64_t bits = rest(s.bits, kept);
  if (is_leaf(child)) list = read_leaf(kind_of(child), arena_.at(line_of(child)));
  for (Entry& e : list) {
    e.key = bits | e.key >> length;
    e.length = static_cast<uint8_t>(e.length + length);
  }
  if (is_link) list.push({.key = bits, .value = child, .length = length, .link = true});
  if (s.slot.peer != kNoPeer) list.push({.key = bits, .value = s.slot.peer, .length = length});
  return list;
}

// The way agrees with `agreed` bits of the skip only.
Ref Trie::branch_off(Ref ref, Way way, unsigned agreed, const Target& target) noexcept {
  Skip& s = skip(ref);
  // What leads to few prefixes becomes one leaf, with room for others beside them; where it crosses, behind the
  // bits that all agree on.
  const unsigned kept = s.crosses ? agreed : 0;
  const EntryList few = entries_behind(s, kept);
  if (const Kind kind = leaf_kind(few); few.count > 0 && kind != Kind::None) {
    if (is_leaf(s.slot.child)) drop(s.slot.child);
    const Ref leaf = new_leaf(kind, few);
    if (!s.crosses) {
      drop(ref);
      return edit_leaf(leaf, way, target);
    }
    s.bits = high_bits(s.bits, kept);
    s.length = kept;
    s.slot = Slot{.child = leaf};
    edit_slot(s.slot, way.down(kept), target);
    return ref;
  }
  // A few bits are cheaper as a larger node of the same one line than as a skip before it.
  const unsigned stride = agreed + 1;
  if (!s.crosses && stride <= 3 && way.length > agreed &&
      way.depth + stride <= band_end(way.depth)) {
    const Ref node = new_node(stride);
    Slot& slot = slots(node)[take(s.bits, stride)];
    if (s.length == stride) {
      slot.child = s.slot.child | (s.slot.peer != kNoPeer ? kExactMark : 0);
      slot.peer = s.slot.peer;
      drop(ref);
    } else {
      s.bits = rest(s.bits, stride);
      s.length -= stride;
      slot.child = ref;
    }
    return edit_node(node, way, target);
  }
  const Ref inner = new_skip(rest(s.bits, agreed), s.length - agreed, s.slot, false);
  s.bits = high_bits(s.bits, agreed);
  s.length = agreed;
  s.slot = Slot{.child = inner};
  edit_slot(s.slot, way.down(agreed), target);
  return ref;
}

Ref Trie::own(Ref ref) noexcept { return arena_.is_fresh(line_of(ref)) ? ref : copy(ref); }

Ref Trie::copy(Ref ref) noexcept {
  const Line line = line_of(ref);
  const unsigned order = arena_.order_of(line);
  const Line copy = arena_.allocate(order);
  std::memcpy(arena_.at(copy), arena_.at(line), kLineBytes << order);
  arena_.attach(copy, arena_.attached(line));
  arena_.drop(line);
  return (ref & ((1u << kLineShift) - 1)) | copy << kLineShift;
}

void Trie::drop(Ref ref) noexcept { arena_.drop(line_of(ref)); }

Ref Trie::new_node(unsigned stride) noexcept {
  note_reshape();
  const Ref node = make_ref(Kind::Node, stride, arena_.allocate(stride > 3 ? stride - 3 : 0));
  std::fill_n(slots(node), size_t{1} << stride, Slot{});
  return node;
}

Ref Trie::new_peers(unsigned stride) noexcept {
  note_reshape();
  const Ref ref = make_ref(Kind::Peers, stride, arena_.allocate(stride > 4 ? stride - 4 : 0));
  std::fill_n(peers(ref), size_t{1} << stride, kNoPeer);
  return ref;
}

Ref Trie::new_skip(uint64_t bits, unsigned length, Slot slot, bool crosses) noexcept {
  const Ref ref = make_ref(Kind::Skip, 0, arena_.allocate(0));
  skip(ref) =
      Skip{.bits = high_bits(bits, length), .length = length, .crosses = crosses, .slot = slot};
  return ref;
}

Ref Trie::new_leaf(Kind kind, const EntryList& list) noexcept {
  const Line line = arena_.allocate(0);
  write_leaf(kind, list, arena_.at(line));
  return make_ref(kind, 0, line);
}

PeerIndex* Trie::own_shorts(Ref node) noexcept {
  const Line old = arena_.attached(line_of(node));
  if (old != 0 && arena_.is_fresh(old)) return arena_.as<PeerIndex>(old);
  const unsigned stride = stride_of(node);
  const Line line = arena_.allocate(stride > 4 ? stride - 4 : 0);
  auto* all = arena_.as<PeerIndex>(line);
  if (old != 0) {
    std::memcpy(all, arena_.at(old), sizeof(PeerIndex) << stride);
    arena_.drop(old);
  } else {
    std::fill_n(all, size_t{1} << stride, kNoPeer);
    all[0] = 0;
  }
  arena_.attach(line_of(node), line);
  return all;
}

void Trie::set_short(Ref node, uint32_t heap_index, PeerIndex peer) noexcept {
  PeerIndex* all = own_shorts(node);
  all[0] += (peer != kNoPeer) - (all[heap_index] != kNoPeer);
  all[heap_index] = peer;
  if (all[0] == 0) {
    arena_.drop(arena_.attached(line_of(node)));
    arena_.attach(line_of(node), 0);
  }
}

PeerIndex Trie::cover_of(Ref node, uint32_t heap_index) const noexcept {
  const PeerIndex* all = shorts(node);
  if (all == nullptr) return kNoPeer;
  while (heap_index > 1 && all[heap_index] == kNoPeer) heap_index >>= 1;
  return heap_index > 1 ? all[heap_index] : kNoPeer;
}

void Trie::spread(Ref node, uint32_t heap_index, unsigned length, PeerIndex cover) noexcept {
  const unsigned stride = stride_of(node);
  if (length == stride) {
    Slot& slot = slots(node)[heap_index - (1u << stride)];
    if (!slot.exact()) slot.peer = cover;
    return;
  }
  const PeerIndex* all = shorts(node);
  if (all != nullptr && heap_index > 1 && all[heap_index] != kNoPeer) cover = all[heap_index];
  spread(node, heap_index * 2, length + 1, cover);
  spread(node, heap_index * 2 + 1, length + 1, cover);
}

}  // namespace turnpike::lookup

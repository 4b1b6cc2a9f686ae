// Exact finds and walks in order, on any version.
#include "dataplane/lookup/allowed_ips_trie.h"

#include <algorithm>

namespace turnpike::lookup {

PeerIndex Trie::find(const RootLine& root, const Prefix& prefix) const noexcept {
  const bool v4 = family_ == Family::V4;
  uint64_t key =
      v4 ? uint64_t{prefix.address.v4_host_order()} << 32 : load_be64(prefix.address.bytes.data());
  unsigned length = prefix.length;
  bool to_low = !v4 && length > 64;
  if (to_low) length = 64;
  Slot slot = root.top;
  // The subtree in `slot` starts `length` bits before the prefix's end in this half.
  for (;;) {
    if (length == 0) {
      if (!to_low) return slot.peer;
      if (slot.below() == 0) return kNoPeer;
      const Skip& s = skip(slot.below());
      to_low = false;
      key = load_be64(prefix.address.bytes.data() + 8);
      length = prefix.length - 64u;
      if (length < s.length || high_bits(key ^ s.bits, s.length) != 0) return kNoPeer;
      key = rest(key, s.length);
      length -= s.length;
      slot = s.slot;
      continue;
    }
    const Ref ref = slot.below();
    switch (kind_of(ref)) {
      case Kind::None:
        return kNoPeer;
      case Kind::Node: {
        const unsigned stride = stride_of(ref);
        if (length < stride) {
          const PeerIndex* heap = shorts(ref);
          return heap == nullptr ? kNoPeer : heap[1u << length | take(key, length)];
        }
        slot = slots(ref)[take(key, stride)];
        if (!slot.exact()) slot.peer = kNoPeer;
        key = rest(key, stride);
        length -= stride;
        break;
      }
      case Kind::Peers:
        return length == stride_of(ref) && !to_low ? peers(ref)[take(key, length)] : kNoPeer;
      case Kind::Skip: {
        const Skip& s = skip(ref);
        if (length < s.length || high_bits(key ^ s.bits, s.length) != 0) return kNoPeer;
        key = rest(key, s.length);
        length -= s.length;
        slot = s.slot;
        break;
      }
      default: {
        slot = {};
        for (const Entry& e : read_leaf(kind_of(ref), arena_.at(line_of(ref)))) {
          if (e.key != key || e.length != length) continue;
          (e.link ? slot.child : slot.peer) = e.value;
        }
        length = 0;
        break;
      }
    }
  }
}

// The address that the walk stands at, as two halves of which IPv4 uses the upper 32 bits.
struct Trie::Cursor {
  const Visit& visit;
  Family family;
  uint64_t upper = 0;
  bool low = false;

  [[nodiscard]] bool show(uint64_t key, unsigned length, PeerIndex peer) const {
    Prefix p;
    if (family == Family::V4) {
      p.address = IpAddress::v4(static_cast<uint32_t>(key >> 32));
    } else {
      p.address.family = Family::V6;
      store_be64(p.address.bytes.data(), low ? upper : key);
      if (low) store_be64(p.address.bytes.data() + 8, key);
    }
    p.length = static_cast<uint8_t>(length);
    return visit(p, peer);
  }
};

void Trie::walk(const RootLine& root, const Visit& visit) const {
  Cursor cursor{.visit = visit, .family = family_};
  if (root.top.peer != kNoPeer && !cursor.show(0, 0, root.top.peer)) return;
  walk_below(root.top.below(), cursor, 0, 0);
}

// `key` holds the bits before `depth` of the half that the cursor is in.
bool Trie::walk_below(Ref ref, Cursor& cursor, uint64_t key, unsigned depth) const {
  const unsigned in_half = depth - (cursor.low ? 64 : 0);
  const auto down = [&](uint64_t bits) { return key | (in_half == 64 ? 0 : bits >> in_half); };
  const auto show_slot = [&](const Slot& slot, bool owned, uint64_t bits, unsigned length) {
    const uint64_t here = down(bits);
    if (owned && !cursor.show(here, depth + length, slot.peer)) return false;
    return slot.below() == 0 || walk_below(slot.below(), cursor, here, depth + length);
  };
  switch (kind_of(ref)) {
    case Kind::None:
      return true;
    case Kind::Node: {
      const unsigned stride = stride_of(ref);
      const PeerIndex* heap = shorts(ref);
      for (uint64_t i = 0; i < uint64_t{1} << stride; ++i) {
        const uint64_t bits = i << (64 - stride);
        for (unsigned length = 1; heap != nullptr && length < stride; ++length) {
          const PeerIndex peer = heap[uint64_t{1} << length | i >> (stride - length)];
          const bool starts_here = (i & ((uint64_t{1} << (stride - length)) - 1)) == 0;
          if (starts_here && peer != kNoPeer && !cursor.show(down(bits), depth + length, peer)) {
            return false;
          }
        }
        const Slot& slot = slots(ref)[i];
        if (!show_slot(slot, slot.exact(), bits, stride)) return false;
      }
      return true;
    }
    case Kind::Peers: {
      const unsigned stride = stride_of(ref);
      for (uint64_t i = 0; i < uint64_t{1} << stride; ++i) {
        const PeerIndex peer = peers(ref)[i];
        if (peer != kNoPeer && !cursor.show(down(i << (64 - stride)), depth + stride, peer)) {
          return false;
        }
      }
      return true;
    }
    case Kind::Skip: {
      const Skip& s = skip(ref);
      if (!s.crosses) return show_slot(s.slot, s.slot.peer != kNoPeer, s.bits, s.length);
      Cursor low = cursor;
      low.upper = key;
      low.low = true;
      if (s.slot.peer != kNoPeer && !low.show(s.bits, depth + s.length, s.slot.peer)) return false;
      return s.slot.child == 0 || walk_below(s.slot.child, low, s.bits, depth + s.length);
    }
    default: {
      EntryList list = read_leaf(kind_of(ref), arena_.at(line_of(ref)));
      std::sort(list.begin(), list.end(), [](const Entry& a, const Entry& b) {
        if (a.key != b.key) return a.key < b.key;
        return a.length != b.length ? a.length < b.length : a.link < b.link;
      });
      for (const Entry& e : list) {
        const bool more = e.link ? walk_below(e.value, cursor, down(e.key), depth + e.length)
                                 : cursor.show(down(e.key), depth + e.length, e.value);
        if (!more) return false;
      }
      return true;
    }
  }
}

}  // namespace turnpike::lookup

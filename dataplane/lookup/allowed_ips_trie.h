// The trie of one address family as the writer sees it: edits on the version that is being made, exact
// finds and walks on any. See allowed_ips_node.h for the layout.
//   Threads: the writer's.
//   Bounds:  one edit() stays within NodeArena::kEditLines; the caller has asked ensure() before it.
//   The nodes on one path lie in bands of depth (below) and no node crosses the end of its band: what one
//   edit copies is at most one full node of each band, below 16 KiB, whatever the history of the table.
#pragma once

#include <cstdint>
#include <functional>

#include "dataplane/base/address.h"
#include "dataplane/lookup/allowed_ips_arena.h"
#include "dataplane/lookup/allowed_ips_leaf.h"

namespace turnpike::lookup {

class Trie {
 public:
  Trie(NodeArena& arena, Family family) noexcept;

  // Changes the version below `top`: what is fresh in place, what is not as a copy, and `top` itself where it
  // then leads to another line. Returns by how much the number of prefixes grew: -1, 0 or 1. A removal of
  // what is not there copies nothing.
  int edit(Slot& top, const Prefix& prefix, PeerIndex peer) noexcept;

  // Copies all of it to where the arena gives memory now.
  void compact(Slot& top) noexcept;

  [[nodiscard]] PeerIndex find(const RootLine& root, const Prefix& prefix) const noexcept;
  using Visit = std::function<bool(const Prefix&, PeerIndex)>;
  void walk(const RootLine& root, const Visit& visit) const;

 private:
  // What an edit does at the end of its way.
  struct Target {
    enum class What { Peer, Link, LowHalf };
    What what = What::Peer;
    uint32_t value =
        kNoPeer;  // Peer: the owner, kNoPeer removes. Link: the reference to hang in. LowHalf: the owner
    uint64_t low_key = 0;  // LowHalf: the prefix's bits below /64
    unsigned low_length = 0;
    bool counted = false;  // false where entries only move to another place
    [[nodiscard]] bool is_link() const noexcept { return what != What::Peer; }
    [[nodiscard]] bool removes() const noexcept { return what != What::Link && value == kNoPeer; }
  };
  // The rest of the way: bits left-aligned, their number, and the depth where they start.
  struct Way {
    uint64_t key;
    unsigned length;
    unsigned depth;
    [[nodiscard]] Way down(unsigned bits) const noexcept {
      return {rest(key, bits), length - bits, depth + bits};
    }
  };
  struct Cursor;  // of a walk

  [[nodiscard]] unsigned band_end(unsigned depth) const noexcept { return band_end_[depth]; }
  // Owners alone are half as large as slots and the last of their path: those of IPv4 may cross bands.
  [[nodiscard]] unsigned peers_end(unsigned depth) const noexcept {
    return family_ == Family::V4 ? 32 : band_end_[depth];
  }

  // Each gives the reference that takes the place of the given one, 0 when nothing is left.
  Ref edit_below(Ref ref, Way way, const Target& target) noexcept;
  Ref edit_leaf(Ref ref, Way way, const Target& target) noexcept;
  Ref edit_node(Ref ref, Way way, const Target& target) noexcept;
  Ref edit_peers(Ref ref, Way way, const Target& target) noexcept;
  Ref edit_skip(Ref ref, Way way, const Target& target) noexcept;
  Ref edit_link(Ref ref, const Target& target) noexcept;
  void edit_slot(Slot& slot, Way way, const Target& target) noexcept;
  [[nodiscard]] PeerIndex short_at(Ref node, Way way) const noexcept;
  void edit_short(Ref node, Way way, const Target& target) noexcept;
  [[nodiscard]] EntryList entries_behind(const Skip& skip, unsigned kept) const noexcept;
  Ref branch_off(Ref skip, Way way, unsigned agreed, const Target& target) noexcept;
  PeerIndex change(PeerIndex from, const Target& target) noexcept;

  // Reshaping (allowed_ips_reshape.cpp).
  Ref build(const EntryList& list, unsigned depth) noexcept;
  Ref build_skip(const EntryList& list, unsigned agreed, unsigned depth) noexcept;
  Ref grow(Ref node, unsigned depth) noexcept;
  Ref grow_if_worth(Ref node, unsigned depth) noexcept;
  [[nodiscard]] size_t weight(Ref ref, unsigned levels, size_t enough) const noexcept;
  // A reshaping far below is looked at now and then only: what it changes here is little each time.
  [[nodiscard]] bool often_enough() const noexcept { return reshaped_ && (reshapes_ & 7) == 0; }
  void note_reshape() noexcept {
    reshapes_ += !reshaped_;
    reshaped_ = true;
  }
  Ref join_peers(Ref node, unsigned depth) noexcept;
  Ref join_skip(Ref skip, unsigned depth) noexcept;
  Ref shrink_node(Ref node, unsigned depth) noexcept;
  Ref shrink_peers(Ref peers, unsigned depth) noexcept;
  Ref shrink_skip(Ref skip) noexcept;
  Ref peers_to_node(Ref peers) noexcept;
  void split_below(Ref ref, Slot* sides, PeerIndex* exact) noexcept;
  Ref half_of_node(Ref node, unsigned side, PeerIndex* exact) noexcept;

  // Blocks.
  Ref own(Ref ref) noexcept;
  Ref copy(Ref ref) noexcept;
  Ref moved(Ref ref) noexcept;
  void drop(Ref ref) noexcept;
  Ref new_node(unsigned stride) noexcept;
  Ref new_peers(unsigned stride) noexcept;
  Ref new_skip(uint64_t bits, unsigned length, Slot slot, bool crosses) noexcept;
  Ref new_leaf(Kind kind, const EntryList& list) noexcept;
  [[nodiscard]] Slot* slots(Ref node) const noexcept { return arena_.as<Slot>(line_of(node)); }
  [[nodiscard]] PeerIndex* peers(Ref peers) const noexcept {
    return arena_.as<PeerIndex>(line_of(peers));
  }
  [[nodiscard]] Skip& skip(Ref ref) const noexcept { return *arena_.as<Skip>(line_of(ref)); }

  // The prefixes that end inside a node, shorter than its stride: owners in heap order, [1 << length |
  // bits], length from 1; [0] counts them. Readers see them spread over the slots only. nullptr: none.
  [[nodiscard]] const PeerIndex* shorts(Ref node) const noexcept {
    const Line line = arena_.attached(line_of(node));
    return line == 0 ? nullptr : arena_.as<PeerIndex>(line);
  }
  PeerIndex* own_shorts(Ref node) noexcept;
  void set_short(Ref node, uint32_t heap_index, PeerIndex peer) noexcept;
  // Gives the slots below `heap_index` (of `length` bits) that are not exact the owner that covers them.
  void spread(Ref node, uint32_t heap_index, unsigned length, PeerIndex cover) noexcept;
  [[nodiscard]] PeerIndex cover_of(Ref node, uint32_t heap_index) const noexcept;

  bool walk_below(Ref ref, Cursor& cursor, uint64_t key, unsigned depth) const;

  NodeArena& arena_;
  const uint8_t* band_end_;  // of each depth
  const Family family_;
  int grown_ = 0;
  bool reshaped_ = false;  // in the present edit
  uint32_t reshapes_ = 0;  // edits that reshaped
};

}  // namespace turnpike::lookup

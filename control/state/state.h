// All that is committed: tunnels, peers, and the exact owner of every prefix. Plain data without clock,
// file or thread; only apply() changes it, by a Change that plan() has judged.
//   Threads: one (the control thread).
//   Cost:    find, owner and each item of a change take constant time, whatever the size; see hash_index.h
//            and slots.h for why nothing ever pauses to grow.
//   Bounds:  kMaxTunnels, kMaxPeers, kMaxPrefixes; plan() refuses what would pass them.
//
// A disabled peer holds no claim. Its prefixes are remembered as dormant claims: they are in no look-up,
// nobody is refused because of them, and enabling the peer claims them again.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "control/state/change.h"
#include "control/state/hash_index.h"
#include "control/state/peer.h"
#include "control/state/slots.h"

namespace turnpike::state {

class State {
 public:
  State() : State(0, PeerId{1}) {}
  // Where a stored state goes on.
  State(Generation generation, PeerId next_peer_id);

  [[nodiscard]] Generation generation() const noexcept { return generation_; }
  [[nodiscard]] PeerId next_peer_id() const noexcept { return next_peer_id_; }
  [[nodiscard]] uint32_t peer_count() const noexcept { return peers_.size(); }
  [[nodiscard]] uint32_t prefix_count() const noexcept {  // that have an owner
    return static_cast<uint32_t>(owners_.size());
  }
  [[nodiscard]] uint32_t claim_count() const noexcept {
    return claims_.size();
  }  // dormant ones too
  [[nodiscard]] uint64_t memory_bytes() const noexcept;  // without names and descriptions

  // Indexed by TunnelIndex; an entry whose index is kNoTunnel is free.
  [[nodiscard]] const std::vector<Tunnel>& tunnels() const noexcept { return tunnels_; }
  [[nodiscard]] const Tunnel* find_tunnel(std::string_view name) const;
  [[nodiscard]] const Tunnel& tunnel(TunnelIndex index) const { return tunnels_[index]; }

  // Peers by slot. kNoSlot: there is none. A slot stays a peer's until it is removed.
  [[nodiscard]] uint32_t find_peer(TunnelIndex tunnel, const PublicKey& key) const;
  [[nodiscard]] uint32_t find_peer(TunnelIndex tunnel, std::string_view name) const;
  [[nodiscard]] uint32_t find_peer(PeerId id) const;
  // Of this tunnel only, also when the selector is an id.
  [[nodiscard]] uint32_t select_peer(TunnelIndex tunnel, const PeerSelector& selector) const;
  [[nodiscard]] const Peer& peer(uint32_t slot) const { return peers_[slot]; }
  // The first peer at `slot` or after it; kNoSlot at the end. A walk over a state that changes between
  // two steps sees every peer that is there all the time exactly once.
  [[nodiscard]] uint32_t next_peer(uint32_t slot) const;
  [[nodiscard]] uint32_t peer_slots_end() const noexcept { return peers_.end(); }

  // The claim of exactly this prefix (an owner's), or nothing.
  [[nodiscard]] const Claim* owner(TunnelIndex tunnel, const Prefix& prefix) const;
  // The claim of the longest prefix that contains `address` and is not longer than `longest`.
  [[nodiscard]] const Claim* longest_match(TunnelIndex tunnel, const IpAddress& address,
                                           unsigned longest = 128) const;
  // Whether any owned prefix of this family and length is in the tunnel.
  [[nodiscard]] bool has_length(TunnelIndex tunnel, Family family, unsigned length) const {
    if (tunnel >= lengths_.size()) return false;
    return (family == Family::V4 ? lengths_[tunnel].v4[length] : lengths_[tunnel].v6[length]) != 0;
  }
  [[nodiscard]] const Claim* dormant(uint32_t peer_slot, const Prefix& prefix) const;
  // visit(const Claim&) for each claim of a peer, dormant ones if it is disabled, the newest first.
  template <typename Visit>
  void for_each_claim(uint32_t peer_slot, Visit&& visit) const {
    for (uint32_t c = peers_[peer_slot].first_claim; c != kNoSlot; c = claims_[c].next) {
      visit(claims_[c]);
    }
  }
  // Every claim with an owner, by slot as with next_peer().
  [[nodiscard]] uint32_t claim_slots_end() const noexcept { return claims_.end(); }
  [[nodiscard]] const Claim* claim_at(uint32_t slot) const;  // nullptr: free or dormant

  // A change that was planned on this very state (a CHECK). Gives the new generation; the same one if the
  // change is empty.
  Generation apply(const Change& change);
  // For a state that is again, by its content, the one that had this number: what came in between was seen by nobody.
  void renumber(Generation generation) noexcept { generation_ = generation; }

 private:
  void add_peer(const PeerAdded& added);
  void remove_peer(const PeerRemoved& removed);
  void change_peer(const PeerChanged& changed);
  void change_owner(const PrefixChange& change);
  void change_dormant(const DormantChange& change);
  void change_tunnel(const TunnelChange& change);
  void set_attributes(Peer& peer, const PeerAttributes& attributes);
  uint32_t link_claim(uint32_t peer_slot, const Prefix& prefix, Origin origin);
  void unlink_claim(uint32_t claim_slot);
  [[nodiscard]] uint32_t find_owner_claim(TunnelIndex tunnel, const Prefix& prefix) const;
  [[nodiscard]] uint32_t find_dormant_claim(uint32_t peer_slot, const Prefix& prefix) const;

  Generation generation_;
  PeerId next_peer_id_;
  std::vector<Tunnel> tunnels_;
  Slots<Peer> peers_;
  Slots<Claim> claims_;
  HashIndex ids_;
  HashIndex keys_;  // (tunnel, public key) -> peer
  HashIndex names_;  // (tunnel, name) -> peer
  HashIndex owners_;  // (tunnel, prefix) -> claim
  HashIndex dormant_;  // (peer slot, prefix) -> claim
  // How many owned prefixes of each length a tunnel has: a longest match tries only what exists.
  struct Lengths {
    std::array<uint32_t, 33> v4{};
    std::array<uint32_t, 129> v6{};
  };
  std::vector<Lengths> lengths_;  // by TunnelIndex
};

// Hashes of the keys above, for whoever keeps an index beside a state.
[[nodiscard]] uint64_t hash_of(TunnelIndex tunnel, const PublicKey& key);
[[nodiscard]] uint64_t hash_of(TunnelIndex tunnel, std::string_view name);
[[nodiscard]] uint64_t hash_of(uint32_t number,
                               const Prefix& prefix);  // a tunnel's or a slot's number

}  // namespace turnpike::state

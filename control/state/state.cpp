#include "control/state/state.h"

#include <algorithm>
#include <functional>

#include "dataplane/base/check.h"

namespace turnpike::state {
namespace {

constexpr unsigned kShardBits = 10;

uint64_t hash_of(PeerId id) { return mix_hash(static_cast<uint64_t>(id)); }

}  // namespace

uint64_t hash_of(TunnelIndex tunnel, const PublicKey& key) {
  return mix_hash(std::hash<PublicKey>{}(key) + tunnel);
}

uint64_t hash_of(TunnelIndex tunnel, std::string_view name) {
  return mix_hash(std::hash<std::string_view>{}(name) + tunnel);
}

uint64_t hash_of(uint32_t number, const Prefix& prefix) {
  return mix_hash(std::hash<Prefix>{}(prefix) + number);
}

State::State(Generation generation, PeerId next_peer_id)
    : generation_(generation),
      next_peer_id_(next_peer_id),
      ids_(kShardBits),
      keys_(kShardBits),
      names_(kShardBits),
      owners_(kShardBits),
      dormant_(0) {
  CHECK(next_peer_id != kNoPeerId);
}

uint64_t State::memory_bytes() const noexcept {
  return peers_.memory_bytes() + claims_.memory_bytes() + ids_.memory_bytes() +
         keys_.memory_bytes() + names_.memory_bytes() + owners_.memory_bytes() +
         dormant_.memory_bytes() + tunnels_.capacity() * sizeof(Tunnel) +
         lengths_.capacity() * sizeof(Lengths);
}

const Tunnel* State::find_tunnel(std::string_view name) const {
  for (const Tunnel& tunnel : tunnels_) {
    if (tunnel.index != kNoTunnel && tunnel.name == name) return &tunnel;
  }
  return nullptr;
}

uint32_t State::find_peer(TunnelIndex tunnel, const PublicKey& key) const {
  return keys_.find(hash_of(tunnel, key), [&](uint32_t slot) {
    return peers_[slot].tunnel == tunnel && peers_[slot].public_key == key;
  });
}

uint32_t State::find_peer(TunnelIndex tunnel, std::string_view name) const {
  if (name.empty()) return kNoSlot;
  return names_.find(hash_of(tunnel, name), [&](uint32_t slot) {
    return peers_[slot].tunnel == tunnel && peers_[slot].name.view() == name;
  });
}

uint32_t State::find_peer(PeerId id) const {
  return ids_.find(hash_of(id), [&](uint32_t slot) { return peers_[slot].id == id; });
}

uint32_t State::select_peer(TunnelIndex tunnel, const PeerSelector& selector) const {
  if (const auto* name = std::get_if<std::string>(&selector)) {
    return find_peer(tunnel, std::string_view(*name));
  }
  if (const auto* key = std::get_if<PublicKey>(&selector)) return find_peer(tunnel, *key);
  const uint32_t slot = find_peer(std::get<PeerId>(selector));
  return slot != kNoSlot && peers_[slot].tunnel == tunnel ? slot : kNoSlot;
}

uint32_t State::next_peer(uint32_t slot) const {
  for (; slot < peers_.end(); ++slot) {
    if (peers_[slot].id != kNoPeerId) return slot;
  }
  return kNoSlot;
}

uint32_t State::find_owner_claim(TunnelIndex tunnel, const Prefix& prefix) const {
  return owners_.find(hash_of(tunnel, prefix), [&](uint32_t slot) {
    const Claim& claim = claims_[slot];
    return claim.prefix == prefix && peers_[claim.peer].tunnel == tunnel;
  });
}

uint32_t State::find_dormant_claim(uint32_t peer_slot, const Prefix& prefix) const {
  return dormant_.find(hash_of(peer_slot, prefix), [&](uint32_t slot) {
    return claims_[slot].peer == peer_slot && claims_[slot].prefix == prefix;
  });
}

const Claim* State::owner(TunnelIndex tunnel, const Prefix& prefix) const {
  const uint32_t slot = find_owner_claim(tunnel, prefix);
  return slot == kNoSlot ? nullptr : &claims_[slot];
}

const Claim* State::dormant(uint32_t peer_slot, const Prefix& prefix) const {
  const uint32_t slot = find_dormant_claim(peer_slot, prefix);
  return slot == kNoSlot ? nullptr : &claims_[slot];
}

const Claim* State::longest_match(TunnelIndex tunnel, const IpAddress& address,
                                  unsigned longest) const {
  for (unsigned length = std::min(address.width_bits(), longest) + 1; length-- > 0;) {
    if (!has_length(tunnel, address.family, length)) continue;
    if (const Claim* claim = owner(tunnel, Prefix::masked(address, length))) return claim;
  }
  return nullptr;
}

const Claim* State::claim_at(uint32_t slot) const {
  const Claim& claim = claims_[slot];
  return claim.peer != kNoSlot && peers_[claim.peer].enabled ? &claim : nullptr;
}

Generation State::apply(const Change& change) {
  CHECK(change.base == generation_);
  if (change.empty()) return generation_;
  // Tunnels first, since peers lead to them, and tunnels that go last; owners change between the
  // additions and the removals of peers, and dormant claims while `enabled` is what it will be.
  for (const TunnelChange& t : change.tunnels) {
    if (t.after.index != kNoTunnel) change_tunnel(t);
  }
  for (const PeerAdded& added : change.peers_added) add_peer(added);
  for (const PrefixChange& prefix : change.prefixes) {
    if (prefix.old_owner != kNoPeerId && prefix.new_owner == kNoPeerId) change_owner(prefix);
  }
  for (const DormantChange& d : change.dormant) change_dormant(d);
  for (const PeerChanged& changed : change.peers_changed) change_peer(changed);
  for (const PrefixChange& prefix : change.prefixes) {
    if (prefix.new_owner != kNoPeerId) change_owner(prefix);
  }
  for (const OriginChange& o : change.origins) {
    const uint32_t slot = find_peer(o.peer);
    CHECK(slot != kNoSlot);
    const uint32_t owned = find_owner_claim(peers_[slot].tunnel, o.prefix);
    const uint32_t claim = owned != kNoSlot && claims_[owned].peer == slot
                               ? owned
                               : find_dormant_claim(slot, o.prefix);
    CHECK(claim != kNoSlot);
    claims_[claim].origin = o.after;
  }
  for (const PeerRemoved& removed : change.peers_removed) remove_peer(removed);
  for (const TunnelChange& t : change.tunnels) {
    if (t.after.index == kNoTunnel) change_tunnel(t);
  }
  next_peer_id_ = change.next_peer_id;
  return ++generation_;
}

void State::change_tunnel(const TunnelChange& change) {
  if (change.after.index == kNoTunnel) {
    tunnels_[change.before.index] = Tunnel{};
    return;
  }
  if (change.after.index >= tunnels_.size()) {
    tunnels_.resize(change.after.index + size_t{1});
    lengths_.resize(tunnels_.size());
  }
  tunnels_[change.after.index] = change.after;
}

void State::set_attributes(Peer& peer, const PeerAttributes& attributes) {
  peer.preshared_key = attributes.preshared_key;
  peer.endpoint = attributes.endpoint;
  peer.persistent_keepalive = attributes.persistent_keepalive;
  peer.enabled = attributes.enabled;
  peer.origin = attributes.origin;
  peer.description = Text(attributes.description);
  peer.name = Text(attributes.name);
}

void State::add_peer(const PeerAdded& added) {
  const uint32_t slot = peers_.allocate();
  Peer& peer = peers_[slot];
  peer.public_key = added.attributes.public_key;
  peer.id = added.id;
  peer.tunnel = added.tunnel;
  set_attributes(peer, added.attributes);
  ids_.insert(hash_of(added.id), slot);
  // Removals come later in apply(): for a moment two peers may have one key or name. Entries are told
  // apart by slot, and nobody looks before the end.
  keys_.insert(hash_of(added.tunnel, peer.public_key), slot);
  if (!peer.name.empty()) names_.insert(hash_of(added.tunnel, peer.name.view()), slot);
}

void State::remove_peer(const PeerRemoved& removed) {
  const uint32_t slot = find_peer(removed.id);
  CHECK(slot != kNoSlot);
  Peer& peer = peers_[slot];
  CHECK(peer.claims == 0 || !peer.enabled);  // an owner's prefixes are in Change::prefixes
  while (peer.first_claim != kNoSlot) {
    const uint32_t claim = peer.first_claim;
    dormant_.erase(hash_of(slot, claims_[claim].prefix), claim);
    unlink_claim(claim);
  }
  ids_.erase(hash_of(peer.id), slot);
  keys_.erase(hash_of(peer.tunnel, peer.public_key), slot);
  if (!peer.name.empty()) names_.erase(hash_of(peer.tunnel, peer.name.view()), slot);
  peers_.release(slot);
}

void State::change_peer(const PeerChanged& changed) {
  const uint32_t slot = find_peer(changed.id);
  CHECK(slot != kNoSlot);
  Peer& peer = peers_[slot];
  const bool renamed = peer.name.view() != changed.after.name;
  if (renamed && !peer.name.empty()) names_.erase(hash_of(peer.tunnel, peer.name.view()), slot);
  set_attributes(peer, changed.after);
  if (renamed && !peer.name.empty()) names_.insert(hash_of(peer.tunnel, peer.name.view()), slot);
}

uint32_t State::link_claim(uint32_t peer_slot, const Prefix& prefix, Origin origin) {
  const uint32_t slot = claims_.allocate();
  Claim& claim = claims_[slot];
  Peer& peer = peers_[peer_slot];
  claim = {.prefix = prefix, .origin = origin, .peer = peer_slot, .next = peer.first_claim};
  if (claim.next != kNoSlot) claims_[claim.next].previous = slot;
  peer.first_claim = slot;
  ++peer.claims;
  return slot;
}

void State::unlink_claim(uint32_t claim_slot) {
  const Claim& claim = claims_[claim_slot];
  Peer& peer = peers_[claim.peer];
  (claim.previous == kNoSlot ? peer.first_claim : claims_[claim.previous].next) = claim.next;
  if (claim.next != kNoSlot) claims_[claim.next].previous = claim.previous;
  --peer.claims;
  claims_.release(claim_slot);
}

void State::change_owner(const PrefixChange& change) {
  const uint64_t hash = hash_of(change.tunnel, change.prefix);
  Lengths& lengths = lengths_[change.tunnel];
  uint32_t& of_length = change.prefix.address.is_v4() ? lengths.v4[change.prefix.length]
                                                      : lengths.v6[change.prefix.length];
  if (change.old_owner != kNoPeerId) {
    const uint32_t claim = find_owner_claim(change.tunnel, change.prefix);
    CHECK(claim != kNoSlot && peers_[claims_[claim].peer].id == change.old_owner);
    owners_.erase(hash, claim);
    unlink_claim(claim);
    --of_length;
  }
  if (change.new_owner != kNoPeerId) {
    const uint32_t peer = find_peer(change.new_owner);
    CHECK(peer != kNoSlot && peers_[peer].tunnel == change.tunnel);
    owners_.insert(hash, link_claim(peer, change.prefix, change.new_origin));
    ++of_length;
  }
}

void State::change_dormant(const DormantChange& change) {
  const uint32_t peer = find_peer(change.peer);
  CHECK(peer != kNoSlot);
  const uint64_t hash = hash_of(peer, change.prefix);
  if (change.noted) {
    dormant_.insert(hash, link_claim(peer, change.prefix, change.origin));
  } else {
    const uint32_t claim = find_dormant_claim(peer, change.prefix);
    CHECK(claim != kNoSlot);
    dormant_.erase(hash, claim);
    unlink_claim(claim);
  }
}

}  // namespace turnpike::state

#include "control/state/peer_overlay.h"

#include "dataplane/base/check.h"

namespace turnpike::state {
namespace {

void patch(PeerAttributes& attributes, const PeerPatch& patch) {
  if (patch.name) attributes.name = *patch.name;
  if (patch.description) attributes.description = *patch.description;
  if (patch.preshared_key) attributes.preshared_key = *patch.preshared_key;
  if (patch.endpoint) attributes.endpoint = *patch.endpoint;
  if (patch.persistent_keepalive) attributes.persistent_keepalive = *patch.persistent_keepalive;
  if (patch.enabled) attributes.enabled = *patch.enabled;
}

// Of `wanted`, what `known` has otherwise. A private key and its public one go together.
void set_differing(Tunnel& tunnel, const Tunnel& wanted, const Tunnel& known) {
  if (wanted.conflicts != known.conflicts) tunnel.conflicts = wanted.conflicts;
  if (wanted.listen_port != known.listen_port) tunnel.listen_port = wanted.listen_port;
  if (wanted.fwmark != known.fwmark) tunnel.fwmark = wanted.fwmark;
  if (wanted.private_key != known.private_key || wanted.public_key != known.public_key) {
    tunnel.private_key = wanted.private_key;
    tunnel.public_key = wanted.public_key;
  }
}

}  // namespace

PeerOverlay::PeerOverlay(const State& state, const Transaction& transaction,
                         std::vector<Conflict>& conflicts)
    : state_(state),
      conflicts_(conflicts),
      tunnels_(state.tunnels()),
      tunnel_edits_(tunnels_.size(), kNoEdit),
      next_peer_id_(state.next_peer_id()) {
  const auto& edits = transaction.edits;
  for (uint32_t i = 0; i < edits.size(); ++i) {
    if (edits[i].op >= Op::TunnelAdd) edit_tunnel(edits[i], i);
  }
  for (uint32_t i = 0; i < edits.size(); ++i) {
    if (edits[i].op >= Op::PeerAdd && edits[i].op <= Op::PeerRemove) edit_peer(edits[i], i);
  }
  judge_outcome();
}

void PeerOverlay::refuse(uint32_t edit, ConflictKind kind, const std::string& tunnel,
                         std::string owner, std::string peer) {
  conflicts_.push_back({.edit = edit,
                        .kind = kind,
                        .tunnel = tunnel,
                        .prefix = std::nullopt,
                        .owner = std::move(owner),
                        .peer = std::move(peer)});
}

const Tunnel* PeerOverlay::tunnel(std::string_view name) const {
  for (const Tunnel& t : tunnels_) {
    if (t.index != kNoTunnel && t.name == name) return &t;
  }
  return nullptr;
}

void PeerOverlay::edit_tunnel(const Edit& edit, uint32_t number) {
  const Tunnel* present = tunnel(edit.tunnel);
  if (edit.op == Op::TunnelAdd) {
    if (present != nullptr) {
      return refuse(number, ConflictKind::DuplicateTunnel, edit.tunnel, "", "");
    }
    // An index that is free in the state before too: the data plane still uses that of a removed tunnel.
    size_t index = 0;
    while (index < tunnels_.size() &&
           (tunnels_[index].index != kNoTunnel || tunnel_edits_[index] != kNoEdit)) {
      ++index;
    }
    if (index >= kMaxTunnels)
      return refuse(number, ConflictKind::Limit, edit.tunnel, "tunnels", "");
    if (index == tunnels_.size()) {
      tunnels_.emplace_back();
      tunnel_edits_.push_back(kNoEdit);
    }
    tunnels_[index] = *edit.new_tunnel;
    tunnels_[index].name = edit.tunnel;
    tunnels_[index].index = static_cast<TunnelIndex>(index);
    tunnel_edits_[index] = number;
    return;
  }
  if (present == nullptr) return refuse(number, ConflictKind::UnknownTunnel, edit.tunnel, "", "");
  const TunnelIndex index = present->index;
  tunnel_edits_[index] = number;
  if (edit.op == Op::TunnelSet && edit.known_tunnel != nullptr) {
    return set_differing(tunnels_[index], *edit.new_tunnel, *edit.known_tunnel);
  }
  if (edit.op == Op::TunnelSet) {
    tunnels_[index] = *edit.new_tunnel;
    tunnels_[index].name = edit.tunnel;
    tunnels_[index].index = index;
    return;
  }
  tunnels_[index] = Tunnel{};
  for (uint32_t s = state_.next_peer(0); s != kNoSlot; s = state_.next_peer(s + 1)) {
    if (state_.peer(s).tunnel == index) entry_of(s).removed_edit = number;
  }
}

const PeerEntry* PeerOverlay::find_entry(uint32_t slot) const {
  const uint32_t at =
      by_slot_.find(mix_hash(slot), [&](uint32_t i) { return entries_[i].slot == slot; });
  return at == kNoSlot ? nullptr : &entries_[at];
}

PeerEntry& PeerOverlay::entry_of(uint32_t slot) {
  const uint32_t at =
      by_slot_.find(mix_hash(slot), [&](uint32_t i) { return entries_[i].slot == slot; });
  if (at != kNoSlot) return entries_[at];
  const Peer& peer = state_.peer(slot);
  by_slot_.insert(mix_hash(slot), static_cast<uint32_t>(entries_.size()));
  const PeerAttributes attributes = peer.attributes();
  entries_.push_back({.slot = slot,
                      .tunnel = peer.tunnel,
                      .id = peer.id,
                      .before = attributes,
                      .after = attributes});
  return entries_.back();
}

void PeerOverlay::edit_peer(const Edit& edit, uint32_t number) {
  const Tunnel* of = tunnel(edit.tunnel);
  if (of == nullptr) return refuse(number, ConflictKind::UnknownTunnel, edit.tunnel, "", "");
  if (edit.op == Op::PeerAdd) {
    PeerEntry entry{.tunnel = of->index, .id = next_peer_id_, .set_edit = number};
    next_peer_id_ = PeerId{static_cast<uint64_t>(next_peer_id_) + 1};
    entry.after.public_key = edit.public_key;
    entry.after.origin = edit.origin;
    if (edit.patch) patch(entry.after, *edit.patch);
    by_edit_.insert(mix_hash(number), static_cast<uint32_t>(entries_.size()));
    entries_.push_back(std::move(entry));
    return;
  }
  const uint32_t slot = state_.select_peer(of->index, edit.peer);
  if (slot == kNoSlot) {
    return refuse(number, ConflictKind::UnknownPeer, of->name, "", state::label(edit.peer));
  }
  PeerEntry& entry = entry_of(slot);
  if (edit.op == Op::PeerRemove) {
    if (entry.removed()) {
      return refuse(number, ConflictKind::PeerInTwoEdits, of->name, "", state::label(entry.before));
    }
    entry.removed_edit = number;
  } else {
    // Several sets of one peer: a later one wins attribute by attribute.
    entry.set_edit = number;
    if (edit.patch) patch(entry.after, *edit.patch);
    if (edit.origin == Origin::File) entry.after.origin = Origin::File;
  }
}

void PeerOverlay::judge_outcome() {
  uint64_t peers = state_.peer_count();
  for (const PeerEntry& entry : entries_) peers -= entry.removed() ? 1 : 0;
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    const PeerEntry& entry = entries_[i];
    const std::string& name = tunnels_[entry.tunnel].name;
    if (entry.removed()) {
      if (entry.set_edit != kNoEdit) {
        refuse(entry.set_edit, ConflictKind::PeerInTwoEdits, name, "", state::label(entry.before));
      }
      continue;
    }
    if (entry.added() && ++peers > kMaxPeers) {
      refuse(entry.set_edit, ConflictKind::Limit, name, "peers", state::label(entry.after));
      return;  // once is enough; what comes after it is beyond the limit too
    }
    judge_names_and_keys(entry, i);
  }
  for (size_t i = 0; i < tunnels_.size(); ++i) {
    if (tunnel_edits_[i] == kNoEdit || tunnels_[i].index == kNoTunnel) continue;
    const uint32_t own = state_.find_peer(tunnels_[i].index, tunnels_[i].public_key);
    if (own == kNoSlot) continue;
    const PeerEntry* entry = find_entry(own);
    if (entry == nullptr || !entry->removed()) {
      refuse(tunnel_edits_[i], ConflictKind::OwnKey, tunnels_[i].name, "",
             state::label(state_.peer(own)));
    }
  }
}

void PeerOverlay::judge_names_and_keys(const PeerEntry& entry, uint32_t number) {
  const Tunnel& of = tunnels_[entry.tunnel];
  const PeerAttributes& after = entry.after;
  std::string owner;
  if (entry.added()) {
    if (after.public_key == of.public_key) {
      refuse(entry.set_edit, ConflictKind::OwnKey, of.name, "", state::label(after));
    }
    const uint64_t hash = hash_of(entry.tunnel, after.public_key);
    const uint32_t twin = by_key_.find(hash, [&](uint32_t i) {
      return entries_[i].tunnel == entry.tunnel && entries_[i].after.public_key == after.public_key;
    });
    const uint32_t slot = state_.find_peer(entry.tunnel, after.public_key);
    const PeerEntry* present = slot == kNoSlot ? nullptr : find_entry(slot);
    if (twin != kNoSlot) {
      owner = state::label(entries_[twin].after);
    } else if (slot != kNoSlot && (present == nullptr || !present->removed())) {
      owner = state::label(state_.peer(slot));
    } else {
      by_key_.insert(hash, number);
    }
  }
  if (!after.name.empty() && (entry.added() || after.name != entry.before.name)) {
    const uint64_t hash = hash_of(entry.tunnel, after.name);
    const uint32_t twin = by_name_.find(hash, [&](uint32_t i) {
      return entries_[i].tunnel == entry.tunnel && entries_[i].after.name == after.name;
    });
    const uint32_t slot = state_.find_peer(entry.tunnel, std::string_view(after.name));
    const PeerEntry* present = slot == kNoSlot ? nullptr : find_entry(slot);
    if (twin != kNoSlot) {
      owner = state::label(entries_[twin].after);
    } else if (slot != kNoSlot &&
               (present == nullptr || (!present->removed() && present->after.name == after.name))) {
      owner = state::label(state_.peer(slot));
    } else {
      by_name_.insert(hash, number);
    }
  }
  if (!owner.empty()) {
    refuse(entry.set_edit, ConflictKind::DuplicatePeer, of.name, std::move(owner),
           state::label(after));
  }
}

PeerHandle PeerOverlay::before(TunnelIndex tunnel, const PeerSelector& selector) const {
  return {.number = state_.select_peer(tunnel, selector)};
}

PeerHandle PeerOverlay::after(TunnelIndex tunnel, const PeerSelector& selector) const {
  uint32_t at = kNoSlot;
  if (const auto* name = std::get_if<std::string>(&selector)) {
    at = by_name_.find(hash_of(tunnel, *name), [&](uint32_t i) {
      return entries_[i].tunnel == tunnel && entries_[i].after.name == *name;
    });
  } else if (const auto* key = std::get_if<PublicKey>(&selector)) {
    at = by_key_.find(hash_of(tunnel, *key), [&](uint32_t i) {
      return entries_[i].tunnel == tunnel && entries_[i].after.public_key == *key;
    });
  }
  if (at != kNoSlot) {
    return entries_[at].added() ? PeerHandle{.number = at, .added = true}
                                : PeerHandle{.number = entries_[at].slot};
  }
  const uint32_t slot = state_.select_peer(tunnel, selector);
  if (slot == kNoSlot) return {};
  const PeerEntry* entry = find_entry(slot);
  return entry != nullptr && entry->removed() ? PeerHandle{} : PeerHandle{.number = slot};
}

PeerHandle PeerOverlay::added_by(uint32_t edit) const {
  return {.number = by_edit_.find(mix_hash(edit),
                                  [&](uint32_t i) { return entries_[i].set_edit == edit; }),
          .added = true};
}

bool PeerOverlay::enabled_before(PeerHandle peer) const {
  return !peer.added && state_.peer(peer.number).enabled;
}

bool PeerOverlay::enabled_after(PeerHandle peer) const {
  if (peer.added) return entries_[peer.number].after.enabled;
  const PeerEntry* entry = find_entry(peer.number);
  return entry != nullptr ? entry->after.enabled : state_.peer(peer.number).enabled;
}

std::string PeerOverlay::label(PeerHandle peer) const {
  return peer.added ? state::label(entries_[peer.number].after)
                    : state::label(state_.peer(peer.number));
}

PeerId PeerOverlay::id(PeerHandle peer) const {
  if (peer.none()) return kNoPeerId;
  return peer.added ? entries_[peer.number].id : state_.peer(peer.number).id;
}

void PeerOverlay::finish(Change& change) const {
  change.next_peer_id = next_peer_id_;
  for (size_t i = 0; i < tunnels_.size(); ++i) {
    if (tunnel_edits_[i] == kNoEdit) continue;
    const Tunnel before = i < state_.tunnels().size() ? state_.tunnels()[i] : Tunnel{};
    if (before != tunnels_[i]) change.tunnels.push_back({.before = before, .after = tunnels_[i]});
  }
  for (const PeerEntry& entry : entries_) {
    if (entry.added()) {
      change.peers_added.push_back({.id = entry.id,
                                    .tunnel = entry.tunnel,
                                    .attributes = entry.after,
                                    .edit = entry.set_edit});
    } else if (entry.removed()) {
      change.peers_removed.push_back(
          {.id = entry.id, .tunnel = entry.tunnel, .attributes = entry.before});
    } else if (entry.before != entry.after) {
      change.peers_changed.push_back(
          {.id = entry.id, .tunnel = entry.tunnel, .before = entry.before, .after = entry.after});
    }
  }
}

}  // namespace turnpike::state

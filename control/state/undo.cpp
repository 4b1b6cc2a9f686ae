#include "control/state/undo.h"

#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "dataplane/base/check.h"

namespace turnpike::state {
namespace {

// What the change did to a peer, as far as the way back is concerned.
struct Fate {
  PublicKey key;
  TunnelIndex tunnel = kNoTunnel;
  bool added = false;
  bool removed = false;
  bool woken = false;  // disabled -> enabled
  bool slept = false;  // enabled -> disabled
};

PeerPatch whole_patch(const PeerAttributes& a) {
  return {.name = a.name,
          .description = a.description,
          .preshared_key = a.preshared_key,
          .endpoint = a.endpoint,
          .persistent_keepalive = a.persistent_keepalive,
          .enabled = a.enabled};
}

// Of `attributes`, what `others` have otherwise.
PeerPatch differing_patch(const PeerAttributes& attributes, const PeerAttributes& others) {
  PeerPatch patch;
  const auto take = [](auto& field, const auto& value, const auto& other) {
    if (!(value == other)) field = value;
  };
  take(patch.name, attributes.name, others.name);
  take(patch.description, attributes.description, others.description);
  take(patch.preshared_key, attributes.preshared_key, others.preshared_key);
  take(patch.endpoint, attributes.endpoint, others.endpoint);
  take(patch.persistent_keepalive, attributes.persistent_keepalive, others.persistent_keepalive);
  take(patch.enabled, attributes.enabled, others.enabled);
  return patch;
}

class Undo {
 public:
  Undo(const State& before, const Change& change) : before_(before), change_(change) {}

  Transaction run() {
    undo_tunnels();
    undo_peers();
    for (const DormantChange& d : change_.dormant) {
      (d.noted ? noted_ : forgotten_).insert({static_cast<uint64_t>(d.peer), d.prefix});
    }
    for (const PrefixChange& p : change_.prefixes) undo_prefix(p);
    for (const DormantChange& d : change_.dormant) undo_dormant(d);
    return std::move(transaction_);
  }

 private:
  using PeerPrefix = std::pair<uint64_t, Prefix>;

  std::string tunnel_name(TunnelIndex index) const {
    for (const TunnelChange& t : change_.tunnels) {
      if (t.after.index == index) return t.after.name;
    }
    return before_.tunnel(index).name;
  }

  Fate fate(PeerId id) const {
    if (const auto found = fates_.find(static_cast<uint64_t>(id)); found != fates_.end()) {
      return found->second;
    }
    const uint32_t slot = before_.find_peer(id);
    CHECK(slot != kNoSlot);
    return {.key = before_.peer(slot).public_key, .tunnel = before_.peer(slot).tunnel};
  }

  Edit& push(Op op, TunnelIndex tunnel, const PublicKey& key, Origin origin) {
    transaction_.edits.push_back(
        {.op = op, .origin = origin, .tunnel = tunnel_name(tunnel), .peer = key});
    return transaction_.edits.back();
  }

  // Prefixes with the same way back share one edit.
  void add_prefix(Op op, TunnelIndex tunnel, const PublicKey& peer, const PublicKey& to,
                  Origin origin, const Prefix& prefix) {
    const auto [at, made] =
        groups_.try_emplace({op, tunnel, peer.bytes, to.bytes, origin}, transaction_.edits.size());
    if (made) push(op, tunnel, peer, origin).to = to;
    transaction_.edits[at->second].prefixes.push_back(prefix);
  }

  void undo_tunnels() {
    for (const TunnelChange& t : change_.tunnels) {
      const bool is_new = t.before.index == kNoTunnel;
      const bool gone = t.after.index == kNoTunnel;
      transaction_.edits.push_back(
          {.op = is_new ? Op::TunnelRemove
                 : gone ? Op::TunnelAdd
                        : Op::TunnelSet,
           .tunnel = is_new ? t.after.name : t.before.name,
           .new_tunnel = is_new ? nullptr : std::make_shared<const Tunnel>(t.before),
           .known_tunnel = is_new || gone ? nullptr : std::make_shared<const Tunnel>(t.after)});
    }
  }

  bool tunnel_goes_back(TunnelIndex index) const {  // added by the change: its peers go with it
    for (const TunnelChange& t : change_.tunnels) {
      if (t.after.index == index && t.before.index == kNoTunnel) return true;
    }
    return false;
  }

  void undo_peers() {
    for (const PeerAdded& a : change_.peers_added) {
      fates_[static_cast<uint64_t>(a.id)] = {
          .key = a.attributes.public_key, .tunnel = a.tunnel, .added = true};
      if (!tunnel_goes_back(a.tunnel)) {
        push(Op::PeerRemove, a.tunnel, a.attributes.public_key, a.attributes.origin);
      }
    }
    for (const PeerRemoved& r : change_.peers_removed) {
      const PublicKey& key = r.attributes.public_key;
      fates_[static_cast<uint64_t>(r.id)] = {.key = key, .tunnel = r.tunnel, .removed = true};
      Edit& edit = push(Op::PeerAdd, r.tunnel, key, r.attributes.origin);
      edit.public_key = key;
      edit.patch = whole_patch(r.attributes);
      const uint32_t slot = before_.find_peer(r.id);
      CHECK(slot != kNoSlot);
      if (r.attributes.enabled) continue;  // its prefixes are among Change::prefixes
      before_.for_each_claim(slot, [&](const Claim& claim) {
        add_prefix(Op::Claim, r.tunnel, key, {}, claim.origin, claim.prefix);
      });
    }
    for (const PeerChanged& c : change_.peers_changed) {
      const PublicKey& key = c.before.public_key;
      fates_[static_cast<uint64_t>(c.id)] = {.key = key,
                                             .tunnel = c.tunnel,
                                             .woken = !c.before.enabled && c.after.enabled,
                                             .slept = c.before.enabled && !c.after.enabled};
      // Not all of them: what was edited after the change stays.
      PeerPatch patch = differing_patch(c.before, c.after);
      if (patch == PeerPatch{}) continue;
      Edit& edit = push(Op::PeerSet, c.tunnel, key, Origin::Api);
      edit.patch = std::move(patch);
      edit.known_patch = differing_patch(c.after, c.before);
    }
  }

  void undo_prefix(const PrefixChange& p) {
    const bool had = p.old_owner != kNoPeerId;
    const Fate from = p.new_owner != kNoPeerId ? fate(p.new_owner) : Fate{};
    const Fate to = had ? fate(p.old_owner) : Fate{};
    // Who gives without being told: a peer that goes again, and one that is disabled again and had the
    // prefix as a dormant one.
    const bool gives_itself =
        p.new_owner == kNoPeerId || from.added ||
        (from.woken && forgotten_.contains({static_cast<uint64_t>(p.new_owner), p.prefix}));
    // Who takes without being told: a peer that is enabled again and remembered the prefix.
    const bool takes_itself =
        had && to.slept && noted_.contains({static_cast<uint64_t>(p.old_owner), p.prefix});
    if (gives_itself) {
      if (had && !takes_itself) {
        add_prefix(Op::Claim, p.tunnel, to.key, {}, p.old_origin, p.prefix);
      }
    } else if (had) {
      add_prefix(Op::Move, p.tunnel, from.key, to.key, p.old_origin, p.prefix);
    } else {
      add_prefix(Op::Release, p.tunnel, from.key, {}, p.new_origin, p.prefix);
    }
  }

  void undo_dormant(const DormantChange& d) {
    const Fate peer = fate(d.peer);
    if (peer.added) return;
    const uint32_t slot = before_.find_peer(d.peer);
    if (d.noted) {
      const Claim* owned = before_.owner(peer.tunnel, d.prefix);
      if (peer.slept && owned != nullptr && owned->peer == slot) return;  // enabled, it claims it
      add_prefix(Op::Release, peer.tunnel, peer.key, {}, d.origin, d.prefix);
      return;
    }
    if (peer.woken && claimed_by(d.peer, d.prefix)) return;  // disabled again, it remembers it
    const Claim* claim = before_.dormant(slot, d.prefix);
    add_prefix(Op::Claim, peer.tunnel, peer.key, {}, claim->origin, d.prefix);
  }

  bool claimed_by(PeerId peer, const Prefix& prefix) {
    if (taken_.empty()) {
      for (const PrefixChange& p : change_.prefixes) {
        if (p.new_owner != kNoPeerId) {
          taken_.insert({static_cast<uint64_t>(p.new_owner), p.prefix});
        }
      }
    }
    return taken_.contains({static_cast<uint64_t>(peer), prefix});
  }

  const State& before_;
  const Change& change_;
  Transaction transaction_;
  std::unordered_map<uint64_t, Fate> fates_;
  std::set<PeerPrefix> noted_;
  std::set<PeerPrefix> forgotten_;
  std::set<PeerPrefix> taken_;
  using KeyBytes = std::array<uint8_t, kKeyBytes>;
  std::map<std::tuple<Op, TunnelIndex, KeyBytes, KeyBytes, Origin>, size_t> groups_;
};

}  // namespace

Transaction undo(const State& before, const Change& change) {
  return change.empty() ? Transaction{} : Undo(before, change).run();
}

Change inverse(const State& before, const Change& change) {
  Change back;
  back.base = change.base + 1;
  back.next_peer_id = change.next_peer_id;
  back.topology = change.topology;
  for (const TunnelChange& t : change.tunnels) {
    back.tunnels.push_back({.before = t.after, .after = t.before});
  }
  for (const PeerAdded& a : change.peers_added) {
    back.peers_removed.push_back({.id = a.id, .tunnel = a.tunnel, .attributes = a.attributes});
  }
  for (const PeerChanged& c : change.peers_changed) {
    back.peers_changed.push_back(
        {.id = c.id, .tunnel = c.tunnel, .before = c.after, .after = c.before});
  }
  for (const PrefixChange& p : change.prefixes) {
    back.prefixes.push_back({.tunnel = p.tunnel,
                             .prefix = p.prefix,
                             .old_owner = p.new_owner,
                             .new_owner = p.old_owner,
                             .old_origin = p.new_origin,
                             .new_origin = p.old_origin});
  }
  std::set<std::pair<uint64_t, Prefix>> told;
  for (const DormantChange& d : change.dormant) {
    back.dormant.push_back(
        {.peer = d.peer, .prefix = d.prefix, .origin = d.origin, .noted = !d.noted});
    if (!change.peers_removed.empty()) told.insert({static_cast<uint64_t>(d.peer), d.prefix});
  }
  for (const PeerRemoved& r : change.peers_removed) {
    back.peers_added.push_back({.id = r.id, .tunnel = r.tunnel, .attributes = r.attributes});
    if (r.attributes.enabled) continue;  // its prefixes are among Change::prefixes
    before.for_each_claim(before.find_peer(r.id), [&](const Claim& claim) {
      if (told.contains({static_cast<uint64_t>(r.id), claim.prefix})) return;
      back.dormant.push_back(
          {.peer = r.id, .prefix = claim.prefix, .origin = claim.origin, .noted = true});
    });
  }
  for (const OriginChange& o : change.origins) {
    back.origins.push_back(
        {.peer = o.peer, .prefix = o.prefix, .before = o.after, .after = o.before});
  }
  return back;
}

}  // namespace turnpike::state

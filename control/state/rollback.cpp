#include "control/state/rollback.h"

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "control/state/plan.h"
#include "control/state/undo.h"
#include "dataplane/base/check.h"

// Works on a small copy of what the commits touch: there the ways back are taken one after the other, and the
// difference between the copy before and after is a change like any other, whose reverse undo() knows.

namespace turnpike::state {
namespace {

using Name = std::pair<std::string, PublicKey>;  // of a peer: its tunnel and its key

std::set<Name> touched_peers(const State& now, std::span<const Transaction> ways_back) {
  std::set<Name> touched;
  for (const Transaction& way : ways_back) {
    for (const Edit& edit : way.edits) {
      const Tunnel* tunnel = now.find_tunnel(edit.tunnel);
      const auto add = [&](const PeerSelector& selector) {
        if (const auto* key = std::get_if<PublicKey>(&selector)) {
          touched.emplace(edit.tunnel, *key);
        } else if (tunnel != nullptr) {
          const uint32_t slot = now.select_peer(tunnel->index, selector);
          if (slot != kNoSlot) touched.emplace(edit.tunnel, now.peer(slot).public_key);
        }
      };
      if (edit.op == Op::PeerAdd) {
        touched.emplace(edit.tunnel, edit.public_key);
      } else if (edit.op == Op::TunnelRemove && tunnel != nullptr) {
        for (uint32_t s = now.next_peer(0); s != kNoSlot; s = now.next_peer(s + 1)) {
          if (now.peer(s).tunnel == tunnel->index) {
            touched.emplace(edit.tunnel, now.peer(s).public_key);
          }
        }
      } else if (edit.op < Op::TunnelAdd) {
        add(edit.peer);
        if (edit.op == Op::Move) add(edit.to);
      }
    }
  }
  return touched;
}

State copy_of(const State& now, const std::set<Name>& peers) {
  CHECK(now.generation() > 0);
  State copy(now.generation() - 1, now.next_peer_id());
  Change all{.base = copy.generation(), .next_peer_id = now.next_peer_id(), .topology = true};
  for (const Tunnel& tunnel : now.tunnels()) {
    if (tunnel.index != kNoTunnel) all.tunnels.push_back({.before = {}, .after = tunnel});
  }
  for (const auto& [tunnel_name, key] : peers) {
    const Tunnel* tunnel = now.find_tunnel(tunnel_name);
    const uint32_t slot = tunnel == nullptr ? kNoSlot : now.find_peer(tunnel->index, key);
    if (slot == kNoSlot) continue;
    const Peer& peer = now.peer(slot);
    all.peers_added.push_back(
        {.id = peer.id, .tunnel = peer.tunnel, .attributes = peer.attributes()});
    now.for_each_claim(slot, [&](const Claim& claim) {
      if (peer.enabled) {
        all.prefixes.push_back({.tunnel = peer.tunnel,
                                .prefix = claim.prefix,
                                .new_owner = peer.id,
                                .new_origin = claim.origin});
      } else {
        all.dormant.push_back(
            {.peer = peer.id, .prefix = claim.prefix, .origin = claim.origin, .noted = true});
      }
    });
  }
  copy.apply(all);
  return copy;
}

// The change that leads from `from` to `to`; peers are the same where tunnel and key are.
class Comparison {
 public:
  Comparison(const State& from, const State& to) : from_(from), to_(to) {}

  Change run() {
    change_.base = from_.generation();
    compare_tunnels();
    peers_of(from_, &Both::from);
    peers_of(to_, &Both::to);
    for (const auto& [name, both] : peers_) compare(both);
    for (const auto& [name, both] : peers_) compare_claims(both);
    return std::move(change_);
  }

 private:
  struct Both {
    uint32_t from = kNoSlot;
    uint32_t to = kNoSlot;
    TunnelIndex tunnel = kNoTunnel;  // in the change
  };

  void compare_tunnels() {
    // A tunnel keeps the number that it has in `from`; what only `to` has gets one beyond all of them.
    auto beyond = static_cast<TunnelIndex>(from_.tunnels().size());
    for (const Tunnel& after : to_.tunnels()) {
      if (after.index == kNoTunnel) continue;
      const Tunnel* before = from_.find_tunnel(after.name);
      Tunnel numbered = after;
      numbered.index = before == nullptr ? beyond++ : before->index;
      indices_[after.name] = numbered.index;
      if (before == nullptr) {
        change_.tunnels.push_back({.before = {}, .after = std::move(numbered)});
      } else if (*before != numbered) {
        change_.tunnels.push_back({.before = *before, .after = std::move(numbered)});
      }
    }
    for (const Tunnel& before : from_.tunnels()) {
      if (before.index == kNoTunnel) continue;
      if (indices_.emplace(before.name, before.index).second) {
        change_.tunnels.push_back({.before = before, .after = {}});
      }
    }
  }

  void peers_of(const State& state, uint32_t Both::* slot_of) {
    for (uint32_t s = state.next_peer(0); s != kNoSlot; s = state.next_peer(s + 1)) {
      const Peer& peer = state.peer(s);
      const std::string& tunnel = state.tunnel(peer.tunnel).name;
      Both& both = peers_[{tunnel, peer.public_key}];
      both.*slot_of = s;
      both.tunnel = indices_.at(tunnel);
    }
  }

  // Ids are never given twice: one of `to` that `from` has is the same peer's, and any other is nobody's there.
  PeerId id_of(const Both& both) const {
    return both.from != kNoSlot ? from_.peer(both.from).id : to_.peer(both.to).id;
  }
  PeerId id_of(const State& state, const Claim* claim) const {
    if (claim == nullptr) return kNoPeerId;
    const Peer& peer = state.peer(claim->peer);
    return id_of(peers_.at({state.tunnel(peer.tunnel).name, peer.public_key}));
  }

  void compare(const Both& both) {
    const PeerId id = id_of(both);
    if (both.from == kNoSlot) {
      change_.peers_added.push_back(
          {.id = id, .tunnel = both.tunnel, .attributes = to_.peer(both.to).attributes()});
      return;
    }
    PeerAttributes before = from_.peer(both.from).attributes();
    if (both.to == kNoSlot) {
      change_.peers_removed.push_back(
          {.id = id, .tunnel = both.tunnel, .attributes = std::move(before)});
      return;
    }
    PeerAttributes after = to_.peer(both.to).attributes();
    after.origin = before.origin;  // no edit changes it
    if (before == after) return;
    change_.peers_changed.push_back(
        {.id = id, .tunnel = both.tunnel, .before = std::move(before), .after = std::move(after)});
  }

  const Claim* owner_in(const State& state, const std::string& tunnel, const Prefix& prefix) const {
    const Tunnel* found = state.find_tunnel(tunnel);
    return found == nullptr ? nullptr : state.owner(found->index, prefix);
  }

  void add_prefix(const std::string& tunnel, const Prefix& prefix) {
    const Claim* before = owner_in(from_, tunnel, prefix);
    const Claim* after = owner_in(to_, tunnel, prefix);
    const PeerId old_owner = id_of(from_, before);
    const PeerId new_owner = id_of(to_, after);
    if (old_owner == new_owner) return;
    change_.prefixes.push_back({.tunnel = indices_.at(tunnel),
                                .prefix = prefix,
                                .old_owner = old_owner,
                                .new_owner = new_owner,
                                .old_origin = before == nullptr ? Origin::Api : before->origin,
                                .new_origin = after == nullptr ? Origin::Api : after->origin});
  }

  static const Claim* dormant_in(const State& state, uint32_t slot, const Prefix& prefix) {
    return slot == kNoSlot ? nullptr : state.dormant(slot, prefix);
  }

  void compare_claims(const Both& both) {
    if (both.from != kNoSlot) {
      const Peer& peer = from_.peer(both.from);
      const std::string& tunnel = from_.tunnel(peer.tunnel).name;
      from_.for_each_claim(both.from, [&](const Claim& claim) {
        if (peer.enabled) {
          add_prefix(tunnel, claim.prefix);
        } else if (both.to != kNoSlot && dormant_in(to_, both.to, claim.prefix) == nullptr) {
          add_dormant(both, claim, false);
        }
      });
    }
    if (both.to != kNoSlot) {
      const Peer& peer = to_.peer(both.to);
      const std::string& tunnel = to_.tunnel(peer.tunnel).name;
      to_.for_each_claim(both.to, [&](const Claim& claim) {
        if (peer.enabled) {
          // With an owner before, the walk over `from` has it.
          if (owner_in(from_, tunnel, claim.prefix) == nullptr) add_prefix(tunnel, claim.prefix);
        } else if (dormant_in(from_, both.from, claim.prefix) == nullptr) {
          add_dormant(both, claim, true);
        }
      });
    }
  }

  void add_dormant(const Both& both, const Claim& claim, bool noted) {
    change_.dormant.push_back(
        {.peer = id_of(both), .prefix = claim.prefix, .origin = claim.origin, .noted = noted});
  }

  const State& from_;
  const State& to_;
  Change change_;
  std::map<std::string, TunnelIndex> indices_;  // in the change
  std::map<Name, Both> peers_;
};

}  // namespace

Result<Transaction, Refusal> rollback(const State& now, std::span<const Transaction> ways_back) {
  if (ways_back.empty() || now.generation() == 0) return Transaction{};
  const std::set<Name> touched = touched_peers(now, ways_back);
  const State before = copy_of(now, touched);
  State after = copy_of(now, touched);
  for (const Transaction& way : ways_back) {
    auto change = plan(after, way);
    if (!change) return fail(std::move(change.error()));
    after.apply(*change);
  }
  return undo(after, Comparison(after, before).run());
}

}  // namespace turnpike::state

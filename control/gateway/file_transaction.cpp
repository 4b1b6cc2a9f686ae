#include "control/gateway/file_transaction.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "dataplane/crypto/x25519.h"

namespace turnpike::gateway {
namespace {

using config::Location;
using state::Edit;
using state::Op;

std::shared_ptr<const state::Tunnel> tunnel_of(const config::Tunnel& tunnel) {
  auto out = std::make_shared<state::Tunnel>();
  out->name = tunnel.name;
  out->conflicts = tunnel.conflicts == config::ConflictPolicy::Move ? state::ConflictPolicy::Move
                                                                    : state::ConflictPolicy::Refuse;
  out->listen_port = tunnel.listen_port;
  out->private_key = tunnel.private_key;
  out->public_key = crypto::public_key(tunnel.private_key);
  return out;
}

PresharedKey preshared_key_of(const config::Peer& peer) {
  return peer.preshared_key.value_or(PresharedKey{});
}

// What is different; all of it when there is no peer before.
state::PeerPatch patch_between(const config::Peer* before, const config::Peer& after) {
  const config::Peer none{};
  const config::Peer& old = before != nullptr ? *before : none;
  state::PeerPatch patch;
  if (old.name != after.name) patch.name = after.name;
  if (old.description != after.description) patch.description = after.description;
  if (preshared_key_of(old) != preshared_key_of(after)) {
    patch.preshared_key = preshared_key_of(after);
  }
  if (old.endpoint != after.endpoint) patch.endpoint = after.endpoint;
  if (old.persistent_keepalive != after.persistent_keepalive) {
    patch.persistent_keepalive = after.persistent_keepalive;
  }
  if (old.enabled != after.enabled) patch.enabled = after.enabled;
  return patch;
}

// The difference of one tunnel that is in both files, or new.
class TunnelDifference {
 public:
  TunnelDifference(const config::Tunnel* before, const config::Tunnel& after, FileTransaction& out)
      : before_(before), after_(after), out_(out) {
    new_peers_.reserve(after.peers.size());
    for (const config::Peer& peer : after.peers) new_peers_.emplace(peer.public_key, &peer);
    if (before == nullptr) return;
    old_peers_.reserve(before->peers.size());
    for (const config::Peer& peer : before->peers) old_peers_.emplace(peer.public_key, &peer);
  }

  void emit() {
    if (before_ != nullptr) {
      for (const config::Peer& peer : before_->peers) {
        const auto stays = new_peers_.find(peer.public_key);
        if (stays == new_peers_.end()) {
          add(Op::PeerRemove, peer.public_key, Location{});
        } else {
          note_released(peer, *stays->second);
        }
      }
    }
    for (const config::Peer& peer : after_.peers) {
      const auto old = old_peers_.find(peer.public_key);
      emit_peer(old == old_peers_.end() ? nullptr : old->second, peer);
    }
    // What nobody takes in this file.
    for (const Released& released : released_) {
      if (!released.taken) add(Op::Release, released.by, Location{}).prefixes = {released.prefix};
    }
  }

 private:
  // By a peer that stays. A disabled peer may list what another one has: both may let it go.
  struct Released {
    Prefix prefix;
    PublicKey by;
    bool owned = false;  // it was enabled
    bool taken = false;
  };

  Edit& add(Op op, const PublicKey& peer, Location at) {
    Edit edit;
    edit.op = op;
    edit.origin = state::Origin::File;
    edit.tunnel = after_.name;
    edit.peer = peer;
    out_.add(std::move(edit), at);
    return out_.transaction.edits.back();
  }

  static bool lists(const config::Peer& peer, const Prefix& prefix) {
    return std::ranges::any_of(peer.allowed_ips,
                               [&](const config::AllowedIp& ip) { return ip.prefix == prefix; });
  }

  // Whether a peer lists a prefix; for long lists by a set of them.
  class List {
   public:
    explicit List(const config::Peer* peer) : peer_(peer) {
      if (peer == nullptr || peer->allowed_ips.size() <= kShort) return;
      for (const config::AllowedIp& ip : peer->allowed_ips) set_.insert(ip.prefix);
    }
    [[nodiscard]] bool has(const Prefix& prefix) const {
      if (peer_ == nullptr) return false;
      return set_.empty() ? lists(*peer_, prefix) : set_.contains(prefix);
    }

   private:
    static constexpr size_t kShort = 16;
    const config::Peer* peer_;
    std::unordered_set<Prefix> set_;
  };

  void note_released(const config::Peer& before, const config::Peer& after) {
    const List kept(&after);
    for (const config::AllowedIp& ip : before.allowed_ips) {
      if (kept.has(ip.prefix)) continue;
      by_prefix_.emplace(ip.prefix, released_.size());
      released_.push_back({.prefix = ip.prefix, .by = before.public_key, .owned = before.enabled});
    }
  }

  // Who hands `prefix` over: of those that let it go, the one that owned it.
  Released* giver_of(const Prefix& prefix) {
    const auto [first, last] = by_prefix_.equal_range(prefix);
    for (auto at = first; at != last; ++at) {
      Released& released = released_[at->second];
      if (released.owned && !released.taken) return &released;
    }
    return nullptr;
  }

  void emit_peer(const config::Peer* before, const config::Peer& after) {
    const List had(before);
    std::vector<Prefix> claimed;
    Location first_claim = after.at;
    std::vector<std::pair<const config::AllowedIp*, PublicKey>> moved;
    for (const config::AllowedIp& ip : after.allowed_ips) {
      if (had.has(ip.prefix)) continue;
      // A disabled peer notes a prefix and takes it from nobody.
      Released* giver = after.enabled ? giver_of(ip.prefix) : nullptr;
      if (giver != nullptr) {
        giver->taken = true;
        moved.emplace_back(&ip, giver->by);
      } else {
        if (claimed.empty()) first_claim = ip.at;
        claimed.push_back(ip.prefix);
      }
    }
    const state::PeerPatch patch = patch_between(before, after);
    if (before == nullptr) {
      Edit& edit = add(Op::PeerAdd, after.public_key, after.at);
      edit.public_key = after.public_key;
      edit.patch = patch;
      edit.prefixes = std::move(claimed);
    } else {
      if (patch != state::PeerPatch{}) add(Op::PeerSet, after.public_key, after.at).patch = patch;
      if (!claimed.empty()) {
        add(Op::Claim, after.public_key, first_claim).prefixes = std::move(claimed);
      }
    }
    // A prefix that one peer of the file lost and another got is a hand-over: one edit, one snapshot.
    for (const auto& [ip, giver] : moved) {
      Edit& edit = add(Op::Move, giver, ip->at);
      edit.to = after.public_key;
      edit.prefixes = {ip->prefix};
    }
  }

  const config::Tunnel* before_;
  const config::Tunnel& after_;
  FileTransaction& out_;
  std::unordered_map<PublicKey, const config::Peer*> old_peers_, new_peers_;
  std::vector<Released> released_;
  std::unordered_multimap<Prefix, size_t> by_prefix_;  // into released_
};

const config::Tunnel* find(const config::Config& config, const std::string& name) {
  for (const config::Tunnel& tunnel : config.tunnels) {
    if (tunnel.name == name) return &tunnel;
  }
  return nullptr;
}

}  // namespace

FileTransaction difference(const config::Config& before, const config::Config& after) {
  FileTransaction out;
  out.file = after.file;
  const auto add = [&](Op op, const config::Tunnel& tunnel, Location at) {
    Edit edit;
    edit.op = op;
    edit.origin = state::Origin::File;
    edit.tunnel = tunnel.name;
    if (op != Op::TunnelRemove) edit.new_tunnel = tunnel_of(tunnel);
    out.add(std::move(edit), at);
  };
  for (const config::Tunnel& tunnel : before.tunnels) {
    if (find(after, tunnel.name) == nullptr) add(Op::TunnelRemove, tunnel, Location{});
  }
  for (const config::Tunnel& tunnel : after.tunnels) {
    const config::Tunnel* old = find(before, tunnel.name);
    const Location at = tunnel.places.of("name");
    if (old == nullptr) {
      add(Op::TunnelAdd, tunnel, at);
    } else if (auto was = tunnel_of(*old); *was != *tunnel_of(tunnel)) {
      out.tunnels_before.emplace(tunnel.name, std::move(was));
      add(Op::TunnelSet, tunnel, at);
    }
    TunnelDifference(old, tunnel, out).emit();
  }
  return out;
}

std::vector<config::ConfigError> errors_of(const state::Refusal& refusal,
                                           const FileTransaction& transaction,
                                           const config::Config& after) {
  // Where each prefix stands, for conflicts that name one.
  std::map<std::pair<std::string, Prefix>, Location> places;
  std::unordered_set<Prefix> wanted;
  for (const state::Conflict& conflict : refusal.conflicts) {
    if (conflict.prefix) wanted.insert(*conflict.prefix);
  }
  for (const config::Tunnel& tunnel : after.tunnels) {
    if (wanted.empty()) break;
    for (const config::Peer& peer : tunnel.peers) {
      for (const config::AllowedIp& ip : peer.allowed_ips) {
        if (wanted.contains(ip.prefix)) places.emplace(std::pair(tunnel.name, ip.prefix), ip.at);
      }
    }
  }
  std::vector<config::ConfigError> errors;
  for (const state::Conflict& conflict : refusal.conflicts) {
    Location at =
        conflict.edit < transaction.at.size() ? transaction.at[conflict.edit] : Location{};
    if (conflict.prefix) {
      const auto place = places.find({conflict.tunnel, *conflict.prefix});
      if (place != places.end()) at = place->second;
    }
    errors.push_back({.file = transaction.file,
                      .line = at.line,
                      .column = at.column,
                      .path = "tunnel " + conflict.tunnel,
                      .message = state::describe(conflict)});
  }
  return errors;
}

}  // namespace turnpike::gateway

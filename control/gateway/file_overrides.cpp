#include "control/gateway/file_overrides.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace turnpike::gateway {
namespace {

using config::Location;
using state::Edit;
using state::kNoSlot;
using state::Op;

std::string name_of(const config::Peer& peer, const state::State& state, uint32_t slot) {
  if (!peer.name.empty()) return peer.name;
  return slot == kNoSlot ? state::label(state::PeerSelector(peer.public_key))
                         : state::label(state.peer(slot));
}

// Keys whose lines are the same in both files, and the state says otherwise.
struct Changed {
  std::string keys;
  void add(const char* key, bool same_line, bool differs) {
    if (same_line && differs) keys += (keys.empty() ? "" : ", ") + std::string(key);
  }
};

// Edits of the file, one after the other, into those that the state still needs.
class Adapter {
 public:
  Adapter(FileTransaction file, const state::State& state) : file_(std::move(file)), state_(state) {
    out_.transaction.file = file_.file;
    out_.transaction.transaction.if_generation = file_.transaction.if_generation;
    out_.transaction.transaction.comment = file_.transaction.comment;
  }

  Adapted run() {
    for (size_t i = 0; i < file_.transaction.edits.size(); ++i) {
      Edit& edit = file_.transaction.edits[i];
      const Location at = file_.at[i];
      const state::Tunnel* tunnel = state_.find_tunnel(edit.tunnel);
      if (edit.op >= Op::TunnelAdd) {
        tunnel_edit(std::move(edit), tunnel, at);
      } else if (tunnel == nullptr) {
        keep(std::move(edit), at);  // of a tunnel that this very file adds
      } else {
        peer_edit(std::move(edit), *tunnel, at);
      }
    }
    return std::move(out_);
  }

 private:
  void keep(Edit edit, Location at) { out_.transaction.add(std::move(edit), at); }

  void note(const Edit& edit, Location at, std::string what) {
    out_.notes.push_back({.file = file_.file,
                          .line = at.line,
                          .column = at.column,
                          .path = "tunnel " + edit.tunnel,
                          .message = std::move(what)});
  }

  void tunnel_edit(Edit edit, const state::Tunnel* present, Location at) {
    if (edit.op == Op::TunnelRemove) {
      if (present != nullptr) keep(std::move(edit), at);
      return;
    }
    if (present == nullptr) return keep(std::move(edit), at);
    // Only what is different between the files: wg(8) may have set the rest.
    const auto before = file_.tunnels_before.find(edit.tunnel);
    if (before != file_.tunnels_before.end()) {
      const state::Tunnel& was = *before->second;
      const state::Tunnel& asked = *edit.new_tunnel;
      auto merged = std::make_shared<state::Tunnel>(*present);
      if (was.conflicts != asked.conflicts) merged->conflicts = asked.conflicts;
      if (was.listen_port != asked.listen_port) merged->listen_port = asked.listen_port;
      if (was.public_key != asked.public_key) {
        merged->private_key = asked.private_key;
        merged->public_key = asked.public_key;
      }
      edit.new_tunnel = std::move(merged);
    }
    edit.op = Op::TunnelSet;
    keep(std::move(edit), at);
  }

  void peer_edit(Edit edit, const state::Tunnel& tunnel, Location at) {
    const uint32_t slot = edit.op == Op::PeerAdd ? state_.find_peer(tunnel.index, edit.public_key)
                                                 : state_.select_peer(tunnel.index, edit.peer);
    switch (edit.op) {
      case Op::PeerAdd:
        return slot == kNoSlot ? keep(std::move(edit), at) : take_over(std::move(edit), at);
      case Op::PeerRemove:
        if (slot == kNoSlot) {
          return note(edit, at,
                      "peer " + state::label(edit.peer) + " was removed at run time already");
        }
        return keep(std::move(edit), at);
      case Op::Release:
        return release(std::move(edit), tunnel, slot, at);
      case Op::Move:
        return move(std::move(edit), tunnel, slot, at);
      default:
        return keep(std::move(edit), at);
    }
  }

  // What was added at run time and is in the file from now on.
  void take_over(Edit edit, Location at) {
    Edit set = edit;
    set.op = Op::PeerSet;
    set.prefixes.clear();
    keep(std::move(set), at);
    if (edit.prefixes.empty()) return;
    edit.op = Op::Claim;
    edit.patch.reset();
    keep(std::move(edit), at);
  }

  void release(Edit edit, const state::Tunnel& tunnel, uint32_t slot, Location at) {
    std::vector<Prefix> held;
    for (const Prefix& prefix : edit.prefixes) {
      if (holds(tunnel.index, slot, prefix)) {
        held.push_back(prefix);
      } else if (const state::Claim* claim = state_.owner(tunnel.index, prefix)) {
        note(edit, at,
             to_string(prefix) + " stays with " + state::label(state_.peer(claim->peer)) +
                 ", who got it at run time");
      }
    }
    if (held.empty()) return;
    edit.prefixes = std::move(held);
    keep(std::move(edit), at);
  }

  // One prefix, as the difference makes it.
  void move(Edit edit, const state::Tunnel& tunnel, uint32_t giver, Location at) {
    const Prefix& prefix = edit.prefixes.front();
    const state::Claim* claim = state_.owner(tunnel.index, prefix);
    if (claim != nullptr && claim->peer == giver) return keep(std::move(edit), at);
    if (holds(tunnel.index, giver, prefix)) {  // disabled at run time: it owns nothing
      Edit forget = edit;
      forget.op = Op::Release;
      forget.to = {};
      keep(std::move(forget), at);
    }
    // The taker has it already, nobody has it, or a third one, who then is the conflict.
    edit.op = Op::Claim;
    edit.peer = std::exchange(edit.to, {});
    keep(std::move(edit), at);
  }

  [[nodiscard]] bool holds(TunnelIndex tunnel, uint32_t slot, const Prefix& prefix) const {
    if (slot == kNoSlot) return false;
    if (!state_.peer(slot).enabled) return state_.dormant(slot, prefix) != nullptr;
    const state::Claim* claim = state_.owner(tunnel, prefix);
    return claim != nullptr && claim->peer == slot;
  }

  FileTransaction file_;
  const state::State& state_;
  Adapted out_;
};

}  // namespace

Adapted adapt(FileTransaction file, const state::State& state) {
  return Adapter(std::move(file), state).run();
}

OverrideScan::OverrideScan(std::shared_ptr<const config::Config> before,
                           std::shared_ptr<const config::Config> after)
    : before_(std::move(before)), after_(std::move(after)) {
  for (const config::Tunnel& tunnel : after_->tunnels) {
    const auto old = std::ranges::find(before_->tunnels, tunnel.name, &config::Tunnel::name);
    if (old == before_->tunnels.end()) continue;
    tunnels_.push_back({&*old, &tunnel});
    std::unordered_map<PublicKey, const config::Peer*> peers;
    peers.reserve(old->peers.size());
    for (const config::Peer& peer : old->peers) peers.emplace(peer.public_key, &peer);
    pairs_.reserve(pairs_.size() + tunnel.peers.size());
    for (const config::Peer& peer : tunnel.peers) {
      const auto found = peers.find(peer.public_key);
      if (found != peers.end()) pairs_.push_back({&tunnel, found->second, &peer});
    }
  }
}

bool OverrideScan::step(const state::State& state, size_t peers) {
  for (const TunnelPair& pair : std::exchange(tunnels_, {})) look(state, pair);
  const size_t end = std::min(pairs_.size(), at_ + peers);
  for (; at_ < end; ++at_) look(state, pairs_[at_]);
  return at_ < pairs_.size();
}

void OverrideScan::note(const config::Tunnel& tunnel, Location at, std::string what) {
  if (found_.size() >= kOverridesShownMax) {
    ++more_;
    return;
  }
  found_.push_back({.file = after_->file,
                    .line = at.line,
                    .column = at.column,
                    .path = "tunnel " + tunnel.name,
                    .message = std::move(what)});
}

void OverrideScan::look(const state::State& state, const TunnelPair& pair) {
  const config::Tunnel& before = *pair.before;
  const config::Tunnel& after = *pair.after;
  const state::Tunnel* tunnel = state.find_tunnel(after.name);
  if (tunnel == nullptr) return note(after, after.places.mapping(), "it was removed at run time");
  const bool may_move = after.conflicts == config::ConflictPolicy::Move;
  Changed changed;
  changed.add("private_key", before.private_key == after.private_key,
              tunnel->private_key != after.private_key);
  changed.add("listen_port", before.listen_port == after.listen_port,
              tunnel->listen_port != after.listen_port);
  changed.add("conflicts", before.conflicts == after.conflicts,
              (tunnel->conflicts == state::ConflictPolicy::Move) != may_move);
  if (!changed.keys.empty()) {
    note(after, after.places.mapping(), changed.keys + " was changed at run time");
  }
}

void OverrideScan::look(const state::State& state, const Pair& pair) {
  const config::Peer& before = *pair.before;
  const config::Peer& after = *pair.after;
  const state::Tunnel* tunnel = state.find_tunnel(pair.tunnel->name);
  if (tunnel == nullptr) return;
  const uint32_t slot = state.find_peer(tunnel->index, after.public_key);
  if (slot == kNoSlot) {
    return note(*pair.tunnel, after.at,
                "peer " + name_of(after, state, slot) + " was removed at run time");
  }
  const state::Peer& peer = state.peer(slot);
  Changed changed;
  changed.add("name", before.name == after.name, peer.name.view() != after.name);
  changed.add("description", before.description == after.description,
              peer.description.view() != after.description);
  changed.add("preshared_key", before.preshared_key == after.preshared_key,
              peer.preshared_key != after.preshared_key.value_or(PresharedKey{}));
  changed.add("endpoint", before.endpoint == after.endpoint, peer.endpoint != after.endpoint);
  changed.add("persistent_keepalive", before.persistent_keepalive == after.persistent_keepalive,
              peer.persistent_keepalive != after.persistent_keepalive);
  changed.add("enabled", before.enabled == after.enabled, peer.enabled != after.enabled);
  if (!changed.keys.empty()) {
    note(*pair.tunnel, after.at,
         changed.keys + " of peer " + name_of(after, state, slot) + " was changed at run time");
  }
  for (const config::AllowedIp& ip : after.allowed_ips) {
    const bool in_both = std::ranges::any_of(
        before.allowed_ips, [&](const config::AllowedIp& old) { return old.prefix == ip.prefix; });
    if (!in_both) continue;
    const state::Claim* claim = state.owner(tunnel->index, ip.prefix);
    if (peer.enabled ? claim != nullptr && claim->peer == slot
                     : state.dormant(slot, ip.prefix) != nullptr) {
      continue;
    }
    note(*pair.tunnel, ip.at,
         to_string(ip.prefix) +
             (claim == nullptr
                  ? " of peer " + name_of(after, state, slot) + " was released at run time"
                  : " is " + state::label(state.peer(claim->peer)) + "'s by an edit at run time"));
  }
}

std::vector<config::ConfigError> OverrideScan::take() {
  if (more_ != 0) {
    found_.push_back({.file = after_->file,
                      .message = "and " + std::to_string(more_) + " more lines are overridden"});
  }
  return std::exchange(found_, {});
}

}  // namespace turnpike::gateway

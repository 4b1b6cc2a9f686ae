#include <algorithm>
#include <map>
#include <unordered_map>

#include "control/api/wg_protocol.h"

namespace turnpike::api {
namespace {

using state::Edit;
using state::kNoSlot;
using state::Op;
using state::State;
using state::Transaction;

// What all blocks of one key come to.
struct Wanted {
  PublicKey key;
  uint32_t slot = kNoSlot;     // of the peer before; kNoSlot: there is none
  bool exists = false;         // as the blocks so far have it
  bool enabled_before = false;
  bool gone = false;  // removed by a block or by replace_peers, unless it exists in the end
  bool reset = false;  // attributes that are not given are the default, not what they were
  bool replace = false;  // prefixes that are not given go
  state::PeerPatch patch;
  std::map<Prefix, bool> prefixes;  // true: wanted, false: not
  size_t last_block = 0;
};

class Translator {
 public:
  Translator(const State& state, const state::Tunnel& tunnel, const WgRequest& request)
      : state_(state), tunnel_(tunnel), request_(request) {}

  Transaction run() {
    transaction_.follow_policy = true;
    own_key_ = tunnel_.public_key;
    set_tunnel();
    for (size_t i = 0; i < request_.peers.size(); ++i) read_block(request_.peers[i], i);
    if (request_.replace_peers) remove_unnamed();
    // Of two that take one prefix the later block wins where the policy lets it, so that is the order.
    std::vector<const Wanted*> order;
    for (const auto& [key, wanted] : wanted_) order.push_back(&wanted);
    std::ranges::sort(order, {}, &Wanted::last_block);
    for (const Wanted* wanted : order) write_edits(*wanted);
    return std::move(transaction_);
  }

 private:
  void set_tunnel() {
    state::Tunnel next = tunnel_;
    if (request_.private_key) {
      next.private_key = *request_.private_key;
      next.public_key = request_.public_key;
    }
    // 0 lets us pick, and what we have is as good as any.
    if (request_.listen_port && *request_.listen_port != 0)
      next.listen_port = *request_.listen_port;
    if (request_.fwmark) next.fwmark = *request_.fwmark;
    if (next == tunnel_) return;
    own_key_ = next.public_key;
    transaction_.edits.push_back({.op = Op::TunnelSet,
                                  .tunnel = tunnel_.name,
                                  .new_tunnel = std::make_shared<const state::Tunnel>(next)});
    // A peer may not have the tunnel's own key; the kernel removes it, too.
    if (state_.find_peer(tunnel_.index, own_key_) != kNoSlot) {
      push(Op::PeerRemove, own_key_);
    }
  }

  Wanted& wanted(const PublicKey& key) {
    const auto [at, made] = wanted_.try_emplace(key);
    Wanted& w = at->second;
    if (made) {
      w.key = key;
      w.slot = state_.find_peer(tunnel_.index, key);
      w.enabled_before = w.slot != kNoSlot && state_.peer(w.slot).enabled;
      w.exists = w.enabled_before && !request_.replace_peers;
      w.gone = w.enabled_before && request_.replace_peers;
      w.reset = w.replace = !w.exists;
    }
    return w;
  }

  void read_block(const WgPeer& block, size_t number) {
    if (block.public_key == own_key_) return;
    Wanted& w = wanted(block.public_key);
    if (block.update_only && !w.exists) return;
    w.last_block = number;
    if (block.remove) {
      w.exists = false;
      w.gone = w.reset = w.replace = true;
      w.patch = {};
      w.prefixes.clear();
      return;
    }
    w.exists = true;
    if (block.preshared_key) w.patch.preshared_key = block.preshared_key;
    if (block.endpoint) w.patch.endpoint = block.endpoint;
    if (block.persistent_keepalive) w.patch.persistent_keepalive = block.persistent_keepalive;
    if (block.replace_allowed_ips) {
      w.replace = true;
      w.prefixes.clear();
    }
    for (const WgPeer::AllowedIp& allowed : block.allowed_ips) {
      w.prefixes[allowed.prefix] = !allowed.remove;
    }
  }

  void remove_unnamed() {
    for (uint32_t s = state_.next_peer(0); s != kNoSlot; s = state_.next_peer(s + 1)) {
      const state::Peer& peer = state_.peer(s);
      if (peer.tunnel != tunnel_.index || !peer.enabled) continue;
      if (peer.public_key == own_key_ || wanted_.contains(peer.public_key)) continue;
      push(Op::PeerRemove, peer.public_key);
    }
  }

  Edit& push(Op op, const PublicKey& key) {
    transaction_.edits.push_back({.op = op, .tunnel = tunnel_.name, .peer = key});
    return transaction_.edits.back();
  }

  void write_edits(const Wanted& w) {
    if (!w.exists) {
      if (w.slot != kNoSlot && w.gone) push(Op::PeerRemove, w.key);
      return;
    }
    std::vector<Prefix> takes, gives;
    for (const auto& [prefix, wanted] : w.prefixes) (wanted ? takes : gives).push_back(prefix);
    if (w.slot == kNoSlot) {
      Edit& edit = push(Op::PeerAdd, w.key);
      edit.public_key = w.key;
      edit.patch = w.patch;
      edit.prefixes = std::move(takes);
      return;
    }
    set_peer(w);
    if (w.replace) {
      push(Op::Replace, w.key).prefixes = std::move(takes);
      return;
    }
    std::erase_if(gives, [&](const Prefix& prefix) {
      const state::Claim* claim = state_.owner(tunnel_.index, prefix);
      return claim == nullptr || claim->peer != w.slot;
    });
    if (!gives.empty()) push(Op::Release, w.key).prefixes = std::move(gives);
    if (!takes.empty()) push(Op::Claim, w.key).prefixes = std::move(takes);
  }

  void set_peer(const Wanted& w) {
    state::PeerPatch patch = w.patch;
    if (w.reset) {  // what a new peer would have; name and description are not wg's
      if (!patch.preshared_key) patch.preshared_key = PresharedKey();
      if (!patch.endpoint) patch.endpoint = Endpoint{};
      if (!patch.persistent_keepalive) patch.persistent_keepalive = 0;
    }
    if (!w.enabled_before) patch.enabled = true;
    // Nothing to set: no edit, since a hundred thousand of them would cost.
    const state::Peer& peer = state_.peer(w.slot);
    if (patch.preshared_key == peer.preshared_key) patch.preshared_key.reset();
    if (patch.endpoint == peer.endpoint) patch.endpoint.reset();
    if (patch.persistent_keepalive == peer.persistent_keepalive) patch.persistent_keepalive.reset();
    if (patch == state::PeerPatch{}) return;
    push(Op::PeerSet, w.key).patch = std::move(patch);
  }

  const State& state_;
  const state::Tunnel& tunnel_;
  const WgRequest& request_;
  PublicKey own_key_;
  std::unordered_map<PublicKey, Wanted> wanted_;
  Transaction transaction_;
};

}  // namespace

Transaction wg_transaction(const State& state, const std::string& tunnel,
                           const WgRequest& request) {
  if (const state::Tunnel* found = state.find_tunnel(tunnel)) {
    return Translator(state, *found, request).run();
  }
  Transaction unknown;
  unknown.edits.push_back({.op = Op::TunnelSet, .tunnel = tunnel});
  return unknown;
}

}  // namespace turnpike::api

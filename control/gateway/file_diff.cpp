#include "control/gateway/file_diff.h"

#include <unordered_map>
#include <utility>

namespace turnpike::gateway {
namespace {

class Maker {
 public:
  Maker(const state::State& state, const state::Change& change,
        const std::function<bool(PeerId)>& has_session)
      : state_(state), change_(change), has_session_(has_session) {}

  FileDiff run() {
    out_.generation = state_.generation();
    out_.topology = change_.topology;
    for (const state::TunnelChange& tunnel : change_.tunnels) add(tunnel);
    for (const state::PeerAdded& peer : change_.peers_added) {
      labels_.emplace(peer.id, state::label(peer.attributes));
      out_.peers.push_back({.kind = DiffKind::Added,
                            .tunnel = name_of(peer.tunnel),
                            .peer = state::label(peer.attributes),
                            .public_key = peer.attributes.public_key,
                            .keys = {}});
    }
    for (const state::PeerRemoved& peer : change_.peers_removed) {
      out_.peers.push_back({.kind = DiffKind::Removed,
                            .tunnel = name_of(peer.tunnel),
                            .peer = state::label(peer.attributes),
                            .public_key = peer.attributes.public_key,
                            .keys = {}});
      session(peer.id, peer.tunnel, true, "the peer is removed");
    }
    for (const state::PeerChanged& peer : change_.peers_changed) add(peer);
    for (const state::PrefixChange& prefix : change_.prefixes) {
      out_.prefixes.push_back({.tunnel = name_of(prefix.tunnel),
                               .prefix = prefix.prefix,
                               .from = label_of(prefix.old_owner),
                               .to = label_of(prefix.new_owner)});
    }
    out_.taken_over += change_.origins.size();
    out_.changed = out_.topology || !out_.tunnels.empty() || !out_.peers.empty() ||
                   !out_.prefixes.empty() || !change_.dormant.empty();
    return std::move(out_);
  }

 private:
  std::string name_of(TunnelIndex index) const {
    if (index < state_.tunnels().size() && state_.tunnel(index).index != kNoTunnel) {
      return state_.tunnel(index).name;
    }
    for (const state::TunnelChange& tunnel : change_.tunnels) {
      if (tunnel.after.index == index) return tunnel.after.name;
    }
    return "";
  }

  std::string label_of(PeerId id) const {
    if (id == state::kNoPeerId) return "";
    const uint32_t slot = state_.find_peer(id);
    if (slot != state::kNoSlot) return state::label(state_.peer(slot));
    const auto added = labels_.find(id);
    return added == labels_.end() ? "" : added->second;
  }

  void session(PeerId id, TunnelIndex tunnel, bool ends, std::string why) {
    if (!has_session_(id)) return;
    out_.sessions.push_back(
        {.tunnel = name_of(tunnel), .peer = label_of(id), .ends = ends, .why = std::move(why)});
  }

  void add(const state::TunnelChange& tunnel) {
    const state::Tunnel& before = tunnel.before;
    const state::Tunnel& after = tunnel.after;
    if (before.index == kNoTunnel || after.index == kNoTunnel) {
      const bool added = before.index == kNoTunnel;
      out_.tunnels.push_back({.kind = added ? DiffKind::Added : DiffKind::Removed,
                              .name = added ? after.name : before.name,
                              .keys = {}});
      return;
    }
    std::vector<std::string> keys;
    if (before.listen_port != after.listen_port) keys.emplace_back("listen_port");
    if (before.conflicts != after.conflicts) keys.emplace_back("conflicts");
    if (before.public_key != after.public_key) {
      keys.emplace_back("private_key");
      for (uint32_t slot = state_.next_peer(0); slot != state::kNoSlot;
           slot = state_.next_peer(slot + 1)) {
        const state::Peer& peer = state_.peer(slot);
        if (peer.tunnel != before.index) continue;
        session(peer.id, peer.tunnel, false, "the tunnel has a new key");
      }
    }
    out_.tunnels.push_back(
        {.kind = DiffKind::Changed, .name = after.name, .keys = std::move(keys)});
  }

  void add(const state::PeerChanged& peer) {
    const state::PeerAttributes& before = peer.before;
    const state::PeerAttributes& after = peer.after;
    std::vector<std::string> keys;
    const auto compare = [&](const char* key, const auto& old, const auto& now) {
      if (!(old == now)) keys.emplace_back(key);
    };
    compare("name", before.name, after.name);
    compare("description", before.description, after.description);
    compare("preshared_key", before.preshared_key, after.preshared_key);
    compare("endpoint", before.endpoint, after.endpoint);
    compare("persistent_keepalive", before.persistent_keepalive, after.persistent_keepalive);
    compare("enabled", before.enabled, after.enabled);
    if (keys.empty()) {
      ++out_.taken_over;
      return;
    }
    compare("origin", before.origin, after.origin);
    out_.peers.push_back({.kind = DiffKind::Changed,
                          .tunnel = name_of(peer.tunnel),
                          .peer = state::label(after),
                          .public_key = after.public_key,
                          .keys = std::move(keys)});
    if (before.enabled && !after.enabled) {
      session(peer.id, peer.tunnel, true, "the peer is disabled");
    } else if (!(before.preshared_key == after.preshared_key)) {
      session(peer.id, peer.tunnel, false, "the peer has another preshared key");
    }
  }

  const state::State& state_;
  const state::Change& change_;
  const std::function<bool(PeerId)>& has_session_;
  std::unordered_map<PeerId, std::string> labels_;  // of peers that are added
  FileDiff out_;
};

}  // namespace

FileDiff diff_of(const state::State& state, const state::Change& change,
                 const std::function<bool(PeerId)>& has_session) {
  return Maker(state, change, has_session).run();
}

}  // namespace turnpike::gateway

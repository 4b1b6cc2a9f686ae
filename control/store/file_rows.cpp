#include "control/store/file_rows.h"

#include <algorithm>
#include <unordered_map>

namespace turnpike::store {
namespace {

using PeersByKey = std::unordered_map<PublicKey, const config::Peer*>;

PeersByKey index(const config::Tunnel* tunnel) {
  PeersByKey peers;
  if (tunnel == nullptr) return peers;
  peers.reserve(tunnel->peers.size());
  for (const config::Peer& peer : tunnel->peers) peers.emplace(peer.public_key, &peer);
  return peers;
}

const config::Tunnel* find(const config::Config& config, const std::string& name) {
  const auto found = std::ranges::find(config.tunnels, name, &config::Tunnel::name);
  return found == config.tunnels.end() ? nullptr : &*found;
}

}  // namespace

FileRows file_rows(const config::Config& before, const config::Config& after) {
  FileRows rows;
  for (const config::Tunnel& tunnel : before.tunnels) {
    if (find(after, tunnel.name) == nullptr) rows.tunnels.push_back({tunnel.name, {}});
  }
  for (const config::Tunnel& tunnel : after.tunnels) {
    const config::Tunnel* old = find(before, tunnel.name);
    Buffer body = encode(tunnel);
    if (old == nullptr || encode(*old) != body) {
      rows.tunnels.push_back({tunnel.name, std::move(body)});
    }
    const PeersByKey had = index(old);
    for (const config::Peer& peer : tunnel.peers) {
      const auto was = had.find(peer.public_key);
      if (was != had.end() && *was->second == peer) continue;
      rows.peers.push_back({tunnel.name, peer.public_key, encode(peer)});
    }
    if (old == nullptr) continue;
    const PeersByKey has = index(&tunnel);
    for (const config::Peer& peer : old->peers) {
      if (!has.contains(peer.public_key)) rows.peers.push_back({tunnel.name, peer.public_key, {}});
    }
  }
  return rows;
}

}  // namespace turnpike::store

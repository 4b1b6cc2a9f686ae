// What a transaction does to a state, worked out and judged: the difference, and nothing but it. It tells
// the data plane what to publish, the store what to write and apply() what to do.
#pragma once

#include <cstdint>
#include <vector>

#include "control/state/peer.h"

namespace turnpike::state {

struct PeerAdded {
  PeerId id = kNoPeerId;
  TunnelIndex tunnel = kNoTunnel;
  PeerAttributes attributes;
  uint32_t edit = 0;
};

struct PeerRemoved {
  PeerId id = kNoPeerId;
  TunnelIndex tunnel = kNoTunnel;
  PeerAttributes attributes;  // as they were
};

struct PeerChanged {
  PeerId id = kNoPeerId;
  TunnelIndex tunnel = kNoTunnel;
  PeerAttributes before;
  PeerAttributes after;  // public_key is the same
};

// Another owner. Every prefix of a removed or disabled peer is among these.
struct PrefixChange {
  TunnelIndex tunnel = kNoTunnel;
  Prefix prefix;
  PeerId old_owner = kNoPeerId;
  PeerId new_owner = kNoPeerId;
  Origin old_origin = Origin::Api;
  Origin new_origin = Origin::Api;
};

// A prefix that a disabled peer will claim when it is enabled was noted or forgotten. Nothing for the data
// plane.
struct DormantChange {
  PeerId peer = kNoPeerId;
  Prefix prefix;
  Origin origin = Origin::Api;
  bool noted = false;
};

// The file now lists what the API had claimed. Nothing for the data plane.
struct OriginChange {
  PeerId peer = kNoPeerId;
  Prefix prefix;
  Origin before = Origin::Api;
  Origin after = Origin::File;
};

struct TunnelChange {
  Tunnel before;  // index kNoTunnel: it is new
  Tunnel after;  // index kNoTunnel: it goes
};

struct Change {
  Generation base = 0;  // of the state that it was planned on
  PeerId next_peer_id{1};  // after it
  std::vector<TunnelChange> tunnels;
  std::vector<PeerAdded> peers_added;
  std::vector<PeerRemoved> peers_removed;
  std::vector<PeerChanged> peers_changed;
  std::vector<PrefixChange> prefixes;  // each (tunnel, prefix) once
  std::vector<DormantChange> dormant;
  std::vector<OriginChange> origins;
  // Routes, addresses or MTUs are others: they are not state, but a new snapshot needs a generation.
  bool topology = false;

  // The transaction asked for what is so already: nothing to publish, the generation stays.
  [[nodiscard]] bool empty() const noexcept {
    return tunnels.empty() && peers_added.empty() && peers_removed.empty() &&
           peers_changed.empty() && prefixes.empty() && dormant.empty() && origins.empty() &&
           !topology;
  }
};

}  // namespace turnpike::state

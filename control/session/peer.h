// All that the session thread knows of one peer beyond its slot.
//   Threads: the session thread.
#pragma once

#include <cstdint>
#include <optional>

#include "control/session/keypair_store.h"
#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/publish/peer_slots.h"
#include "dataplane/wireguard/handshake.h"
#include "dataplane/wireguard/timers.h"

namespace turnpike::session {

// A peer as control gives it.
struct PeerSettings {
  PeerRef ref;  // the incarnation is not 0
  TunnelIndex tunnel = kNoTunnel;
  PublicKey public_key;
  PresharedKey preshared_key;
  std::optional<Endpoint> endpoint;
  uint16_t persistent_keepalive_seconds = 0;
  // From the last run: our newest initiation's timestamp (or a mark ahead of it), and the peer's.
  WallTime last_sent;
  wireguard::Tai64n latest_received;
};

// What is set is changed.
struct PeerChange {
  std::optional<PresharedKey> preshared_key;
  std::optional<Endpoint> endpoint;
  std::optional<uint16_t> persistent_keepalive_seconds;
};

// What control cannot read from the slot.
struct PeerStatus {
  std::optional<Endpoint> endpoint;
  bool handshake_in_flight = false;
  size_t held_packets = 0;
  WallTime last_sent;
  wireguard::Tai64n latest_received;
};

struct Peer {
  PeerRef ref;
  TunnelIndex tunnel = kNoTunnel;
  uint16_t persistent_keepalive_seconds = 0;
  WorkerIndex worker =
      0;  // the one that last had to do with the peer; it sends what we have to send

  wireguard::PeerHandshake handshake;
  // in_flight here is the timer's view: whether the initiation is still to be repeated. The state of an
  // initiation in `handshake` may outlive it: a late response is as good.
  wireguard::HandshakeProgress progress;
  // What another thread computes is for the acceptance, or the attempt, that it began with.
  uint64_t acceptances = 0;  // initiations of the peer accepted, and changes of its keys
  uint64_t attempts = 0;  // initiations of ours given up or followed by another
  PeerKeypairs keypairs;

  Endpoint remote;  // none: unknown
  IpAddress local;  // the address that the peer last spoke to (sticky source); none: by the route
  IpAddress source;  // what packets carry: `local`, or the route's choice
  publish::NeighbourIndex first_hop = publish::kNoNeighbour;

  // A handshake is wanted as soon as kRekeyTimeout lets it; any new session satisfies it.
  bool wants_handshake = false;
  bool wants_keepalive = false;
  bool endpoint_stale = false;  // the endpoint in the slot is to be worked out again
  bool queued = false;  // in Session::changed_
  bool received_noted = false;  // in Session::received_
};

}  // namespace turnpike::session

// One committed state as the workers see it: immutable, with a generation. All packets of a burst see one. Where tables
// have several copies there is one for each, of the same generation; roots alone differ.
//   Threads:   built and retired by control; read by workers and session threads between two begin()s.
//   Ownership: control's; roots and spans in it live as long as the snapshot.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"
#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/publish/route_table.h"

namespace turnpike::publish {

struct TunnelView {
  lookup::RootV4 allowed_v4;
  lookup::RootV6 allowed_v6;
  RouteTable local;  // the tunnel's own addresses (Local) only
  PortIndex outside = kNoPort;
  PortIndex inside = kNoPort;
  uint16_t listen_port = 0;
  uint16_t mtu_bytes = 1420;  // of inner packets
  bool peer_to_peer = true;
  bool active = false;  // false: the slot is empty
};

struct PortView {
  RouteTable routes;
  uint16_t mtu_bytes = 1500;
  MacAddress mac;
  // Tunnels whose inside is this port, in their order; and whose outside is.
  std::array<TunnelIndex, kMaxTunnels> inside_of{};
  std::array<TunnelIndex, kMaxTunnels> outside_of{};
  uint16_t inside_count = 0;
  uint16_t outside_count = 0;
};

struct Snapshot {
  Generation generation = 0;
  uint16_t tunnel_count = 0;
  uint8_t port_count = 0;
  std::array<TunnelView, kMaxTunnels> tunnels;
  std::array<PortView, kMaxPorts> ports;
};

}  // namespace turnpike::publish

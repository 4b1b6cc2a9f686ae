// Ports and tunnels as the data plane needs them, made from the configuration: what a snapshot has beside
// the allowed IPs.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"

namespace turnpike::gateway {

struct Route {
  Prefix to;
  IpAddress via;
  friend bool operator==(const Route&, const Route&) = default;
};

struct PortTopology {
  std::string name;
  MacAddress mac;
  uint16_t mtu_bytes = 1500;
  std::vector<InterfaceAddress> addresses;
  std::vector<Route> routes;
  friend bool operator==(const PortTopology&, const PortTopology&) = default;
};

struct TunnelTopology {
  std::string name;
  PortIndex outside = kNoPort;
  PortIndex inside = kNoPort;
  uint16_t mtu_bytes = 1420;
  bool peer_to_peer = true;
  std::vector<InterfaceAddress> addresses;
  friend bool operator==(const TunnelTopology&, const TunnelTopology&) = default;
};

struct Topology {
  std::vector<PortTopology> ports;  // by PortIndex, the order of the configuration
  std::vector<TunnelTopology> tunnels;  // found by name: a TunnelIndex is the state's to give
  friend bool operator==(const Topology&, const Topology&) = default;
};

// `macs` by PortIndex, as the ports that were opened have them.
[[nodiscard]] Topology topology_of(const config::Config& config,
                                   const std::vector<MacAddress>& macs);

// `next`, and after it the tunnels that only `running` has: should a rollback bring one of them back, it finds
// its ports and addresses. Without its peers and its key such an entry means nothing.
[[nodiscard]] Topology with_removed_tunnels(Topology next, const Topology& running);

}  // namespace turnpike::gateway

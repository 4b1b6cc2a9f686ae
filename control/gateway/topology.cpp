#include "control/gateway/topology.h"

#include <algorithm>
#include <iterator>

#include "dataplane/base/check.h"

namespace turnpike::gateway {
namespace {

std::vector<InterfaceAddress> values_of(const std::vector<config::OwnAddress>& addresses) {
  std::vector<InterfaceAddress> values;
  for (const config::OwnAddress& address : addresses) values.push_back(address.value);
  return values;
}

PortIndex index_of(const config::Config& config, const std::string& port) {
  for (size_t i = 0; i < config.ports.size(); ++i) {
    if (config.ports[i].name == port) return static_cast<PortIndex>(i);
  }
  CHECK(false);  // the loader promises that it exists
}

}  // namespace

Topology topology_of(const config::Config& config, const std::vector<MacAddress>& macs) {
  CHECK(macs.size() == config.ports.size());
  Topology topology;
  for (size_t i = 0; i < config.ports.size(); ++i) {
    const config::Port& port = config.ports[i];
    PortTopology out{.name = port.name,
                     .mac = macs[i],
                     .mtu_bytes = port.mtu,
                     .addresses = values_of(port.addresses),
                     .routes = {}};
    for (const config::Route& route : port.routes) {
      out.routes.push_back({.to = route.to, .via = route.via});
    }
    topology.ports.push_back(std::move(out));
  }
  for (const config::Tunnel& tunnel : config.tunnels) {
    topology.tunnels.push_back({.name = tunnel.name,
                                .outside = index_of(config, tunnel.outside),
                                .inside = index_of(config, tunnel.inside),
                                .mtu_bytes = tunnel.mtu,
                                .peer_to_peer = tunnel.peer_to_peer,
                                .addresses = values_of(tunnel.addresses)});
  }
  return topology;
}

Topology with_removed_tunnels(Topology next, const Topology& running) {
  Topology merged{.ports = std::move(next.ports), .tunnels = {}};
  // In the order that runs, so that what is the same compares equal.
  for (const TunnelTopology& tunnel : running.tunnels) {
    const auto found = std::ranges::find(next.tunnels, tunnel.name, &TunnelTopology::name);
    if (found == next.tunnels.end()) {
      merged.tunnels.push_back(tunnel);
    } else {
      merged.tunnels.push_back(std::move(*found));
      next.tunnels.erase(found);
    }
  }
  std::ranges::move(next.tunnels, std::back_inserter(merged.tunnels));
  return merged;
}

}  // namespace turnpike::gateway

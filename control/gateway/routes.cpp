#include "control/gateway/routes.h"

#include "dataplane/base/link_local.h"

namespace turnpike::gateway {

using publish::NextHop;
using publish::NextHopKind;

void Routes::add(const Prefix& to, const NextHop& hop) {
  const auto number = static_cast<PeerIndex>(next_hops_.size());
  next_hops_.push_back(hop);
  (to.address.is_v4() ? edits_v4_ : edits_v6_).push_back({.prefix = to, .peer = number});
}

void Routes::add_own(const IpAddress& address) {
  add(Prefix::masked(address, address.width_bits()),
      {.kind = NextHopKind::Local, .via = {}, .source = address});
}

void Routes::add_subnet(const InterfaceAddress& own) {
  const Prefix subnet = own.subnet();
  add(subnet, {.kind = NextHopKind::OnLink, .via = {}, .source = own.address});
  // RFC 1122 3.2.1.3: all-ones and all-zeros hosts are broadcast; RFC 3021: not on a /31.
  if (!own.address.is_v4() || own.length > 30) return;
  const uint32_t network = subnet.address.v4_host_order();
  const uint32_t hosts = own.length == 0 ? ~0u : ~0u >> own.length;
  for (const uint32_t unroutable : {network, network | hosts}) {
    add(Prefix::masked(IpAddress::v4(unroutable), 32), {.kind = NextHopKind::Unroutable});
  }
}

bool Routes::build(const PortTopology& port, const std::vector<IpAddress>& of_tunnels) {
  const IpAddress link_local = link_local_address(port.mac);
  const auto source_for = [&](const IpAddress& via) {
    for (const InterfaceAddress& own : port.addresses) {
      if (own.subnet().contains(via)) return own.address;
    }
    for (const InterfaceAddress& own : port.addresses) {
      if (own.address.family == via.family) return own.address;
    }
    return via.is_v6() ? link_local : IpAddress{};
  };
  // Later entries win over earlier ones of the same prefix.
  for (const Route& route : port.routes) {
    add(route.to, {.kind = NextHopKind::Via, .via = route.via, .source = source_for(route.via)});
  }
  for (const InterfaceAddress& own : port.addresses) add_subnet(own);
  add_subnet({.address = link_local, .length = 64});
  for (const InterfaceAddress& own : port.addresses) add_own(own.address);
  for (const IpAddress& address : of_tunnels) add_own(address);
  add_own(link_local);
  return finish();
}

bool Routes::build(const TunnelTopology& tunnel) {
  for (const InterfaceAddress& own : tunnel.addresses) add_own(own.address);
  return finish();
}

bool Routes::finish() {
  if (!v4_.prepare(edits_v4_)) return false;
  if (!v6_.prepare(edits_v6_)) {
    v4_.abort();
    return false;
  }
  // A table is built once: nothing old can be in use.
  v4_.reclaim(v4_.commit());
  v6_.reclaim(v6_.commit());
  edits_v4_ = {};
  edits_v6_ = {};
  return true;
}

std::shared_ptr<const TopologyRoutes> build_routes(const Topology& topology,
                                                   const ReplicaPages& pages) {
  auto routes = std::make_shared<TopologyRoutes>();
  for (size_t port = 0; port < topology.ports.size(); ++port) {
    std::vector<IpAddress> of_tunnels;
    for (const TunnelTopology& tunnel : topology.tunnels) {
      if (tunnel.inside != port) continue;
      for (const InterfaceAddress& own : tunnel.addresses) of_tunnels.push_back(own.address);
    }
    routes->ports.push_back(std::make_unique<Routes>(pages));
    if (!routes->ports.back()->build(topology.ports[port], of_tunnels)) return nullptr;
  }
  for (const TunnelTopology& tunnel : topology.tunnels) {
    routes->tunnels.push_back(std::make_unique<Routes>(pages));
    if (!routes->tunnels.back()->build(tunnel)) return nullptr;
  }
  return routes;
}

}  // namespace turnpike::gateway

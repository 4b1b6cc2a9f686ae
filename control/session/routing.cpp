#include "control/session/routing.h"

#include <algorithm>
#include <vector>

#include "control/session/frames.h"
#include "dataplane/base/link_local.h"

namespace turnpike::session {

using publish::NextHop;
using publish::NextHopKind;

namespace {

const NextHop* find(const publish::RouteTable& table, const IpAddress& address) noexcept {
  PeerIndex value[1] = {kNoPeer};
  if (address.is_v4()) {
    const uint32_t key[1] = {address.v4_host_order()};
    lookup::lookup_burst(table.v4, key, value);
  } else if (address.is_v6()) {
    const lookup::Ipv6Key key[1] = {
        {.high = load_be64(&address.bytes[0]), .low = load_be64(&address.bytes[8])}};
    lookup::lookup_burst(table.v6, key, value);
  }
  return value[0] < table.next_hops.size() ? &table.next_hops[value[0]] : nullptr;
}

bool is_usable_port(const publish::Snapshot& snapshot, PortIndex port) noexcept {
  return port < snapshot.port_count;
}

}  // namespace

Hop route(const publish::Snapshot& snapshot, PortIndex port,
          const IpAddress& destination) noexcept {
  if (!is_usable_port(snapshot, port) || destination.is_none() || destination.is_multicast() ||
      destination.is_unspecified() || destination.is_broadcast() || destination.is_loopback()) {
    return {};
  }
  const publish::PortView& view = snapshot.ports[port];
  if (destination.is_v6() && destination.is_link_local()) {
    const IpAddress ours = link_local_address(view.mac);
    if (destination == ours) return {.kind = NextHopKind::Local, .source = ours};
    return {.kind = NextHopKind::OnLink, .neighbour = destination, .source = ours};
  }
  const NextHop* hop = find(view.routes, destination);
  if (hop == nullptr) return {};
  Hop result{.kind = hop->kind, .source = hop->source};
  if (hop->kind == NextHopKind::OnLink) result.neighbour = destination;
  if (hop->kind == NextHopKind::Via) result.neighbour = hop->via;
  if (result.source.family != destination.family) result.source = {};
  return result;
}

bool is_local(const publish::Snapshot& snapshot, PortIndex port,
              const IpAddress& address) noexcept {
  return route(snapshot, port, address).kind == NextHopKind::Local;
}

bool is_tunnel_local(const publish::TunnelView& tunnel, const IpAddress& address) noexcept {
  const NextHop* hop = find(tunnel.local, address);
  return hop != nullptr && hop->kind == NextHopKind::Local;
}

void for_each_local_address(const publish::Snapshot& snapshot, PortIndex port,
                            const std::function<void(const IpAddress&)>& visit) {
  std::vector<IpAddress> seen;
  bool has_v6 = false;
  for (const NextHop& hop : snapshot.ports[port].routes.next_hops) {
    has_v6 = has_v6 || hop.source.is_v6();
    if (std::ranges::find(seen, hop.source) != seen.end()) continue;
    if (!is_local(snapshot, port, hop.source)) continue;
    seen.push_back(hop.source);
    visit(hop.source);
  }
  const IpAddress link_local = link_local_address(snapshot.ports[port].mac);
  if (has_v6 && std::ranges::find(seen, link_local) == seen.end()) visit(link_local);
}

bool same_routes(const publish::PortView& a, const publish::PortView& b) noexcept {
  return a.routes.v4.node == b.routes.v4.node && a.routes.v6.node == b.routes.v6.node &&
         a.routes.next_hops.data() == b.routes.next_hops.data() &&
         a.routes.next_hops.size() == b.routes.next_hops.size() && a.mac == b.mac;
}

}  // namespace turnpike::session

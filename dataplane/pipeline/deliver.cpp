// Where decrypted packets of one tunnel go:
//   collect:  destinations; multicast and martians end here
//   look-ups: own addresses of the tunnel, routes of its inside port, allowed IPs
//   decide:   own address -> session thread; host on the inside link -> out there; another peer -> sealed
//             again; the rest -> router inside
//   The inside link comes before the peers, because a branch whose peer owns 0.0.0.0/0 still has its own
//   network. (Peers inside the subnet of that link are out of reach for its hosts, too: nobody answers ARP for
//   them.)
//   forward:  neighbour, Ethernet header, tx
#include "dataplane/pipeline/burst.h"
#include "dataplane/pipeline/outer.h"

namespace turnpike::pipeline {
namespace {

using publish::NextHop;
using publish::NextHopKind;
using publish::PuntKind;
using publish::TunnelView;

void collect(Burst& burst, Lanes& lanes) noexcept {
  burst.addresses.clear();
  lanes.filter([&](Lane lane) {
    const uint8_t* ip = burst.packets[lane].data;
    if (ip_version(ip) == 4) {
      const uint32_t address = ipv4_destination(ip);
      if (ipv4_is_unicast(address)) [[likely]] {
        burst.addresses.add_v4(lane, address);
        return true;
      }
      burst.drop(lane, ipv4_is_multicast(address) ? DropReason::InnerMulticast
                                                  : DropReason::MartianDestination);
      return false;
    }
    const lookup::Ipv6Key address = ipv6_key(ipv6_destination(ip));
    // Hosts inside trust what says to come from their own link (RFC 4291, 2.5.6).
    if (ipv6_is_link_local(address)) [[unlikely]] {
      return burst.drop(lane, DropReason::NotForwarded), false;
    }
    if (!ipv6_is_multicast(address) && !ipv6_is_reserved(address)) [[likely]] {
      burst.addresses.add_v6(lane, address);
      return true;
    }
    burst.drop(lane, ipv6_is_multicast(address) ? DropReason::InnerMulticast
                                                : DropReason::MartianDestination);
    return false;
  });
}

// One of the gateway's own addresses: echo requests are answered by the session thread, nothing else
// listens.
void end_local(Burst& burst, Lane lane) noexcept {
  const uint8_t* ip = burst.packets[lane].data;
  const bool v4 = ip_version(ip) == 4;
  const bool icmp = ip[v4 ? 9 : 6] == static_cast<uint8_t>(v4 ? Protocol::Icmp : Protocol::Icmpv6);
  if (!icmp) return burst.drop(lane, DropReason::LocalUnwanted);
  if (v4 && ipv4_is_fragment(ip)) return burst.drop(lane, DropReason::Fragment);
  punt_inner(burst, lane, PuntKind::TunnelLocal);
}

[[nodiscard]] bool may_go_to_peer(Burst& burst, Lane lane, const TunnelView& tunnel) noexcept {
  if (!tunnel.peer_to_peer) {
    return burst.drop(lane, DropReason::PeerToPeerForbidden), false;
  }
  return may_forward(burst, lane, tunnel.mtu_bytes);
}

void forward(Burst& burst, Lane lane, PortIndex to, const NextHop& hop) noexcept {
  const publish::PortView& port = burst.snapshot->ports[to];
  if (!may_forward(burst, lane, port.mtu_bytes)) return;
  Packet& packet = burst.packets[lane];
  const bool v4 = ip_version(packet.data) == 4;
  const IpAddress next =
      hop.kind == NextHopKind::Via ? hop.via : ip_destination(packet.data);
  const publish::NeighbourIndex index = burst.shared.neighbours.find(to, next);
  MacAddress mac;
  if (index == publish::kNoNeighbour || !burst.shared.neighbours[index].mac(mac)) [[unlikely]] {
    return punt_neighbour(burst, lane, to, next);
  }
  note_neighbour_used(burst.shared.neighbours[index], burst.now);
  packet.push_front(kEthernetBytes);
  write_ethernet(packet.data, mac, port.mac, v4 ? kEtherTypeIpv4 : kEtherTypeIpv6);
  packet.offload_checksums = false;
  burst.transmit(lane, to);
}

[[nodiscard]] bool is_kind(const NextHop* hop, NextHopKind kind) noexcept {
  return hop != nullptr && hop->kind == kind;
}

// Neither ours nor on the inside link. True: seal it again, for burst.peer[lane].
[[nodiscard]] bool decide(Burst& burst, Lane lane, const TunnelView& tunnel,
                          const NextHop* hop) noexcept {
  const PeerIndex owner = burst.found[lane];
  const bool back = owner == burst.from[lane].index;
  if (owner != kNoPeer && !back) {
    burst.peer[lane] = owner;
    return may_go_to_peer(burst, lane, tunnel);
  }
  if (is_kind(hop, NextHopKind::Via)) return forward(burst, lane, tunnel.inside, *hop), false;
  // What would go back to where it came from is a loop between two routing tables, ours and the peer's,
  // and dies here instead of by its TTL.
  if (back) return burst.drop(lane, DropReason::NotForwarded), false;
  if (hop != nullptr) return burst.drop(lane, DropReason::MartianDestination), false;
  return drop_undeliverable(burst, lane, DropReason::NoRoute), false;
}

}  // namespace

void deliver(Burst& burst, TunnelIndex index, Lanes& lanes) noexcept {
  const TunnelView& tunnel = burst.snapshot->tunnels[index];
  static constexpr publish::RouteTable kNoRoutes;
  const publish::RouteTable& routes =
      tunnel.inside == kNoPort ? kNoRoutes : burst.snapshot->ports[tunnel.inside].routes;
  collect(burst, lanes);
  if (lanes.empty()) return;
  PerLane<uint32_t> local;
  burst.look_up(tunnel.local.v4, tunnel.local.v6);
  local = burst.found;
  PerLane<uint32_t> route;
  burst.look_up(routes.v4, routes.v6);
  route = burst.found;
  burst.look_up(tunnel.allowed_v4, tunnel.allowed_v6);

  Lanes to_peers;
  for (const Lane lane : lanes) {
    const NextHop* hop = Burst::next_hop(routes, route[lane]);
    if (is_kind(Burst::next_hop(tunnel.local, local[lane]), NextHopKind::Local) ||
        is_kind(hop, NextHopKind::Local)) {
      end_local(burst, lane);
    } else if (is_kind(hop, NextHopKind::OnLink)) {
      forward(burst, lane, tunnel.inside, *hop);
    } else if (decide(burst, lane, tunnel, hop)) {
      to_peers.push(lane);
    }
  }
  send_to_peers(burst, to_peers);
}

}  // namespace turnpike::pipeline

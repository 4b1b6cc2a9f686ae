// Where decrypted packets of one tunnel go:
//   collect:  destinations; multicast and martians end here
//   look-ups: own addresses of the tunnel, routes of its inside port; allowed IPs, if any goes elsewhere
//   decide:   own address -> session thread; host on the inside link -> out there; another peer -> sealed
//             again; the rest -> router inside
//   The inside link comes before the peers, because a branch whose peer owns 0.0.0.0/0 still has its own
//   network. (Peers inside the subnet of that link are out of reach for its hosts, too: nobody answers ARP for
//   them.)
//   forward:  TTL, MTU, neighbour, Ethernet header, tx
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
  return may_forward(burst, lane, {.mtu_bytes = tunnel.mtu_bytes});
}

// Straight out of the packet: bytes that are written to memory and read as words at once wait for each other.
[[nodiscard]] publish::AddressWords destination_words(const uint8_t* ip) noexcept {
  if (ip_version(ip) == 4) return {Family::V4, load_le32(ip + 16), 0};
  return {Family::V6, load_le64(ip + 24), load_le64(ip + 32)};
}

// What goes out on the inside port.
struct Forwarding {
  explicit Forwarding(PortIndex to) noexcept : port(to) {}
  PortIndex port;
  Lanes lanes;
  PerLane<const NextHop*> via;  // by lane; nullptr where the destination itself is the neighbour

  void add(Lane lane, const NextHop* router) noexcept {
    via[lane] = router;
    lanes.push(lane);
  }
};

// The MAC of `next_hop` as Neighbour::mac_word has it, or 0 when it is not known.
[[nodiscard]] uint64_t mac_word_of(Burst& burst, PortIndex port,
                                   const publish::AddressWords& next_hop) noexcept {
  publish::NeighbourTable& neighbours = burst.shared.neighbours;
  const publish::NeighbourIndex index = neighbours.find(port, next_hop);
  if (index == publish::kNoNeighbour) return 0;
  const uint64_t word = neighbours[index].mac_word.load(std::memory_order_relaxed);
  if ((word & publish::Neighbour::kMacKnown) == 0) return 0;
  note_neighbour_used(neighbours[index], burst.now);
  return word;
}

void forward(Burst& burst, const Forwarding& inside) noexcept {
  if (inside.lanes.empty()) return;
  const publish::PortView& port = burst.snapshot->ports[inside.port];
  const uint64_t source = mac_word(port.mac);
  // The neighbour of the packet before: packets of one flow follow each other, and most have one router.
  publish::AddressWords last{Family::None, 0, 0};
  uint64_t last_mac_word = 0;
  Lanes ready;
  for (const Lane lane : inside.lanes) {
    const IpAddress* router = inside.via[lane] != nullptr ? &inside.via[lane]->via : nullptr;
    if (!may_forward(burst, lane,
                     {.mtu_bytes = port.mtu_bytes, .port = inside.port, .next_hop = router})) {
      continue;
    }
    Packet& packet = burst.packets[lane];
    const publish::AddressWords next_hop =
        router != nullptr ? publish::AddressWords::of(*router) : destination_words(packet.data);
    if (next_hop != last) {
      last = next_hop;
      last_mac_word = mac_word_of(burst, inside.port, next_hop);
    }
    if (last_mac_word == 0) [[unlikely]] {
      punt_neighbour(burst, lane, inside.port,
                     router != nullptr ? *router : ip_destination(packet.data));
      continue;
    }
    const uint16_t type = ip_version(packet.data) == 4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
    packet.extend(kEthernetBytes, 0);
    packet.offload_checksums = false;
    write_ethernet(packet.data, last_mac_word, source, type);
    ready.push(lane);
  }
  burst.transmit(ready, inside.port);
}

[[nodiscard]] bool is_kind(const NextHop* hop, NextHopKind kind) noexcept {
  return hop != nullptr && hop->kind == kind;
}

// Neither ours nor on the inside link. True: seal it again, for burst.peer[lane].
[[nodiscard]] bool decide(Burst& burst, Lane lane, const TunnelView& tunnel, const NextHop* hop,
                          Forwarding& inside) noexcept {
  const PeerIndex owner = burst.found[lane];
  const bool back = owner == burst.from[lane].index;
  if (owner != kNoPeer && !back) {
    burst.peer[lane] = owner;
    return may_go_to_peer(burst, lane, tunnel);
  }
  if (is_kind(hop, NextHopKind::Via)) return inside.add(lane, hop), false;
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
  const bool any_local = !tunnel.local.next_hops.empty();
  if (any_local) burst.look_up(tunnel.local.v4, tunnel.local.v6, local);
  PerLane<uint32_t> route;
  burst.look_up(routes.v4, routes.v6, route);
  const auto is_local = [&](Lane lane) {
    return is_kind(Burst::next_hop(routes, route[lane]), NextHopKind::Local) ||
           (any_local && is_kind(Burst::next_hop(tunnel.local, local[lane]), NextHopKind::Local));
  };
  Forwarding inside(tunnel.inside);
  Lanes others;
  for (const Lane lane : lanes) {
    if (is_kind(Burst::next_hop(routes, route[lane]), NextHopKind::OnLink) && !is_local(lane)) {
      inside.add(lane, nullptr);
    } else {
      others.push(lane);
    }
  }
  Lanes to_peers;
  // The owners of destinations: where all are on the inside link, nobody asks.
  if (!others.empty()) burst.look_up(tunnel.allowed_v4, tunnel.allowed_v6, burst.found);
  for (const Lane lane : others) {
    if (is_local(lane)) {
      end_local(burst, lane);
    } else if (decide(burst, lane, tunnel, Burst::next_hop(routes, route[lane]), inside)) {
      to_peers.push(lane);
    }
  }
  forward(burst, inside);
  send_to_peers(burst, to_peers);
}

}  // namespace turnpike::pipeline

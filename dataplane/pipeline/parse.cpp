// Frames as a port received them, sorted by what they are for:
//   parse_frames:   Ethernet, ARP, IP headers, martians, multicast; collects destinations
//   route:          one batched look-up: ours, or of somebody else
//   sort_local:     for one of our addresses: WireGuard messages, ICMP
//   what is left:   packets of the plain side
#include "dataplane/pipeline/burst.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::pipeline {
namespace {

using publish::NextHopKind;
using publish::PortView;
using publish::PuntKind;

// Frames ahead whose first line is asked for.
constexpr size_t kPrefetchAhead = 4;

constexpr uint8_t kNeighbourSolicitation = 135;     // RFC 4861, 4.3
constexpr size_t kNeighbourSolicitationBytes = 24;  // without options; the target is at 8

[[nodiscard]] bool is_icmp(const uint8_t* ip) noexcept {
  return ip_version(ip) == 4 ? ip[9] == static_cast<uint8_t>(Protocol::Icmp)
                             : ip[6] == static_cast<uint8_t>(Protocol::Icmpv6);
}

void punt_icmp(Burst& burst, Lane lane) noexcept {
  punt(burst, lane, {.kind = PuntKind::PortIcmp, .port = burst.port});
}

[[nodiscard]] bool is_own(const PortView& port, const lookup::Ipv6Key& address) noexcept {
  if (address == ipv6_link_local(port.mac)) return true;
  const lookup::Ipv6Key addresses[1] = {address};
  uint32_t values[1];
  lookup::lookup_burst(port.routes.v6, addresses, values);
  const publish::NextHop* hop = Burst::next_hop(port.routes, values[0]);
  return hop != nullptr && hop->kind == NextHopKind::Local;
}

// Of IPv6's groups we are in two kinds: all nodes, and the solicited-node group of each own address. In the
// latter only solicitations are for us; which address is meant stands in them (RFC 4861, 7.2.3).
void multicast_ipv6(Burst& burst, Lane lane, const uint8_t* ip, size_t length) noexcept {
  const PortView& port = burst.snapshot->ports[burst.port];
  const lookup::Ipv6Key group = ipv6_key(ipv6_destination(ip));
  const bool all_nodes = group == lookup::Ipv6Key{.high = 0xff02'0000'0000'0000, .low = 1};
  const bool solicited_node = group.high == 0xff02'0000'0000'0000 && group.low >> 24 == 0x1'ff;
  const uint8_t* icmp = ip + kIpv6Bytes;
  if (all_nodes && is_icmp(ip)) return punt_icmp(burst, lane);
  if (solicited_node && is_icmp(ip) && length >= kIpv6Bytes + kNeighbourSolicitationBytes &&
      icmp[0] == kNeighbourSolicitation) {
    const lookup::Ipv6Key target = ipv6_key(icmp + 8);
    if (((target.low ^ group.low) & 0xff'ffff) == 0 && is_own(port, target)) {
      return punt_icmp(burst, lane);
    }
  }
  burst.drop(lane, DropReason::Multicast);
}

void parse_ipv4(Burst& burst, Lane lane) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data + kEthernetBytes;
  if (packet.ipv4_checksum == RxChecksum::Bad) [[unlikely]] {
    return burst.drop(lane, DropReason::Ipv4HeaderInvalid);
  }
  const auto total = check_ipv4(ip, packet.length_bytes - kEthernetBytes,
                                packet.ipv4_checksum == RxChecksum::Unknown);
  if (!total) [[unlikely]]
    return burst.drop(lane, DropReason::Ipv4HeaderInvalid);
  packet.truncate(static_cast<uint16_t>(kEthernetBytes + *total));
  const uint32_t destination = ipv4_destination(ip);
  if (!ipv4_is_unicast(ipv4_source(ip))) [[unlikely]] {
    return burst.drop(lane, DropReason::MartianSource);
  }
  if (!ipv4_is_unicast(destination)) [[unlikely]] {
    return burst.drop(lane, ipv4_is_multicast(destination) ? DropReason::Multicast
                                                           : DropReason::MartianDestination);
  }
  // What the link sent to all is not for one address (RFC 1122, 3.3.6), nor to be forwarded (RFC 1812,
  // 5.3.4).
  if ((packet.data[0] & 1) != 0) [[unlikely]]
    return burst.drop(lane, DropReason::FrameNotForUs);
  burst.addresses.add_v4(lane, destination);
}

void parse_ipv6(Burst& burst, Lane lane) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data + kEthernetBytes;
  const auto total = check_ipv6(ip, packet.length_bytes - kEthernetBytes);
  if (!total) [[unlikely]]
    return burst.drop(lane, DropReason::Ipv6HeaderInvalid);
  packet.truncate(static_cast<uint16_t>(kEthernetBytes + *total));
  const lookup::Ipv6Key source = ipv6_key(ipv6_source(ip));
  const lookup::Ipv6Key destination = ipv6_key(ipv6_destination(ip));
  const bool multicast = ipv6_is_multicast(destination);
  // Who looks whether an address is free has none yet (RFC 4862, 5.4.2).
  const bool unspecified_allowed = multicast && source == lookup::Ipv6Key{};
  if (ipv6_is_multicast(source) || (ipv6_is_reserved(source) && !unspecified_allowed))
      [[unlikely]] {
    return burst.drop(lane, DropReason::MartianSource);
  }
  if (ipv6_is_reserved(destination)) [[unlikely]] {
    return burst.drop(lane, DropReason::MartianDestination);
  }
  if (multicast) return multicast_ipv6(burst, lane, ip, *total);
  if ((packet.data[0] & 1) != 0) [[unlikely]]
    return burst.drop(lane, DropReason::FrameNotForUs);
  burst.addresses.add_v6(lane, destination);
}

void parse_frame(Burst& burst, Lane lane, uint64_t own_mac) noexcept {
  const Packet& packet = burst.packets[lane];
  if (packet.multi_segment) [[unlikely]]
    return burst.drop(lane, DropReason::FrameMultiSegment);
  if (packet.length_bytes < kEthernetBytes) [[unlikely]] {
    return burst.drop(lane, DropReason::FrameTooShort);
  }
  if ((load_le64(packet.data) & kMacMask) != own_mac && (packet.data[0] & 1) == 0) [[unlikely]] {
    return burst.drop(lane, DropReason::FrameNotForUs);
  }
  switch (load_le16(packet.data + 12)) {
    case kEtherTypeIpv4:
      return parse_ipv4(burst, lane);
    case kEtherTypeIpv6:
      return parse_ipv6(burst, lane);
    case kEtherTypeArp:
      if (packet.length_bytes < kArpFrameBytes) return burst.drop(lane, DropReason::FrameTooShort);
      return punt(burst, lane, {.kind = PuntKind::Arp, .port = burst.port});
    case kEtherTypeVlan:
    case kEtherTypeServiceVlan:
      return burst.drop(lane, DropReason::VlanTagged);
    default:
      return burst.drop(lane, DropReason::EtherTypeUnknown);
  }
}

// The tunnel whose messages come to this UDP port of `port`, or kNoTunnel.
[[nodiscard]] TunnelIndex tunnel_listening(const publish::Snapshot& snapshot, const PortView& port,
                                           uint16_t udp_port) noexcept {
  for (uint16_t i = 0; i < port.outside_count; ++i) {
    if (snapshot.tunnels[port.outside_of[i]].listen_port == udp_port) return port.outside_of[i];
  }
  return kNoTunnel;
}

// A datagram to one of our addresses. True when it is a WireGuard message; else it was dropped.
[[nodiscard]] bool take_udp(Burst& burst, Lane lane, const PortView& port, const uint8_t* ip,
                            uint16_t header_bytes) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* udp = ip + header_bytes;
  const size_t available = packet.length_bytes - kEthernetBytes - header_bytes;
  const auto length = check_udp(udp, available);
  if (!length) [[unlikely]]
    return burst.drop(lane, DropReason::UdpInvalid), false;
  const TunnelIndex tunnel = tunnel_listening(*burst.snapshot, port, load_be16(udp + 2));
  if (tunnel == kNoTunnel) return burst.drop(lane, DropReason::LocalUnwanted), false;
  const bool sum_holds =
      packet.udp_checksum == RxChecksum::Good ||
      (packet.udp_checksum == RxChecksum::Unknown && udp_checksum_holds(ip, udp, *length));
  if (!sum_holds) [[unlikely]]
    return burst.drop(lane, DropReason::UdpInvalid), false;
  // Where a data message has its receiver index; for another it does no harm.
  if (*length >= kUdpBytes + wireguard::kDataHeaderBytes) [[likely]] {
    burst.shared.receivers.prefetch_slot(load_le32(udp + kUdpBytes + 4));
  }
  burst.outer[lane] = ip;
  burst.tunnel[lane] = tunnel;
  packet.narrow(static_cast<uint16_t>(kEthernetBytes + header_bytes + kUdpBytes),
                static_cast<uint16_t>(*length - kUdpBytes));
  return true;
}

void sort_local(Burst& burst, Lane lane, const PortView& port, Lanes& messages) noexcept {
  const uint8_t* ip = burst.packets[lane].data + kEthernetBytes;
  const bool v4 = ip_version(ip) == 4;
  const uint8_t protocol = v4 ? ip[9] : ip[6];
  if (v4 ? ipv4_is_fragment(ip) : protocol == static_cast<uint8_t>(Protocol::Ipv6Fragment)) {
    return burst.drop(lane, DropReason::Fragment);
  }
  if (protocol == static_cast<uint8_t>(Protocol::Udp)) {
    const uint16_t header_bytes = v4 ? ipv4_header_bytes(ip) : kIpv6Bytes;
    if (take_udp(burst, lane, port, ip, header_bytes)) messages.push(lane);
    return;
  }
  if (is_icmp(ip)) return punt_icmp(burst, lane);
  burst.drop(lane, DropReason::LocalUnwanted);
}

// For somebody else. Link-local packets stay on their link (RFC 4291, 2.5.6), but the port has such an
// address itself.
void sort_foreign(Burst& burst, Lane lane, const PortView& port, const publish::NextHop* hop,
                  Lanes& plain, Lanes& messages) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data + kEthernetBytes;
  if (hop != nullptr && hop->kind == NextHopKind::Unroutable) {
    return burst.drop(lane, DropReason::MartianDestination);
  }
  if (ip_version(ip) == 6) {
    const lookup::Ipv6Key destination = ipv6_key(ipv6_destination(ip));
    if (ipv6_is_link_local(destination)) {
      if (destination == ipv6_link_local(port.mac)) return sort_local(burst, lane, port, messages);
      return burst.drop(lane, DropReason::NotForwarded);
    }
    if (ipv6_is_link_local(ipv6_key(ipv6_source(ip)))) {
      return burst.drop(lane, DropReason::NotForwarded);
    }
  }
  if (port.inside_count == 0) return burst.drop(lane, DropReason::NotForwarded);
  packet.pop_front(kEthernetBytes);
  plain.push(lane);
}

}  // namespace

void parse(Burst& burst, size_t count, Lanes& plain, Lanes& messages) noexcept {
  const PortView& port = burst.snapshot->ports[burst.port];
  const uint64_t own_mac = mac_word(port.mac);
  burst.addresses.clear();
  for (size_t i = 0; i < count; ++i) {
    if (i + kPrefetchAhead < count) prefetch(burst.packets[i + kPrefetchAhead].data);
    parse_frame(burst, static_cast<Lane>(i), own_mac);
  }
  burst.look_up(port.routes.v4, port.routes.v6, burst.found);
  const auto sort = [&](Lane lane) {
    const publish::NextHop* hop = Burst::next_hop(port.routes, burst.found[lane]);
    if (hop != nullptr && hop->kind == NextHopKind::Local) {
      sort_local(burst, lane, port, messages);
    } else {
      sort_foreign(burst, lane, port, hop, plain, messages);
    }
  };
  for (const Lane lane : burst.addresses.v4_lanes) sort(lane);
  for (const Lane lane : burst.addresses.v6_lanes) sort(lane);
}

}  // namespace turnpike::pipeline

#include "tests/simulation/packets.h"

#include <algorithm>
#include <cstring>

#include "control/session/frames.h"
#include "control/session/neighbour_messages.h"

namespace turnpike::sim {
namespace {

constexpr uint8_t kProtocolOfInner = 99;  // "any private encryption scheme" (RFC 1700)
constexpr uint8_t kProtocolUdp = 17;

}  // namespace

MacAddress destination_of(Bytes frame) noexcept {
  MacAddress mac;
  std::memcpy(mac.bytes.data(), frame.data(), 6);
  return mac;
}

MacAddress source_of(Bytes frame) noexcept {
  MacAddress mac;
  std::memcpy(mac.bytes.data(), frame.data() + 6, 6);
  return mac;
}

uint16_t ether_type_of(Bytes frame) noexcept { return load_be16(frame.data() + 12); }

Frame make_ip_frame(const MacAddress& to, const MacAddress& from, const IpAddress& source,
                    const IpAddress& destination, Bytes payload) {
  session::Packet packet = session::make_ip_packet(
      {.source = source, .destination = destination, .protocol = kProtocolOfInner}, payload.size());
  std::ranges::copy(payload, packet.end() - static_cast<ptrdiff_t>(payload.size()));
  Frame frame(kEthernetBytes);
  session::write_ethernet(std::span<uint8_t, kEthernetBytes>(frame), to, from,
                          session::ether_type_of(source.family));
  frame.insert(frame.end(), packet.begin(), packet.end());
  return frame;
}

IpAddress ip_destination_of(Bytes frame) noexcept {
  const uint8_t* ip = frame.data() + kEthernetBytes;
  return ether_type_of(frame) == session::kEtherTypeIpv4 ? IpAddress::v4_bytes(ip + 16)
                                                         : IpAddress::v6_bytes(ip + 24);
}

IpAddress ip_source_of(Bytes frame) noexcept {
  const uint8_t* ip = frame.data() + kEthernetBytes;
  return ether_type_of(frame) == session::kEtherTypeIpv4 ? IpAddress::v4_bytes(ip + 12)
                                                         : IpAddress::v6_bytes(ip + 8);
}

bool is_icmp_error(Bytes packet) noexcept {
  if (packet.size() > kIpv4Bytes && packet[0] >> 4 == 4) {
    const uint8_t type = packet[kIpv4Bytes];
    return packet[9] == session::kProtocolIcmp && (type == 3 || type == 11);
  }
  return packet.size() > kIpv6Bytes && packet[0] >> 4 == 6 &&
         packet[6] == session::kProtocolIcmpv6 && packet[kIpv6Bytes] < 128;
}

Bytes udp_payload_of(Bytes frame) noexcept {
  if (frame.size() < kEthernetBytes + kIpv4Bytes + kUdpBytes) return {};
  const Bytes ip = frame.subspan(kEthernetBytes);
  if (ether_type_of(frame) == session::kEtherTypeIpv4 && ip[9] == kProtocolUdp) {
    return ip.subspan(kIpv4Bytes + kUdpBytes);
  }
  if (ether_type_of(frame) == session::kEtherTypeIpv6 && ip[6] == kProtocolUdp &&
      ip.size() >= kIpv6Bytes + kUdpBytes) {
    return ip.subspan(kIpv6Bytes + kUdpBytes);
  }
  return {};
}

std::optional<Frame> host_answer(Bytes frame, const MacAddress& host,
                                 const std::vector<IpAddress>& gateway_addresses) {
  const auto ethernet = session::parse_ethernet(frame);
  if (!ethernet) return std::nullopt;
  const auto is_gateways = [&](const IpAddress& address) {
    return std::ranges::find(gateway_addresses, address) != gateway_addresses.end();
  };
  session::Packet answer;
  if (ethernet->ether_type == session::kEtherTypeArp) {
    const auto arp = session::parse_arp(ethernet->payload);
    if (!arp || arp->operation != session::ArpOperation::Request || is_gateways(arp->target)) {
      return std::nullopt;
    }
    answer = session::write_arp({.operation = session::ArpOperation::Reply,
                                 .sender_mac = host,
                                 .sender = arp->target,
                                 .target_mac = arp->sender_mac,
                                 .target = arp->sender});
  } else if (ethernet->ether_type == session::kEtherTypeIpv6) {
    const auto packet = session::parse_ip_packet(ethernet->payload);
    const auto asked = packet && packet->protocol == session::kProtocolIcmpv6
                           ? session::parse_neighbour_message(*packet)
                           : std::nullopt;
    if (!asked || asked->type != session::NeighbourMessageType::Solicitation ||
        is_gateways(asked->target)) {
      return std::nullopt;
    }
    answer = session::write_neighbour_message({.type = session::NeighbourMessageType::Advertisement,
                                               .source = asked->target,
                                               .destination = asked->source,
                                               .target = asked->target,
                                               .solicited = true,
                                               .override = true,
                                               .link_layer = host});
  } else {
    return std::nullopt;
  }
  Frame out(kEthernetBytes);
  session::write_ethernet(std::span<uint8_t, kEthernetBytes>(out), ethernet->source, host,
                          ethernet->ether_type);
  out.insert(out.end(), answer.begin(), answer.end());
  return out;
}

}  // namespace turnpike::sim

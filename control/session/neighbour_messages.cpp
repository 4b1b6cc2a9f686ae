#include "control/session/neighbour_messages.h"

#include <algorithm>
#include <cstring>

namespace turnpike::session {
namespace {

constexpr size_t kArpBytes = 28;
constexpr uint16_t kHardwareEthernet = 1;

constexpr size_t kNeighbourMessageBytes = 24;
constexpr size_t kLinkLayerOptionBytes = 8;
constexpr uint8_t kHopLimit = 255;  // nothing with less has not been forwarded (RFC 4861, 7.1)
constexpr uint8_t kOptionSourceLinkLayer = 1;
constexpr uint8_t kOptionTargetLinkLayer = 2;
constexpr uint8_t kFlagRouter = 0x80;
constexpr uint8_t kFlagSolicited = 0x40;
constexpr uint8_t kFlagOverride = 0x20;

MacAddress load_mac(const uint8_t* from) noexcept {
  MacAddress mac;
  std::memcpy(mac.bytes.data(), from, 6);
  return mac;
}

// False when an option has no length or runs over the end.
bool read_options(Bytes options, uint8_t wanted, std::optional<MacAddress>& link_layer) noexcept {
  while (!options.empty()) {
    if (options.size() < 2) return false;
    const size_t length = size_t{options[1]} * 8;
    if (length == 0 || length > options.size()) return false;
    if (options[0] == wanted && length == kLinkLayerOptionBytes && !link_layer) {
      link_layer = load_mac(&options[2]);
    }
    options = options.subspan(length);
  }
  return true;
}

bool is_solicited_node_group(const IpAddress& address) noexcept {
  return address == solicited_node_group(address);
}

}  // namespace

std::optional<ArpMessage> parse_arp(Bytes payload) noexcept {
  if (payload.size() < kArpBytes) return std::nullopt;
  if (load_be16(&payload[0]) != kHardwareEthernet || load_be16(&payload[2]) != kEtherTypeIpv4 ||
      payload[4] != 6 || payload[5] != 4) {
    return std::nullopt;
  }
  const uint16_t operation = load_be16(&payload[6]);
  if (operation != 1 && operation != 2) return std::nullopt;
  return ArpMessage{.operation = static_cast<ArpOperation>(operation),
                    .sender_mac = load_mac(&payload[8]),
                    .sender = IpAddress::v4_bytes(&payload[14]),
                    .target_mac = load_mac(&payload[18]),
                    .target = IpAddress::v4_bytes(&payload[24])};
}

Packet write_arp(const ArpMessage& message) {
  Packet out(kArpBytes);
  store_be16(&out[0], kHardwareEthernet);
  store_be16(&out[2], kEtherTypeIpv4);
  out[4] = 6;
  out[5] = 4;
  store_be16(&out[6], static_cast<uint16_t>(message.operation));
  std::memcpy(&out[8], message.sender_mac.bytes.data(), 6);
  std::memcpy(&out[14], message.sender.bytes.data(), 4);
  std::memcpy(&out[18], message.target_mac.bytes.data(), 6);
  std::memcpy(&out[24], message.target.bytes.data(), 4);
  return out;
}

std::optional<NeighbourMessage> parse_neighbour_message(const IpView& packet) noexcept {
  const Bytes body = packet.payload;
  if (!packet.source.is_v6() || packet.protocol != kProtocolIcmpv6 ||
      packet.hop_limit != kHopLimit || body.size() < kNeighbourMessageBytes || body[1] != 0) {
    return std::nullopt;
  }
  if (body[0] != 135 && body[0] != 136) return std::nullopt;
  if (transport_checksum(packet.source, packet.destination, kProtocolIcmpv6, body) != 0) {
    return std::nullopt;
  }
  NeighbourMessage message{.type = static_cast<NeighbourMessageType>(body[0]),
                           .source = packet.source,
                           .destination = packet.destination,
                           .target = IpAddress::v6_bytes(&body[8])};
  const bool solicitation = message.type == NeighbourMessageType::Solicitation;
  if (message.target.is_multicast() || message.target.is_unspecified()) return std::nullopt;
  if (!read_options(body.subspan(kNeighbourMessageBytes),
                    solicitation ? kOptionSourceLinkLayer : kOptionTargetLinkLayer,
                    message.link_layer)) {
    return std::nullopt;
  }
  if (solicitation) {
    if (message.source.is_multicast()) return std::nullopt;
    if (message.source.is_unspecified() &&
        (message.link_layer || !is_solicited_node_group(message.destination))) {
      return std::nullopt;
    }
    return message;
  }
  message.router = (body[4] & kFlagRouter) != 0;
  message.solicited = (body[4] & kFlagSolicited) != 0;
  message.override = (body[4] & kFlagOverride) != 0;
  if (message.solicited && message.destination.is_multicast()) return std::nullopt;
  return message;
}

Packet write_neighbour_message(const NeighbourMessage& message) {
  const size_t bytes = kNeighbourMessageBytes + (message.link_layer ? kLinkLayerOptionBytes : 0);
  Packet packet = make_ip_packet({.source = message.source,
                                  .destination = message.destination,
                                  .protocol = kProtocolIcmpv6,
                                  .hop_limit = kHopLimit},
                                 bytes);
  const bool solicitation = message.type == NeighbourMessageType::Solicitation;
  const MutableBytes body = MutableBytes(packet).subspan(kIpv6HeaderBytes);
  body[0] = static_cast<uint8_t>(message.type);
  if (!solicitation) {
    body[4] = static_cast<uint8_t>((message.router ? kFlagRouter : 0) |
                                   (message.solicited ? kFlagSolicited : 0) |
                                   (message.override ? kFlagOverride : 0));
  }
  std::ranges::copy(message.target.bytes, body.begin() + 8);
  if (message.link_layer) {
    body[24] = solicitation ? kOptionSourceLinkLayer : kOptionTargetLinkLayer;
    body[25] = 1;
    std::ranges::copy(message.link_layer->bytes, body.begin() + 26);
  }
  store_be16(&body[2],
             transport_checksum(message.source, message.destination, kProtocolIcmpv6, body));
  return packet;
}

}  // namespace turnpike::session

#include "control/session/frames.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"

namespace turnpike::session {
namespace {

// `words` as pipeline::sum_words() adds them; the result in host order.
uint16_t finish(uint64_t words) noexcept { return byteswap16(pipeline::finish_checksum(words)); }

std::optional<IpView> parse_ipv4(Bytes packet) noexcept {
  const auto total = pipeline::check_ipv4(packet.data(), packet.size(), true);
  if (!total || pipeline::ipv4_is_fragment(packet.data())) return std::nullopt;
  const size_t header = pipeline::ipv4_header_bytes(packet.data());
  return IpView{.source = pipeline::ip_source(packet.data()),
                .destination = pipeline::ip_destination(packet.data()),
                .protocol = packet[9],
                .hop_limit = packet[8],
                .traffic_class = packet[1],
                .payload = packet.subspan(header, *total - header)};
}

std::optional<IpView> parse_ipv6(Bytes packet) noexcept {
  const auto total = pipeline::check_ipv6(packet.data(), packet.size());
  if (!total) return std::nullopt;
  return IpView{.source = pipeline::ip_source(packet.data()),
                .destination = pipeline::ip_destination(packet.data()),
                .protocol = packet[6],
                .hop_limit = packet[7],
                .traffic_class = static_cast<uint8_t>(load_be16(packet.data()) >> 4),
                .payload = packet.subspan(kIpv6HeaderBytes, *total - kIpv6HeaderBytes)};
}

}  // namespace

uint16_t internet_checksum(Bytes bytes) noexcept {
  return finish(pipeline::sum_words(bytes.data(), bytes.size()));
}

uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                            Bytes bytes) noexcept {
  uint64_t sum = pipeline::sum_words(source.bytes.data(), source.size_bytes());
  sum += pipeline::sum_words(destination.bytes.data(), destination.size_bytes());
  sum += byteswap16(protocol);
  sum += byteswap16(static_cast<uint16_t>(bytes.size()));
  return finish(sum + pipeline::sum_words(bytes.data(), bytes.size()));
}

std::optional<EthernetView> parse_ethernet(Bytes frame) noexcept {
  if (frame.size() < kEthernetHeaderBytes) return std::nullopt;
  EthernetView view;
  std::memcpy(view.destination.bytes.data(), frame.data(), 6);
  std::memcpy(view.source.bytes.data(), frame.data() + 6, 6);
  view.ether_type = load_be16(&frame[12]);
  view.payload = frame.subspan(kEthernetHeaderBytes);
  return view;
}

void write_ethernet(std::span<uint8_t, kEthernetHeaderBytes> out, const MacAddress& destination,
                    const MacAddress& source, uint16_t ether_type) noexcept {
  pipeline::write_ethernet(out.data(), destination, source, byteswap16(ether_type));
}

std::optional<IpView> parse_ip_packet(Bytes packet) noexcept {
  if (packet.empty()) return std::nullopt;
  switch (packet[0] >> 4) {
    case 4:
      return parse_ipv4(packet);
    case 6:
      return parse_ipv6(packet);
    default:
      return std::nullopt;
  }
}

size_t ip_header_bytes(Family family) noexcept {
  return family == Family::V4 ? kIpv4HeaderBytes : kIpv6HeaderBytes;
}

Packet make_ip_packet(const IpFields& fields, size_t payload_bytes) {
  CHECK(fields.source.family == fields.destination.family && !fields.source.is_none());
  const size_t header = ip_header_bytes(fields.source.family);
  CHECK(header + payload_bytes <= 0xffff);
  Packet packet(header + payload_bytes);
  uint8_t* out = packet.data();
  if (fields.source.is_v4()) {
    out[0] = 0x45;
    out[1] = fields.traffic_class;
    store_be16(out + 2, static_cast<uint16_t>(packet.size()));
    store_be16(out + 4, fields.identification);
    // Flags zero: the outer packet may be fragmented on its way, as the kernel's may.
    out[8] = fields.hop_limit;
    out[9] = fields.protocol;
    std::memcpy(out + 12, fields.source.bytes.data(), 4);
    std::memcpy(out + 16, fields.destination.bytes.data(), 4);
    store_be16(out + 10, internet_checksum(Bytes(out, kIpv4HeaderBytes)));
  } else {
    store_be32(out, 0x6000'0000u | static_cast<uint32_t>(fields.traffic_class) << 20);
    store_be16(out + 4, static_cast<uint16_t>(payload_bytes));
    out[6] = fields.protocol;
    out[7] = fields.hop_limit;
    std::memcpy(out + 8, fields.source.bytes.data(), 16);
    std::memcpy(out + 24, fields.destination.bytes.data(), 16);
  }
  return packet;
}

Packet make_udp_packet(const IpFields& fields, uint16_t source_port, uint16_t destination_port,
                       Bytes payload) {
  IpFields udp_fields = fields;
  udp_fields.protocol = kProtocolUdp;
  Packet packet = make_ip_packet(udp_fields, kUdpHeaderBytes + payload.size());
  const MutableBytes udp = MutableBytes(packet).subspan(ip_header_bytes(fields.source.family));
  store_be16(&udp[0], source_port);
  store_be16(&udp[2], destination_port);
  store_be16(&udp[4], static_cast<uint16_t>(udp.size()));
  std::ranges::copy(payload, udp.begin() + kUdpHeaderBytes);
  const uint16_t sum = transport_checksum(fields.source, fields.destination, kProtocolUdp, udp);
  store_be16(&udp[6], sum == 0 ? 0xffff : sum);  // zero would say "none" (RFC 768)
  return packet;
}

MacAddress ipv6_multicast_mac(const IpAddress& group) noexcept {
  MacAddress mac{{0x33, 0x33}};
  std::memcpy(&mac.bytes[2], &group.bytes[12], 4);
  return mac;
}

IpAddress solicited_node_group(const IpAddress& address) noexcept {
  uint8_t bytes[16] = {0xff, 0x02};
  bytes[11] = 1;
  bytes[12] = 0xff;
  std::memcpy(bytes + 13, &address.bytes[13], 3);
  return IpAddress::v6_bytes(bytes);
}

IpAddress all_nodes_group() noexcept {
  uint8_t bytes[16] = {0xff, 0x02};
  bytes[15] = 1;
  return IpAddress::v6_bytes(bytes);
}

}  // namespace turnpike::session

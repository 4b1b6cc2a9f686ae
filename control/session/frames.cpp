#include "control/session/frames.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"

namespace turnpike::session {
namespace {

// Sums of 16-bit words in a wider integer; folded at the end.
uint64_t add_words(uint64_t sum, Bytes bytes) noexcept {
  size_t i = 0;
  for (; i + 2 <= bytes.size(); i += 2) sum += load_be16(&bytes[i]);
  if (i < bytes.size()) sum += uint64_t{bytes[i]} << 8;
  return sum;
}

uint16_t finish(uint64_t sum) noexcept {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

std::optional<IpView> parse_ipv4(Bytes packet) noexcept {
  if (packet.size() < kIpv4HeaderBytes) return std::nullopt;
  const size_t header = size_t{packet[0] & 0xfu} * 4;
  const size_t total = load_be16(&packet[2]);
  if (header < kIpv4HeaderBytes || total < header || total > packet.size()) return std::nullopt;
  if (internet_checksum(packet.first(header)) != 0) return std::nullopt;
  if ((load_be16(&packet[6]) & 0x3fff) != 0) return std::nullopt;  // more fragments, or an offset
  return IpView{.source = IpAddress::v4_bytes(&packet[12]),
                .destination = IpAddress::v4_bytes(&packet[16]),
                .protocol = packet[9],
                .hop_limit = packet[8],
                .traffic_class = packet[1],
                .payload = packet.subspan(header, total - header)};
}

std::optional<IpView> parse_ipv6(Bytes packet) noexcept {
  if (packet.size() < kIpv6HeaderBytes) return std::nullopt;
  const size_t payload = load_be16(&packet[4]);
  if (payload > packet.size() - kIpv6HeaderBytes) return std::nullopt;
  return IpView{.source = IpAddress::v6_bytes(&packet[8]),
                .destination = IpAddress::v6_bytes(&packet[24]),
                .protocol = packet[6],
                .hop_limit = packet[7],
                .traffic_class = static_cast<uint8_t>(load_be16(packet.data()) >> 4),
                .payload = packet.subspan(kIpv6HeaderBytes, payload)};
}

}  // namespace

uint16_t internet_checksum(Bytes bytes) noexcept { return finish(add_words(0, bytes)); }

uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                            Bytes bytes) noexcept {
  uint64_t sum = add_words(0, Bytes(source.bytes.data(), source.size_bytes()));
  sum = add_words(sum, Bytes(destination.bytes.data(), destination.size_bytes()));
  return finish(add_words(sum + protocol + bytes.size(), bytes));
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
  std::memcpy(out.data(), destination.bytes.data(), 6);
  std::memcpy(out.data() + 6, source.bytes.data(), 6);
  store_be16(out.data() + 12, ether_type);
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

IpAddress link_local_of(const MacAddress& mac) noexcept {
  const auto& m = mac.bytes;
  const uint8_t bytes[16] = {
      0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<uint8_t>(m[0] ^ 2),
      m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  return IpAddress::v6_bytes(bytes);
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

// Whole packets as the session thread reads and writes them, every checksum in software. The headers are those
// of dataplane/pipeline/headers.h, checked and summed there.
//   Threads: pure functions, any thread.
//   Bounds:  a parser accepts bytes of any length and content; views point into what was parsed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"
#include "dataplane/pipeline/headers.h"

namespace turnpike::session {

using Packet = std::vector<uint8_t>;

inline constexpr size_t kEthernetHeaderBytes = pipeline::kEthernetBytes;
inline constexpr size_t kIpv4HeaderBytes = pipeline::kIpv4Bytes;
inline constexpr size_t kIpv6HeaderBytes = pipeline::kIpv6Bytes;
inline constexpr size_t kUdpHeaderBytes = pipeline::kUdpBytes;

// In host order.
inline constexpr uint16_t kEtherTypeIpv4 = byteswap16(pipeline::kEtherTypeIpv4);
inline constexpr uint16_t kEtherTypeArp = byteswap16(pipeline::kEtherTypeArp);
inline constexpr uint16_t kEtherTypeIpv6 = byteswap16(pipeline::kEtherTypeIpv6);

inline constexpr auto kProtocolIcmp = static_cast<uint8_t>(pipeline::Protocol::Icmp);
inline constexpr auto kProtocolUdp = static_cast<uint8_t>(pipeline::Protocol::Udp);
inline constexpr auto kProtocolIcmpv6 = static_cast<uint8_t>(pipeline::Protocol::Icmpv6);

inline constexpr MacAddress kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

struct EthernetView {
  MacAddress destination;
  MacAddress source;
  uint16_t ether_type = 0;
  Bytes payload;
};
[[nodiscard]] std::optional<EthernetView> parse_ethernet(Bytes frame) noexcept;
void write_ethernet(std::span<uint8_t, kEthernetHeaderBytes> out, const MacAddress& destination,
                    const MacAddress& source, uint16_t ether_type) noexcept;

// A whole IP packet without IPv4 fragmentation; padding after it is cut off. IPv4 options are skipped;
// of IPv6 the payload begins after the fixed header, extension headers are not looked through.
struct IpView {
  IpAddress source;
  IpAddress destination;
  uint8_t protocol = 0;
  uint8_t hop_limit = 0;
  uint8_t traffic_class = 0;
  Bytes payload;
};
[[nodiscard]] std::optional<IpView> parse_ip_packet(Bytes packet) noexcept;

struct IpFields {
  IpAddress source;
  IpAddress destination;  // of the same family
  uint8_t protocol = 0;
  uint8_t hop_limit = 64;
  uint8_t traffic_class = 0;
  uint16_t identification = 0;  // IPv4: any sender whose packets may be fragmented varies it
};
// A packet with a zeroed payload of `payload_bytes` after the header, for the caller to fill in.
[[nodiscard]] Packet make_ip_packet(const IpFields& fields, size_t payload_bytes);
[[nodiscard]] size_t ip_header_bytes(Family family) noexcept;

[[nodiscard]] Packet make_udp_packet(const IpFields& fields, uint16_t source_port,
                                     uint16_t destination_port, Bytes payload);

// The checksum of RFC 1071 over `bytes`, in host order; zero over bytes that hold a right one.
[[nodiscard]] uint16_t internet_checksum(Bytes bytes) noexcept;
// The same with the pseudo header of UDP and ICMPv6 before it (RFC 768, RFC 8200 section 8.1).
[[nodiscard]] uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination,
                                          uint8_t protocol, Bytes bytes) noexcept;

[[nodiscard]] inline uint16_t ether_type_of(Family family) noexcept {
  return family == Family::V4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
}

// 33:33 and the last four bytes (RFC 2464, section 7).
[[nodiscard]] MacAddress ipv6_multicast_mac(const IpAddress& group) noexcept;
// ff02::1:ffXX:XXXX (RFC 4291, section 2.7.1).
[[nodiscard]] IpAddress solicited_node_group(const IpAddress& address) noexcept;
[[nodiscard]] IpAddress all_nodes_group() noexcept;

}  // namespace turnpike::session

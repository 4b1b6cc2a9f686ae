// Ethernet, IPv4, IPv6 and UDP headers as bytes: what a header says, whether it may be believed, and how
// one is changed on its way. Pure functions; the caller has checked that the fixed part is there, where a
// function does not say that it checks.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"
#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/pipeline/checksum.h"

namespace turnpike::pipeline {

inline constexpr uint16_t kEthernetBytes = 14;
inline constexpr uint16_t kIpv4Bytes = 20;  // without options
inline constexpr uint16_t kIpv6Bytes = 40;
inline constexpr uint16_t kUdpBytes = 8;
inline constexpr uint16_t kArpFrameBytes = kEthernetBytes + 28;
// The longest that goes in front of a data message.
inline constexpr uint16_t kMaxOuterBytes = kEthernetBytes + kIpv6Bytes + kUdpBytes;

// As load_le16() reads them.
inline constexpr uint16_t kEtherTypeIpv4 = byteswap16(0x0800);
inline constexpr uint16_t kEtherTypeArp = byteswap16(0x0806);
inline constexpr uint16_t kEtherTypeIpv6 = byteswap16(0x86dd);
inline constexpr uint16_t kEtherTypeVlan = byteswap16(0x8100);
inline constexpr uint16_t kEtherTypeServiceVlan = byteswap16(0x88a8);

enum class Protocol : uint8_t {
  Ipv6HopByHop = 0,
  Icmp = 1,
  Tcp = 6,
  Udp = 17,
  Ipv6Routing = 43,
  Ipv6Fragment = 44,
  Icmpv6 = 58,
  Ipv6Destination = 60,
};

inline constexpr uint8_t kOuterTtl = 64;

// ---- Ethernet

inline constexpr uint64_t kMacMask = 0x0000'ffff'ffff'ffff;

// As the first six bytes of a frame read by load_le64() & kMacMask.
[[nodiscard]] inline uint64_t mac_word(const MacAddress& mac) noexcept {
  uint8_t bytes[8] = {};
  std::memcpy(bytes, mac.bytes.data(), 6);
  return load_le64(bytes);
}

// `mac` as mac_word() has it; bits above are not looked at. Writes the header's 14 bytes only.
inline void write_ethernet(uint8_t* frame, uint64_t destination, uint64_t source,
                           uint16_t ether_type) noexcept {
  store_le64(frame, (destination & kMacMask) | source << 48);
  store_le32(frame + 8, static_cast<uint32_t>(source >> 16));
  store_le16(frame + 12, ether_type);
}
inline void write_ethernet(uint8_t* frame, const MacAddress& destination, const MacAddress& source,
                           uint16_t ether_type) noexcept {
  std::memcpy(frame, destination.bytes.data(), 6);
  std::memcpy(frame + 6, source.bytes.data(), 6);
  store_le16(frame + 12, ether_type);
}

// ---- IPv4 (RFC 791)

[[nodiscard]] inline uint16_t ipv4_header_bytes(const uint8_t* ip) noexcept {
  return static_cast<uint16_t>((ip[0] & 0x0f) * 4);
}
[[nodiscard]] inline uint16_t ipv4_total_bytes(const uint8_t* ip) noexcept {
  return load_be16(ip + 2);
}
[[nodiscard]] inline uint32_t ipv4_source(const uint8_t* ip) noexcept { return load_be32(ip + 12); }
[[nodiscard]] inline uint32_t ipv4_destination(const uint8_t* ip) noexcept {
  return load_be32(ip + 16);
}
// More fragments follow, or it is not the first one.
[[nodiscard]] inline bool ipv4_is_fragment(const uint8_t* ip) noexcept {
  return (load_be16(ip + 6) & 0x3fff) != 0;
}
// Its sender allows routers to fragment it (DF is 0).
[[nodiscard]] inline bool ipv4_may_be_fragmented(const uint8_t* ip) noexcept {
  return (ip[6] & 0x40) == 0;
}

// The length of the packet at `ip`, of which `available` bytes are there (more: padding of the link), or
// nothing when the header cannot be believed (RFC 1122, 3.2.1.1 and 3.2.1.2). Any `available` will do.
[[nodiscard]] inline std::optional<uint16_t> check_ipv4(const uint8_t* ip, size_t available,
                                                        bool verify_checksum) noexcept {
  if (available < kIpv4Bytes || ip[0] >> 4 != 4) return std::nullopt;
  const uint16_t header = ipv4_header_bytes(ip);
  const uint16_t total = ipv4_total_bytes(ip);
  if (header < kIpv4Bytes || total < header || total > available) return std::nullopt;
  if (verify_checksum) {
    // Without options in nearly every packet: a sum of known length.
    const uint64_t sum = header == kIpv4Bytes ? sum_words(ip, kIpv4Bytes) : sum_words(ip, header);
    if (fold(sum) != 0xffff) return std::nullopt;
  }
  return total;
}

// Unicast that may be seen on a wire: not "this network", loopback, multicast or reserved
// (RFC 1812, 5.3.7).
[[nodiscard]] constexpr bool ipv4_is_unicast(uint32_t address) noexcept {
  const uint32_t first = address >> 24;
  return first - 1 < 223 && first != 127;
}
[[nodiscard]] constexpr bool ipv4_is_multicast(uint32_t address) noexcept {
  return address >> 28 == 0xe;
}

// ---- IPv6 (RFC 8200)

[[nodiscard]] inline lookup::Ipv6Key ipv6_key(const uint8_t* sixteen) noexcept {
  return {.high = load_be64(sixteen), .low = load_be64(sixteen + 8)};
}
[[nodiscard]] inline const uint8_t* ipv6_source(const uint8_t* ip) noexcept { return ip + 8; }
[[nodiscard]] inline const uint8_t* ipv6_destination(const uint8_t* ip) noexcept { return ip + 24; }

// Like check_ipv4(). A jumbogram (RFC 2675) says a length of zero and is cut to its header.
[[nodiscard]] inline std::optional<uint16_t> check_ipv6(const uint8_t* ip,
                                                        size_t available) noexcept {
  if (available < kIpv6Bytes || ip[0] >> 4 != 6) return std::nullopt;
  const uint32_t total = uint32_t{load_be16(ip + 4)} + kIpv6Bytes;
  if (total > available) return std::nullopt;
  return static_cast<uint16_t>(total);
}

[[nodiscard]] constexpr bool ipv6_is_multicast(const lookup::Ipv6Key& a) noexcept {
  return a.high >> 56 == 0xff;
}
[[nodiscard]] constexpr bool ipv6_is_link_local(const lookup::Ipv6Key& a) noexcept {
  return a.high >> 54 == 0xfe80 >> 6;
}
// Unspecified or loopback.
[[nodiscard]] constexpr bool ipv6_is_reserved(const lookup::Ipv6Key& a) noexcept {
  return a.high == 0 && a.low <= 1;
}
// The link-local address that a port forms out of its MAC (RFC 4291, appendix A).
[[nodiscard]] constexpr lookup::Ipv6Key ipv6_link_local(const MacAddress& mac) noexcept {
  const auto& m = mac.bytes;
  return {.high = 0xfe80'0000'0000'0000,
          .low = uint64_t{m[0] ^ 2u} << 56 | uint64_t{m[1]} << 48 | uint64_t{m[2]} << 40 |
                 uint64_t{0xfffe} << 24 | uint64_t{m[3]} << 16 | uint64_t{m[4]} << 8 | m[5]};
}

// ---- either

// The version that the first byte of a packet claims.
[[nodiscard]] inline unsigned ip_version(const uint8_t* ip) noexcept { return ip[0] >> 4; }

[[nodiscard]] inline IpAddress ip_address(bool v4, const uint8_t* bytes) noexcept {
  IpAddress address{.family = v4 ? Family::V4 : Family::V6, .bytes = {}};
  if (v4) {
    std::memcpy(address.bytes.data(), bytes, 4);
  } else {
    std::memcpy(address.bytes.data(), bytes, 16);
  }
  return address;
}
[[nodiscard]] inline IpAddress ip_source(const uint8_t* ip) noexcept {
  return ip_version(ip) == 4 ? ip_address(true, ip + 12) : ip_address(false, ip + 8);
}
[[nodiscard]] inline IpAddress ip_destination(const uint8_t* ip) noexcept {
  return ip_version(ip) == 4 ? ip_address(true, ip + 16) : ip_address(false, ip + 24);
}

// The packet at `ip` as check_ipv4() or check_ipv6() would have it, checksums left to others.
[[nodiscard]] inline std::optional<uint16_t> check_ip(const uint8_t* ip,
                                                      size_t available) noexcept {
  if (available == 0) return std::nullopt;
  return ip_version(ip) == 4 ? check_ipv4(ip, available, false) : check_ipv6(ip, available);
}

[[nodiscard]] inline uint8_t ip_ttl(const uint8_t* ip) noexcept {
  return ip_version(ip) == 4 ? ip[8] : ip[7];
}

// The caller has seen that it is above one.
inline void decrement_ttl(uint8_t* ip) noexcept {
  if (ip_version(ip) == 4) {
    // TTL is the low byte of its word as it is loaded, so the word is one less and the checksum one more,
    // with the carry brought round (RFC 1141, with RFC 1624's care for the two zeros).
    --ip[8];
    const uint32_t checksum = load_le16(ip + 10) + 1u;
    store_le16(ip + 10, static_cast<uint16_t>(checksum + (checksum >= 0xffff ? 1 : 0)));
  } else {
    --ip[7];
  }
}

// ---- ECN over tunnels (RFC 6040)

enum class Ecn : uint8_t { NotEct = 0, Ect1 = 1, Ect0 = 2, Ce = 3 };

[[nodiscard]] inline Ecn ip_ecn(const uint8_t* ip) noexcept {
  // IPv6's traffic class lies across the first two bytes.
  return static_cast<Ecn>(ip_version(ip) == 4 ? ip[1] & 3 : ip[1] >> 4 & 3);
}

inline void set_ecn(uint8_t* ip, Ecn ecn) noexcept {
  if (ip_version(ip) == 4) {
    const uint16_t before = load_le16(ip);
    ip[1] = static_cast<uint8_t>((ip[1] & 0xfc) | static_cast<uint8_t>(ecn));
    store_le16(ip + 10, update_checksum(load_le16(ip + 10), before, load_le16(ip)));
  } else {
    ip[1] = static_cast<uint8_t>((ip[1] & 0xcf) | static_cast<uint8_t>(ecn) << 4);
  }
}

// Section 4.2. False: the combination is invalid and the packet must be dropped.
[[nodiscard]] inline bool decapsulate_ecn(uint8_t* ip, Ecn outer) noexcept {
  // On most paths nobody marks anything.
  if (outer == Ecn::NotEct) [[likely]]
    return true;
  const Ecn inner = ip_ecn(ip);
  if (outer == Ecn::Ce) {
    if (inner == Ecn::NotEct) return false;
    if (inner != Ecn::Ce) set_ecn(ip, Ecn::Ce);
  } else if (outer == Ecn::Ect1 && inner == Ecn::Ect0) {
    set_ecn(ip, Ecn::Ect1);
  }
  return true;
}

// ---- UDP (RFC 768, RFC 8200 8.1)

// The sum of the pseudo-header of a datagram (of TCP: a segment) of so many bytes in the packet at `ip`.
[[nodiscard]] inline uint64_t sum_pseudo_header(const uint8_t* ip, uint16_t bytes,
                                                Protocol protocol = Protocol::Udp) noexcept {
  const uint64_t addresses = ip_version(ip) == 4 ? sum_words(ip + 12, 8) : sum_words(ip + 8, 32);
  return addresses + byteswap16(bytes) + byteswap16(static_cast<uint16_t>(protocol));
}

// Whether a checksum field holds the sum of the pseudo-header alone: its sender left the rest to a device (virtio 1.2, 5.1.6.2).
[[nodiscard]] inline bool is_unfinished_checksum(const uint8_t* field, const uint8_t* ip,
                                                 uint16_t bytes,
                                                 Protocol protocol = Protocol::Udp) noexcept {
  return load_le16(field) == fold(sum_pseudo_header(ip, bytes, protocol));
}

// The length of the datagram at `udp` in `available` bytes, or nothing when it is not whole.
[[nodiscard]] inline std::optional<uint16_t> check_udp(const uint8_t* udp,
                                                       size_t available) noexcept {
  if (available < kUdpBytes) return std::nullopt;
  const uint16_t length = load_be16(udp + 4);
  if (length < kUdpBytes || length > available) return std::nullopt;
  return length;
}

// Nothing in the field is right on IPv4, and wrong on IPv6.
[[nodiscard]] inline bool udp_checksum_holds(const uint8_t* ip, const uint8_t* udp,
                                             uint16_t udp_bytes) noexcept {
  if (load_le16(udp + 6) == 0) return ip_version(ip) == 4;
  return fold(sum_pseudo_header(ip, udp_bytes) + sum_words(udp, udp_bytes)) == 0xffff;
}

}  // namespace turnpike::pipeline

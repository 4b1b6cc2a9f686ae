#include "control/session/icmp_errors.h"

#include <algorithm>

namespace turnpike::session {
namespace {

constexpr size_t kIcmpHeaderBytes = 8;

constexpr uint8_t kUnreachableV4 = 3;  // RFC 792
constexpr uint8_t kNetUnreachableV4 = 0;
constexpr uint8_t kHostUnreachableV4 = 1;
constexpr uint8_t kFragmentationNeededV4 = 4;  // RFC 1191, 4
constexpr uint8_t kTimeExceededV4 = 11;

constexpr uint8_t kUnreachableV6 = 1;  // RFC 4443, 3
constexpr uint8_t kNoRouteV6 = 0;
constexpr uint8_t kAddressUnreachableV6 = 3;
constexpr uint8_t kPacketTooBigV6 = 2;
constexpr uint8_t kTimeExceededV6 = 3;

// Errors go before other traffic (RFC 1812, 4.3.2.5).
constexpr uint8_t kInternetworkControl = 0xc0;

bool is_host(const IpAddress& address) noexcept {
  const bool class_e = address.is_v4() && address.bytes[0] >= 240;
  const bool this_network = address.is_v4() && address.bytes[0] == 0;
  return !address.is_multicast() && !address.is_unspecified() && !address.is_broadcast() &&
         !address.is_loopback() && !class_e && !this_network;
}

// Echo, router discovery, timestamp, address mask and their replies; whatever else is an error or might be one.
bool is_query_v4(uint8_t type) noexcept {
  return type == 0 || (type >= 8 && type <= 10) || (type >= 13 && type <= 18);
}

bool may_be_answered_v4(Bytes packet) noexcept {
  if (packet.size() < kIpv4HeaderBytes) return false;
  const size_t header = size_t{packet[0] & 0xfu} * 4;
  if ((load_be16(&packet[6]) & 0x1fff) != 0) return false;
  if (packet[9] == kProtocolIcmp && (packet.size() <= header || !is_query_v4(packet[header]))) {
    return false;
  }
  return is_host(IpAddress::v4_bytes(&packet[12])) && is_host(IpAddress::v4_bytes(&packet[16]));
}

// Extension headers that may stand between the IPv6 header and ICMPv6 (RFC 8200, 4).
bool is_extension(uint8_t next_header) noexcept {
  return next_header == 0 || next_header == 43 || next_header == 60;
}
constexpr uint8_t kFragmentHeader = 44;

bool is_no_error_v6(Bytes packet) noexcept {
  uint8_t next_header = packet[6];
  size_t at = kIpv6HeaderBytes;
  while (is_extension(next_header) || next_header == kFragmentHeader) {
    if (packet.size() < at + 8) return false;
    if (next_header == kFragmentHeader && (load_be16(&packet[at + 2]) & 0xfff8) != 0) return false;
    const size_t length = next_header == kFragmentHeader ? 8 : (size_t{packet[at + 1]} + 1) * 8;
    next_header = packet[at];
    at += length;
  }
  // Types below 128 are errors; a redirect is as good as one (RFC 4443, 2.4 e.2).
  constexpr uint8_t kRedirect = 137;
  return next_header != kProtocolIcmpv6 ||
         (packet.size() > at && packet[at] >= 128 && packet[at] != kRedirect);
}

bool may_be_answered_v6(Bytes packet) noexcept {
  if (packet.size() < kIpv6HeaderBytes || !is_no_error_v6(packet)) return false;
  return is_host(IpAddress::v6_bytes(&packet[8])) && is_host(IpAddress::v6_bytes(&packet[24]));
}

std::optional<IcmpError> error_v4(DropReason reason, uint16_t mtu_bytes) noexcept {
  switch (reason) {
    case DropReason::NoAllowedIp:
    case DropReason::NoEndpoint:
    case DropReason::NeighbourUnknown:
      return IcmpError{.type = kUnreachableV4, .code = kHostUnreachableV4};
    case DropReason::NoRoute:
      return IcmpError{.type = kUnreachableV4, .code = kNetUnreachableV4};
    case DropReason::TtlExceeded:
      return IcmpError{.type = kTimeExceededV4};
    case DropReason::PacketTooBig:
      return IcmpError{
          .type = kUnreachableV4, .code = kFragmentationNeededV4, .parameter = mtu_bytes};
    default:
      return std::nullopt;
  }
}

std::optional<IcmpError> error_v6(DropReason reason, uint16_t mtu_bytes) noexcept {
  switch (reason) {
    case DropReason::NoAllowedIp:
    case DropReason::NoEndpoint:
    case DropReason::NeighbourUnknown:
      return IcmpError{.type = kUnreachableV6, .code = kAddressUnreachableV6};
    case DropReason::NoRoute:
      return IcmpError{.type = kUnreachableV6, .code = kNoRouteV6};
    case DropReason::TtlExceeded:
      return IcmpError{.type = kTimeExceededV6};
    case DropReason::PacketTooBig:
      return IcmpError{.type = kPacketTooBigV6, .parameter = mtu_bytes};
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<IcmpError> icmp_error_for(DropReason reason, Family family,
                                        uint16_t mtu_bytes) noexcept {
  return family == Family::V4 ? error_v4(reason, mtu_bytes) : error_v6(reason, mtu_bytes);
}

bool may_be_answered(Bytes packet) noexcept {
  if (packet.empty()) return false;
  switch (packet[0] >> 4) {
    case 4:
      return may_be_answered_v4(packet);
    case 6:
      return may_be_answered_v6(packet);
    default:
      return false;
  }
}

Packet make_icmp_error(const IcmpError& error, const IpAddress& from, Bytes about, size_t max_bytes,
                       uint16_t identification) {
  const bool v4 = from.is_v4();
  const size_t headers = ip_header_bytes(from.family) + kIcmpHeaderBytes;
  const size_t longest = std::min(max_bytes, v4 ? kMaxErrorBytesV4 : kMaxErrorBytesV6);
  const Bytes quoted = about.first(std::min(about.size(), longest - headers));
  const IpAddress to = v4 ? IpAddress::v4_bytes(&about[12]) : IpAddress::v6_bytes(&about[8]);
  Packet packet = make_ip_packet({.source = from,
                                  .destination = to,
                                  .protocol = v4 ? kProtocolIcmp : kProtocolIcmpv6,
                                  .traffic_class = v4 ? kInternetworkControl : uint8_t{0},
                                  .identification = identification},
                                 kIcmpHeaderBytes + quoted.size());
  const MutableBytes icmp = MutableBytes(packet).subspan(ip_header_bytes(from.family));
  icmp[0] = error.type;
  icmp[1] = error.code;
  store_be32(&icmp[4], error.parameter);
  std::ranges::copy(quoted, icmp.begin() + kIcmpHeaderBytes);
  store_be16(&icmp[2],
             v4 ? internet_checksum(icmp) : transport_checksum(from, to, kProtocolIcmpv6, icmp));
  return packet;
}

IcmpErrorLimiter::IcmpErrorLimiter(RandomSource& random) { random.fill(key_); }

bool IcmpErrorLimiter::take(const IpAddress& target, Instant now) noexcept {
  return targets_[crypto::siphash(key_, target.bytes) % kBuckets].take(now) && all_.take(now);
}

}  // namespace turnpike::session

#include "control/session/icmp.h"

namespace turnpike::session {
namespace {

constexpr size_t kEchoHeaderBytes = 8;
constexpr uint8_t kEchoRequestV4 = 8;
constexpr uint8_t kEchoReplyV4 = 0;
constexpr uint8_t kEchoRequestV6 = 128;
constexpr uint8_t kEchoReplyV6 = 129;

uint16_t icmp_checksum(const IpAddress& source, const IpAddress& destination, Bytes body) noexcept {
  return source.is_v4() ? internet_checksum(body)
                        : transport_checksum(source, destination, kProtocolIcmpv6, body);
}

bool is_host(const IpAddress& address) noexcept {
  return !address.is_multicast() && !address.is_unspecified() && !address.is_broadcast() &&
         !address.is_loopback();
}

}  // namespace

std::optional<Packet> make_echo_reply(const IpView& request) {
  const bool v4 = request.source.is_v4();
  const Bytes body = request.payload;
  if (request.protocol != (v4 ? kProtocolIcmp : kProtocolIcmpv6) ||
      body.size() < kEchoHeaderBytes || body[0] != (v4 ? kEchoRequestV4 : kEchoRequestV6) ||
      body[1] != 0 || !is_host(request.source) || !is_host(request.destination) ||
      icmp_checksum(request.source, request.destination, body) != 0) {
    return std::nullopt;
  }
  Packet reply = make_ip_packet({.source = request.destination,
                                 .destination = request.source,
                                 .protocol = request.protocol,
                                 .traffic_class = request.traffic_class},
                                body.size());
  const MutableBytes out = MutableBytes(reply).subspan(ip_header_bytes(request.source.family));
  std::ranges::copy(body, out.begin());
  out[0] = v4 ? kEchoReplyV4 : kEchoReplyV6;
  store_be16(&out[2], 0);
  store_be16(&out[2], icmp_checksum(request.destination, request.source, out));
  return reply;
}

}  // namespace turnpike::session

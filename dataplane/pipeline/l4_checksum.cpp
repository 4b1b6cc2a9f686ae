#include "dataplane/pipeline/l4_checksum.h"

#include <optional>

#include "dataplane/pipeline/headers.h"

namespace turnpike::pipeline {
namespace {

constexpr size_t kTcpBytes = 20;  // RFC 9293, 3.1; without options
constexpr size_t kTcpChecksumAt = 16;
constexpr size_t kUdpChecksumAt = 6;
// More extension headers in front of TCP or UDP than anybody sends.
constexpr int kMaxExtensionHeaders = 8;

struct Transport {
  Protocol protocol;
  size_t at;  // in the packet
  bool on_its_way = false;  // the destination in the IP header is not the last one
};

[[nodiscard]] std::optional<Transport> find_in_ipv4(std::span<const uint8_t> packet) noexcept {
  if (ipv4_is_fragment(packet.data())) return std::nullopt;
  return Transport{.protocol = static_cast<Protocol>(packet[9]),
                   .at = ipv4_header_bytes(packet.data())};
}

[[nodiscard]] std::optional<Transport> find_in_ipv6(std::span<const uint8_t> packet) noexcept {
  Transport found{.protocol = static_cast<Protocol>(packet[6]), .at = kIpv6Bytes};
  for (int i = 0; i <= kMaxExtensionHeaders; ++i) {
    const bool is_routing = found.protocol == Protocol::Ipv6Routing;
    if (!is_routing && found.protocol != Protocol::Ipv6HopByHop &&
        found.protocol != Protocol::Ipv6Destination) {
      return found;
    }
    if (found.at + 8 > packet.size()) return std::nullopt;
    const uint8_t* header = &packet[found.at];
    found.on_its_way |= is_routing && header[3] != 0;
    found.protocol = static_cast<Protocol>(header[0]);
    found.at += (header[1] + size_t{1}) * 8;
  }
  return std::nullopt;
}

// Drivers say the same of what they could not look at, and of UDP sent without a checksum: there the field holds something
// else, and stays.
void finish(uint8_t* l4, size_t bytes, size_t field_at, const uint8_t* ip,
            const Transport& found) noexcept {
  uint8_t* field = l4 + field_at;
  // With the destination still to come the sum of the pseudo-header cannot be told: it is believed (RFC 8200, 8.1).
  // The field would be zero for none only, and stays so (RFC 6935).
  const bool unfinished =
      found.on_its_way
          ? load_le16(field) != 0
          : is_unfinished_checksum(field, ip, static_cast<uint16_t>(bytes), found.protocol);
  if (!unfinished) return;
  const uint64_t sum = sum_words(l4, bytes);
  store_le16(field,
             found.protocol == Protocol::Udp ? finish_udp_checksum(sum) : finish_checksum(sum));
}

}  // namespace

void finish_l4_checksum(std::span<uint8_t> packet) noexcept {
  const auto total = check_ip(packet.data(), packet.size());
  if (!total) return;
  packet = packet.first(*total);
  const bool v4 = ip_version(packet.data()) == 4;
  const auto found = v4 ? find_in_ipv4(packet) : find_in_ipv6(packet);
  if (!found || found->at > packet.size()) return;
  uint8_t* l4 = packet.data() + found->at;
  const size_t available = packet.size() - found->at;
  if (found->protocol == Protocol::Tcp) {
    if (available >= kTcpBytes) finish(l4, available, kTcpChecksumAt, packet.data(), *found);
  } else if (found->protocol == Protocol::Udp) {
    const auto length = check_udp(l4, available);
    if (length) finish(l4, *length, kUdpChecksumAt, packet.data(), *found);
  }
}

}  // namespace turnpike::pipeline

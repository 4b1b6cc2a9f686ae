// The outer Ethernet, IP and UDP headers of data messages to one endpoint: prepared once for a group of
// packets, then copied and completed for each.
//   IPv4: DF is 0, the packet may be fragmented on its way; DSCP 0, ECN of the inner packet (RFC 6040, 4.1).
#pragma once

#include <cstdint>

#include "dataplane/pipeline/headers.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/publish/neighbours.h"
#include "dataplane/publish/peer_slots.h"
#include "dataplane/publish/snapshot.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::pipeline {

// A worker that uses an entry says so about ten times a second, or every packet would write to a line that
// all workers read.
inline constexpr Duration kNeighbourUseGranularity = 100ms;

inline void note_neighbour_used(publish::Neighbour& neighbour, Instant now) noexcept {
  const Instant last{neighbour.last_used.load(std::memory_order_relaxed)};
  if (now - last >= kNeighbourUseGranularity) {
    neighbour.last_used.store(now.nanoseconds, std::memory_order_relaxed);
  }
}

struct OuterHeader {
  alignas(16) uint8_t bytes[64];  // Ethernet, IP, UDP, without what differs between packets
  uint64_t ip_sum;  // IPv4: of the header's constant words
  uint64_t pseudo_sum;  // of UDP's pseudo-header but for the length
  uint16_t max_text_bytes;  // padded text that still fits the port's MTU
  uint8_t header_bytes;  // of all three
  PortIndex port;
  bool v4;
  bool port_sums_ipv4;  // offloads
  bool port_sums_udp;

  void prepare(const publish::PeerEndpoint& endpoint, const publish::TunnelView& tunnel,
               const publish::PortView& outside, const MacAddress& next_hop,
               PortOffloads offloads) noexcept {
    v4 = endpoint.remote.address.is_v4();
    port = tunnel.outside;
    port_sums_ipv4 = offloads.ipv4_checksum;
    port_sums_udp = offloads.udp_checksum;
    const uint16_t ip_bytes = v4 ? kIpv4Bytes : kIpv6Bytes;
    header_bytes = static_cast<uint8_t>(kEthernetBytes + ip_bytes + kUdpBytes);
    const size_t overhead = ip_bytes + kUdpBytes + wireguard::kDataOverheadBytes;
    max_text_bytes =
        static_cast<uint16_t>(outside.mtu_bytes > overhead ? outside.mtu_bytes - overhead : 0);
    write_ethernet(bytes, next_hop, outside.mac, v4 ? kEtherTypeIpv4 : kEtherTypeIpv6);
    uint8_t* ip = bytes + kEthernetBytes;
    if (v4) {
      prepare_ipv4(ip, endpoint);
    } else {
      prepare_ipv6(ip, endpoint);
    }
    uint8_t* udp = ip + ip_bytes;
    store_be16(udp, tunnel.listen_port);
    store_be16(udp + 2, endpoint.remote.port);
    store_le32(udp + 4, 0);
    pseudo_sum = sum_pseudo_header(ip, 0);
  }

  // In front of the message of `message_bytes`. The UDP checksum is its pseudo-header's sum, which the port
  // completes, or else finish() replaces: it covers what is not sealed yet.
  void write(uint8_t* message, uint16_t message_bytes, Ecn ecn, uint16_t ipv4_id) const noexcept {
    const auto udp_bytes = static_cast<uint16_t>(message_bytes + kUdpBytes);
    uint8_t* udp = message - kUdpBytes;
    if (v4) {
      uint8_t* ip = udp - kIpv4Bytes;
      std::memcpy(ip - kEthernetBytes, bytes, kEthernetBytes + kIpv4Bytes + kUdpBytes);
      const uint16_t total = byteswap16(static_cast<uint16_t>(udp_bytes + kIpv4Bytes));
      ip[1] = static_cast<uint8_t>(ecn);
      store_le16(ip + 2, total);
      store_le16(ip + 4, ipv4_id);
      if (!port_sums_ipv4) {
        const uint64_t sum = ip_sum + total + ipv4_id + (uint64_t{ip[1]} << 8);
        store_le16(ip + 10, finish_checksum(sum));
      }
    } else {
      uint8_t* ip = udp - kIpv6Bytes;
      std::memcpy(ip - kEthernetBytes, bytes, kEthernetBytes + kIpv6Bytes + kUdpBytes);
      ip[1] = static_cast<uint8_t>(static_cast<uint8_t>(ecn) << 4);
      store_be16(ip + 4, udp_bytes);
    }
    store_be16(udp + 4, udp_bytes);
    store_le16(udp + 6, fold(pseudo_sum + byteswap16(udp_bytes)));
  }

  // What fits is padded, too.
  [[nodiscard]] uint16_t max_inner_bytes() const noexcept {
    return static_cast<uint16_t>(max_text_bytes - max_text_bytes % wireguard::kPaddingMultiple);
  }

  [[nodiscard]] bool offloads_any() const noexcept {
    return port_sums_udp || (v4 && port_sums_ipv4);
  }

  // After sealing, where the port does not: the field holds the pseudo-header's sum already, so what is to
  // be added is the datagram as it lies there.
  void finish(const Packet& packet) const noexcept {
    if (port_sums_udp) return;
    uint8_t* udp = packet.data + header_bytes - kUdpBytes;
    const size_t udp_bytes = packet.length_bytes - header_bytes + kUdpBytes;
    store_le16(udp + 6, finish_udp_checksum(sum_words(udp, udp_bytes)));
  }

 private:
  void prepare_ipv4(uint8_t* ip, const publish::PeerEndpoint& endpoint) noexcept {
    std::memset(ip, 0, kIpv4Bytes);
    ip[0] = 0x45;
    ip[8] = kOuterTtl;
    ip[9] = static_cast<uint8_t>(Protocol::Udp);
    std::memcpy(ip + 12, endpoint.local.bytes.data(), 4);
    std::memcpy(ip + 16, endpoint.remote.address.bytes.data(), 4);
    ip_sum = sum_words(ip, kIpv4Bytes);
  }
  void prepare_ipv6(uint8_t* ip, const publish::PeerEndpoint& endpoint) noexcept {
    store_le64(ip, 0);
    ip[0] = 0x60;
    ip[6] = static_cast<uint8_t>(Protocol::Udp);
    ip[7] = kOuterTtl;
    std::memcpy(ip + 8, endpoint.local.bytes.data(), 16);
    std::memcpy(ip + 24, endpoint.remote.address.bytes.data(), 16);
    ip_sum = 0;
  }
};

}  // namespace turnpike::pipeline

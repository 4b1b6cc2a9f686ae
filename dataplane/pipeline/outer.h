// The outer Ethernet, IP and UDP headers of data messages: prepared once for all that go one way, then copied and
// completed for each packet.
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

// Where one peer is: what its packets have of their own.
struct OuterRemote {
  uint64_t address[2];  // as load_le64() reads it, of IPv4 the first four bytes
  uint32_t sum;  // of its words, folded once: at most 19 bits
  uint16_t port;  // as it lies in a packet

  void prepare(const publish::EndpointWords& endpoint) noexcept {
    address[0] = endpoint.remote[0];
    address[1] = endpoint.remote[1];
    const uint64_t words = (address[0] & 0xffff'ffff) + (address[0] >> 32) +
                           (address[1] & 0xffff'ffff) + (address[1] >> 32);
    sum = static_cast<uint32_t>((words & 0xffff) + (words >> 16));
    port = byteswap16(endpoint.remote_port());
  }
};

// All else, one for all peers that are reached the same way from the same tunnel.
struct OuterHeader {
  alignas(16) uint8_t bytes[64];  // Ethernet, IP, UDP, without what differs between packets
  uint16_t ip_sum;  // IPv4: of the header's constant words, folded
  uint16_t pseudo_sum;  // of UDP's pseudo-header but for the remote address and the length, folded
  uint16_t max_text_bytes;  // padded text that still fits the port's MTU
  uint8_t header_bytes;  // of all three
  PortIndex port;
  bool v4;
  bool port_sums_ipv4;  // offloads
  bool port_sums_udp;

  void prepare(const publish::EndpointWords& endpoint, const publish::TunnelView& tunnel,
               const publish::PortView& outside, const MacAddress& next_hop,
               PortOffloads offloads) noexcept {
    v4 = endpoint.remote_family() == Family::V4;
    port = tunnel.outside;
    port_sums_ipv4 = offloads.ipv4_checksum;
    port_sums_udp = offloads.udp_checksum;
    const uint16_t ip_bytes = v4 ? kIpv4Bytes : kIpv6Bytes;
    header_bytes = static_cast<uint8_t>(kEthernetBytes + ip_bytes + kUdpBytes);
    const size_t overhead = ip_bytes + kUdpBytes + wireguard::kDataOverheadBytes;
    max_text_bytes =
        static_cast<uint16_t>(outside.mtu_bytes > overhead ? outside.mtu_bytes - overhead : 0);
    std::memset(bytes, 0, sizeof(bytes));
    write_ethernet(bytes, next_hop, outside.mac, v4 ? kEtherTypeIpv4 : kEtherTypeIpv6);
    uint8_t* ip = bytes + kEthernetBytes;
    if (v4) {
      ip[0] = 0x45;
      ip[8] = kOuterTtl;
      ip[9] = static_cast<uint8_t>(Protocol::Udp);
      store_le32(ip + 12, static_cast<uint32_t>(endpoint.local[0]));
      ip_sum = fold(sum_words(ip, kIpv4Bytes));
    } else {
      ip[0] = 0x60;
      ip[6] = static_cast<uint8_t>(Protocol::Udp);
      ip[7] = kOuterTtl;
      store_le64(ip + 8, endpoint.local[0]);
      store_le64(ip + 16, endpoint.local[1]);
      ip_sum = 0;
    }
    store_be16(ip + ip_bytes, tunnel.listen_port);
    pseudo_sum = fold(sum_pseudo_header(ip, 0));
  }

  // In front of the message of `message_bytes`. The UDP checksum is its pseudo-header's sum, which the port
  // completes, or else finish() replaces: it covers what is not sealed yet.
  void write(const OuterRemote& remote, uint8_t* message, uint16_t message_bytes, Ecn ecn,
             uint16_t ipv4_id) const noexcept {
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
        const uint32_t sum =
            ip_sum + remote.sum + total + ipv4_id + (static_cast<uint32_t>(ecn) << 8);
        store_le16(ip + 10, static_cast<uint16_t>(~fold_short(sum)));
      }
      store_le32(ip + 16, static_cast<uint32_t>(remote.address[0]));
    } else {
      uint8_t* ip = udp - kIpv6Bytes;
      std::memcpy(ip - kEthernetBytes, bytes, kEthernetBytes + kIpv6Bytes + kUdpBytes);
      ip[1] = static_cast<uint8_t>(static_cast<uint8_t>(ecn) << 4);
      store_be16(ip + 4, udp_bytes);
      store_le64(ip + 24, remote.address[0]);
      store_le64(ip + 32, remote.address[1]);
    }
    store_le16(udp + 2, remote.port);
    store_be16(udp + 4, udp_bytes);
    store_le16(udp + 6, fold_short(pseudo_sum + remote.sum + byteswap16(udp_bytes)));
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
};

}  // namespace turnpike::pipeline

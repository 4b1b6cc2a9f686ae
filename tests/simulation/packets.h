// Frames and packets of the simulation's hosts, made and read by hand.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"

namespace turnpike::sim {

using Frame = std::vector<uint8_t>;

inline constexpr size_t kEthernetBytes = 14;
inline constexpr size_t kIpv4Bytes = 20;
inline constexpr size_t kIpv6Bytes = 40;
inline constexpr size_t kUdpBytes = 8;

[[nodiscard]] MacAddress destination_of(Bytes frame) noexcept;
[[nodiscard]] MacAddress source_of(Bytes frame) noexcept;
[[nodiscard]] uint16_t ether_type_of(Bytes frame) noexcept;

// An IP packet of a protocol that nobody knows, in a frame.
[[nodiscard]] Frame make_ip_frame(const MacAddress& to, const MacAddress& from,
                                  const IpAddress& source, const IpAddress& destination,
                                  Bytes payload);

[[nodiscard]] IpAddress ip_destination_of(Bytes frame) noexcept;  // of a frame with IPv4 or IPv6

// The payload of UDP in IPv4 or IPv6 in the frame; empty when there is none.
[[nodiscard]] Bytes udp_payload_of(Bytes frame) noexcept;

// ICMP of either family that answers a packet which could not go on.
[[nodiscard]] bool is_icmp_error(Bytes packet) noexcept;
[[nodiscard]] IpAddress ip_source_of(Bytes frame) noexcept;  // of a frame with IPv4 or IPv6

// What a host with every address on its link but the gateway's answers to ARP or a neighbour solicitation;
// nothing for other frames.
[[nodiscard]] std::optional<Frame> host_answer(Bytes frame, const MacAddress& host,
                                               const std::vector<IpAddress>& gateway_addresses);

}  // namespace turnpike::sim

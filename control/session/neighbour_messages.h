// The messages of ARP (RFC 826) and of neighbour discovery (RFC 4861, sections 4.3 and 4.4) as values.
//   Threads: pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "control/session/frames.h"
#include "dataplane/base/address.h"

namespace turnpike::session {

enum class ArpOperation : uint16_t { Request = 1, Reply = 2 };

struct ArpMessage {
  ArpOperation operation = ArpOperation::Request;
  MacAddress sender_mac;
  IpAddress sender;  // IPv4
  MacAddress target_mac;
  IpAddress target;
};
// Of Ethernet and IPv4 only; padding after it is ignored.
[[nodiscard]] std::optional<ArpMessage> parse_arp(Bytes payload) noexcept;
[[nodiscard]] Packet write_arp(const ArpMessage& message);

enum class NeighbourMessageType : uint8_t { Solicitation = 135, Advertisement = 136 };

struct NeighbourMessage {
  NeighbourMessageType type = NeighbourMessageType::Solicitation;
  IpAddress source;
  IpAddress destination;
  IpAddress target;
  bool router = false;  // the three flags of an advertisement
  bool solicited = false;
  bool override = false;
  std::optional<MacAddress> link_layer;  // solicitation: the source's · advertisement: the target's
};
// Everything that section 7.1 asks of a message is checked: hop limit, checksum, code, lengths of options,
// what may go with an unspecified source or a multicast destination.
[[nodiscard]] std::optional<NeighbourMessage> parse_neighbour_message(
    const IpView& packet) noexcept;
// The whole IPv6 packet.
[[nodiscard]] Packet write_neighbour_message(const NeighbourMessage& message);

}  // namespace turnpike::session

// What goes to the session thread, by copy. When the ring fills, what can wait gives way: pings and copies that
// only make an ICMP error first, packets next, then handshakes, then what finds neighbours, and events of keys
// last.
#include <cstring>

#include "dataplane/pipeline/burst.h"

namespace turnpike::pipeline {
namespace {

using publish::PuntHeader;
using publish::PuntKind;

// A frame with a solicitation or advertisement that nobody has forwarded (RFC 4861, 7.1), so that strangers
// beyond the link cannot send one.
[[nodiscard]] bool is_neighbour_discovery(Bytes frame) noexcept {
  if (frame.size() <= kEthernetBytes + kIpv6Bytes) return false;
  const uint8_t* ip = frame.data() + kEthernetBytes;
  const uint8_t type = ip[kIpv6Bytes];
  return ip_version(ip) == 6 && ip[6] == static_cast<uint8_t>(Protocol::Icmpv6) && ip[7] == 255 &&
         (type == 135 || type == 136);
}

// How many slots must stay free for others when this goes in.
[[nodiscard]] uint32_t slots_left_to_others(PuntKind kind, Bytes bytes, uint32_t slots) noexcept {
  switch (kind) {
    case PuntKind::KeypairConfirmed:
    case PuntKind::KeyAged:
    case PuntKind::KeyAgedReceiving:
      return 0;
    // Only the link can send these; without them no next hop is found, and all sessions stand still.
    case PuntKind::Arp:
      return slots / 16;
    // Without these no session is made. Anybody can send handshakes, and a peer can say in every burst that it has
    // moved.
    case PuntKind::Handshake:
    case PuntKind::PeerRoamed:
      return slots / 8;
    case PuntKind::PortIcmp:
      return is_neighbour_discovery(bytes) ? slots / 16 : slots / 2;
    case PuntKind::TunnelLocal:
    case PuntKind::NeedsHandshake:
    case PuntKind::NeedsNeighbour:
      return slots / 4;
    case PuntKind::Undeliverable:
    case PuntKind::NeedsFragments:
      return slots / 2;
  }
  return slots;
}

[[nodiscard]] bool has_room(const publish::PuntRing& ring, PuntKind kind, Bytes bytes) noexcept {
  return ring.waiting() + slots_left_to_others(kind, bytes, ring.slots()) < ring.slots();
}

[[nodiscard]] bool push(Burst& burst, const PuntHeader& header, Bytes bytes) noexcept {
  publish::PuntRing& ring = burst.door.punt;
  if (bytes.size() > ring.slot_bytes() || !has_room(ring, header.kind, bytes)) return false;
  publish::PuntRing::Slot* slot = ring.try_begin();
  if (slot == nullptr) return false;
  slot->header = header;
  slot->header.received_at = burst.now;
  slot->length_bytes = static_cast<uint32_t>(bytes.size());
  if (!bytes.empty()) std::memcpy(slot->data(), bytes.data(), bytes.size());
  ring.commit();
  return true;
}

[[nodiscard]] Bytes bytes_of(const Packet& packet) noexcept {
  return {packet.data, packet.length_bytes};
}

}  // namespace

void punt(Burst& burst, Lane lane, PuntHeader header) noexcept {
  if (push(burst, header, bytes_of(burst.packets[lane]))) {
    burst.finish(lane);
  } else {
    burst.drop(lane, DropReason::PuntRingFull);
  }
}

void punt_inner(Burst& burst, Lane lane, PuntKind kind) noexcept {
  PuntHeader header{.kind = kind, .port = burst.port, .tunnel = burst.tunnel[lane]};
  if (kind == PuntKind::NeedsHandshake) {
    const PeerIndex peer = burst.peer[lane];
    header.peer = {.index = peer, .incarnation = burst.shared.peers.incarnation(peer)};
  } else {
    header.peer = burst.from[lane];
  }
  punt(burst, lane, header);
}

void punt_neighbour(Burst& burst, Lane lane, PortIndex port, const IpAddress& next_hop) noexcept {
  punt(burst, lane,
       {.kind = PuntKind::NeedsNeighbour,
        .port = port,
        .tunnel = burst.tunnel[lane],
        .next_hop = next_hop});
}

void drop_undeliverable(Burst& burst, Lane lane, DropReason reason, uint16_t mtu_bytes) noexcept {
  // What was held is too big where the way to its peer was found out meanwhile, or is another one now. Otherwise what is
  // injected was judged before, or is our own.
  const bool injected = burst.port == kNoPort;
  if (!injected || reason == DropReason::PacketTooBig) {
    const PeerRef from = burst.from[lane];
    const bool plain = from.index == kNoPeer;
    (void)push(burst,
               {.kind = PuntKind::Undeliverable,
                .port = plain ? burst.port : kNoPort,
                .tunnel = burst.tunnel[lane],
                .peer = from,
                .detail = static_cast<uint8_t>(reason),
                .mtu_bytes = mtu_bytes},
               bytes_of(burst.packets[lane]));
  }
  burst.drop(lane, reason);
}

void end_too_big(Burst& burst, Lane lane, InnerLink link, bool ttl_is_done) noexcept {
  uint8_t* ip = burst.packets[lane].data;
  if (ip_version(ip) != 4 || !ipv4_may_be_fragmented(ip)) {
    return drop_undeliverable(burst, lane, DropReason::PacketTooBig, link.mtu_bytes);
  }
  if (!ttl_is_done) decrement_ttl(ip);
  PuntHeader header{.kind = PuntKind::NeedsFragments,
                    .port = link.port,
                    .tunnel = burst.tunnel[lane],
                    .mtu_bytes = link.mtu_bytes};
  if (link.port != kNoPort) {
    header.next_hop = link.next_hop != nullptr ? *link.next_hop : ip_destination(ip);
  }
  punt(burst, lane, header);
}

bool room_for_event(const Burst& burst, PuntKind kind) noexcept {
  return has_room(burst.door.punt, kind, {});
}

bool punt_event(Burst& burst, const PuntHeader& header) noexcept { return push(burst, header, {}); }

}  // namespace turnpike::pipeline

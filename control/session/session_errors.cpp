// What workers could not send on as it was: an ICMP error to who sent it, or fragments.
#include "control/session/fragments.h"
#include "control/session/session.h"

namespace turnpike::session {

using publish::NextHop;
using publish::NextHopKind;
using publish::PuntHeader;

namespace {

// What the gateway is called inside the tunnel: its address there, else on the inside port; none when it has no
// address of the family.
IpAddress own_address(const publish::Snapshot& snapshot, const publish::TunnelView& tunnel,
                      Family family) {
  for (const NextHop& hop : tunnel.local.next_hops) {
    if (hop.kind == NextHopKind::Local && hop.source.family == family) return hop.source;
  }
  IpAddress found;
  if (tunnel.inside >= snapshot.port_count) return found;
  for_each_local_address(snapshot, tunnel.inside, [&](const IpAddress& address) {
    if (found.is_none() && address.family == family && !address.is_link_local()) found = address;
  });
  return found;
}

}  // namespace

// The packet is counted already; an error that is not sent is counted for itself.
void Session::receive_undeliverable(WorkerIndex worker, const PuntHeader& header, Bytes packet) {
  if (header.tunnel >= kMaxTunnels || !may_be_answered(packet)) return;
  const bool v4 = packet[0] >> 4 == 4;
  const auto error = icmp_error_for(static_cast<DropReason>(header.detail),
                                    v4 ? Family::V4 : Family::V6, header.mtu_bytes);
  if (!error) return;
  const IpAddress target = v4 ? IpAddress::v4_bytes(&packet[12]) : IpAddress::v6_bytes(&packet[8]);
  const publish::TunnelView& tunnel = snapshot_->tunnels[header.tunnel];
  const bool plain = header.port != kNoPort;
  const Hop hop = plain ? route(*snapshot_, header.port, target) : Hop{};
  const IpAddress from = plain ? hop.source : own_address(*snapshot_, tunnel, target.family);
  // Nobody to tell, or nobody to be.
  if (from.is_none() || (plain && !hop.reachable())) return;
  if (!error_limiter_.take(target, now_.instant)) return drop(DropReason::IcmpRateLimited);
  const uint16_t mtu = plain ? snapshot_->ports[header.port].mtu_bytes : tunnel.mtu_bytes;
  const Packet answer = make_icmp_error(*error, from, packet, mtu, ++ipv4_identification_);
  if (plain) {
    resolver_.send(*snapshot_, now_.instant, worker, header.port, hop.neighbour, answer);
  } else {
    outbox_.inner_packet(worker, header.tunnel, answer);
  }
}

void Session::receive_needs_fragments(WorkerIndex worker, const PuntHeader& header, Bytes packet) {
  const bool to_port = header.port != kNoPort;
  if (to_port && (header.port >= snapshot_->port_count || header.next_hop.is_none())) {
    return drop(DropReason::NeighbourUnknown);
  }
  const bool fragmented = for_each_fragment(packet, header.mtu_bytes, [&](Bytes fragment) {
    if (to_port) {
      resolver_.send(*snapshot_, now_.instant, worker, header.port, header.next_hop, fragment);
    } else {
      outbox_.inner_packet(worker, header.tunnel, fragment);
    }
  });
  if (!fragmented) drop(DropReason::PacketTooBig);
}

}  // namespace turnpike::session

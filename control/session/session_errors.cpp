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

Family family_of(Bytes packet) noexcept { return packet[0] >> 4 == 4 ? Family::V4 : Family::V6; }

// Of a packet that may_be_answered().
IpAddress source_of(Bytes packet) noexcept {
  return family_of(packet) == Family::V4 ? IpAddress::v4_bytes(&packet[12])
                                         : IpAddress::v6_bytes(&packet[8]);
}

bool is_owned(const publish::TunnelView& tunnel, const IpAddress& address) noexcept {
  PeerIndex owner[1] = {kNoPeer};
  if (address.is_v4()) {
    const uint32_t key[1] = {address.v4_host_order()};
    lookup::lookup_burst(tunnel.allowed_v4, key, owner);
  } else {
    const lookup::Ipv6Key key[1] = {
        {.high = load_be64(&address.bytes[0]), .low = load_be64(&address.bytes[8])}};
    lookup::lookup_burst(tunnel.allowed_v6, key, owner);
  }
  return owner[0] != kNoPeer;
}

}  // namespace

// The packet is counted already; an error that is not sent is counted for itself.
void Session::receive_undeliverable(WorkerIndex worker, const PuntHeader& header, Bytes packet) {
  if (header.tunnel >= kMaxTunnels || !may_be_answered(packet)) return;
  const auto error =
      icmp_error_for(static_cast<DropReason>(header.detail), family_of(packet), header.mtu_bytes);
  if (!error) return;
  if (header.port != kNoPort) {
    send_error_to_port(header.port, worker, *error, packet);
  } else if (header.peer.index != kNoPeer) {
    send_error_into(header.tunnel, worker, *error, packet);
  } else {
    send_error_to_source(header.tunnel, worker, *error, packet);
  }
}

// Where it came from is not known any more: out of the tunnel if its source is a peer's, else from inside; ourselves we
// tell nothing.
void Session::send_error_to_source(TunnelIndex index, WorkerIndex worker, const IcmpError& error,
                                   Bytes about) {
  const publish::TunnelView& tunnel = snapshot_->tunnels[index];
  const IpAddress source = source_of(about);
  if (!tunnel.active || is_tunnel_local(tunnel, source)) return;
  if (tunnel.inside < snapshot_->port_count && is_local(*snapshot_, tunnel.inside, source)) return;
  if (is_owned(tunnel, source)) return send_error_into(index, worker, error, about);
  if (tunnel.inside < snapshot_->port_count) {
    send_error_to_port(tunnel.inside, worker, error, about);
  }
}

void Session::send_error_to_port(PortIndex port, WorkerIndex worker, const IcmpError& error,
                                 Bytes about) {
  const IpAddress target = source_of(about);
  const Hop hop = route(*snapshot_, port, target);
  // Nobody to tell, or nobody to be.
  if (!hop.reachable() || hop.source.is_none()) return;
  if (!error_limiter_.take(target, now_.instant)) return drop(DropReason::IcmpRateLimited);
  const Packet answer = make_icmp_error(error, hop.source, about, snapshot_->ports[port].mtu_bytes,
                                        ++ipv4_identification_);
  ++icmp_errors_sent_;
  resolver_.send(*snapshot_, now_.instant, worker, port, hop.neighbour, answer);
}

void Session::send_error_into(TunnelIndex index, WorkerIndex worker, const IcmpError& error,
                              Bytes about) {
  const publish::TunnelView& tunnel = snapshot_->tunnels[index];
  const IpAddress target = source_of(about);
  const IpAddress from = own_address(*snapshot_, tunnel, target.family);
  if (from.is_none()) return;
  if (!error_limiter_.take(target, now_.instant)) return drop(DropReason::IcmpRateLimited);
  ++icmp_errors_sent_;
  outbox_.inner_packet(
      worker, index, make_icmp_error(error, from, about, tunnel.mtu_bytes, ++ipv4_identification_));
}

// A neighbour did not answer. What a peer sent to it came out of the tunnel that the source belongs to; the rest was
// our own: messages to peers, answers.
void Session::report_lost(WorkerIndex worker, PortIndex port, Bytes packet) {
  if (!may_be_answered(packet) || is_local(*snapshot_, port, source_of(packet))) return;
  const auto error = icmp_error_for(DropReason::NeighbourUnknown, family_of(packet), 0);
  for (TunnelIndex i = 0; i < snapshot_->tunnel_count; ++i) {
    const publish::TunnelView& tunnel = snapshot_->tunnels[i];
    if (!tunnel.active || tunnel.inside != port) continue;
    if (is_tunnel_local(tunnel, source_of(packet))) return;
    if (is_owned(tunnel, source_of(packet))) return send_error_into(i, worker, *error, packet);
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

#include "control/session/session.h"

#include <algorithm>

#include "dataplane/base/check.h"

namespace turnpike::session {

using publish::PuntHeader;
using publish::PuntKind;
using publish::Snapshot;

Session::Session(const SessionParts& parts, Instant now)
    : slots_(parts.peers),
      random_(parts.random),
      outbox_(parts.doors, counters_),
      keypairs_(parts.keypairs, parts.peers, parts.epoch, parts.aead_keys),
      resolver_(parts.neighbours, outbox_, counters_, parts.random, now,
                [this](WorkerIndex worker, PortIndex port, Bytes packet) {
                  report_lost(worker, port, packet);
                }),
      wheel_(now),
      echo_bucket_(kEchoesPerSecond, kEchoBurst),
      error_limiter_(parts.random),
      events_(parts.events),
      unknown_key_bucket_(kUnknownKeysPerSecond, kUnknownKeysBurst),
      rings_(parts.computing.begin(), parts.computing.end()),
      kept_per_turn_(parts.kept_per_turn),
      admission_(parts.random),
      ipv4_identification_(static_cast<uint16_t>(parts.random.next_u32())) {
  for (publish::Door* door : parts.doors) punts_.push_back(&door->punt);
  outside_seen_.fill(kNoPort);
}

Session::~Session() = default;

size_t Session::turn(const Snapshot& snapshot, const Now& now) {
  snapshot_ = &snapshot;
  now_ = now;
  note_snapshot();
  computed_here_ = 0;
  size_t done = apply_changes() + reroute() + take_results();
  for (size_t worker = 0; worker < punts_.size(); ++worker) {
    done += drain(static_cast<WorkerIndex>(worker), *punts_[worker]);
  }
  done += work_backlog();
  done += wheel_.expire(now.instant, kTimersPerTurn, [this](PeerIndex index) {
    on_timer(index);
    take_results();
  });
  done += resolver_.run_timers(snapshot, now.instant, kTimersPerTurn);
  keypairs_.collect(kRetiredPerTurn, [this](PeerIndex index) -> wireguard::Keypair* {
    const Peer* peer = index < peers_.size() ? peers_[index].get() : nullptr;
    return peer != nullptr ? peer->keypairs.current : nullptr;
  });
  counters_.generation.set(snapshot.generation);
  snapshot_ = nullptr;
  return done;
}

Instant Session::next_deadline() const noexcept {
  return std::min(wheel_.next_deadline(), resolver_.next_deadline());
}

// Routes live in the snapshot, endpoints do not: what the routes say about an endpoint is worked out again
// when they changed. New addresses are told to the link.
void Session::note_snapshot() {
  bool changed = all_routes_stale_;
  for (PortIndex port = 0; port < snapshot_->port_count; ++port) {
    if (!all_routes_stale_ && same_routes(snapshot_->ports[port], ports_seen_[port])) continue;
    changed = true;
    ports_seen_[port] = snapshot_->ports[port];
    resolver_.announce(*snapshot_, 0, port);
  }
  for (size_t tunnel = 0; tunnel < kMaxTunnels; ++tunnel) {
    const PortIndex outside = snapshot_->tunnels[tunnel].outside;
    changed = changed || outside != outside_seen_[tunnel];
    outside_seen_[tunnel] = outside;
  }
  all_routes_stale_ = false;
  if (changed) reroute_at_ = 0;
}

void Session::tell(EventKind kind, const Peer& peer, const Endpoint& before) noexcept {
  if (events_ == nullptr) return;
  events_->push({.kind = kind,
                 .tunnel = peer.tunnel,
                 .peer = peer.ref,
                 .endpoint = peer.remote,
                 .before = before,
                 .at = now_.wall});
}

void Session::tell_unknown_key(TunnelIndex tunnel, const PublicKey& key,
                               const Endpoint& source) noexcept {
  if (events_ == nullptr || !unknown_key_bucket_.take(now_.instant)) return;
  events_->push({.kind = EventKind::UnknownKey,
                 .tunnel = tunnel,
                 .key = key,
                 .endpoint = source,
                 .at = now_.wall});
}

Peer* Session::find(PeerRef ref) noexcept {
  Peer* peer = ref.index < peers_.size() ? peers_[ref.index].get() : nullptr;
  if (peer != nullptr && peer->ref == ref) return peer;
  drop(DropReason::StalePeer);
  return nullptr;
}

size_t Session::drain(WorkerIndex worker, publish::PuntRing& ring) {
  admission_.note_backlog(ring.waiting(), ring.slots(), now_.instant);
  size_t taken = 0;
  const size_t limit = admission_.under_load(now_.instant) ? kPuntsPerTurnUnderLoad : kPuntsPerTurn;
  while (taken < limit) {
    const PuntSlot* slot = ring.front();
    if (slot == nullptr) break;
    receive(worker, *slot);
    ring.pop();
    ++taken;
    take_results();
  }
  return taken;
}

void Session::receive(WorkerIndex worker, const PuntSlot& slot) {
  const PuntHeader& header = slot.header;
  const Bytes bytes(slot.data(), slot.length_bytes);
  switch (header.kind) {
    case PuntKind::Handshake:
      return receive_handshake(worker, header, bytes);
    case PuntKind::Arp:
      return resolver_.receive_arp(*snapshot_, now_.instant, worker, header.port, bytes);
    case PuntKind::PortIcmp:
      return receive_port_icmp(worker, header.port, bytes);
    case PuntKind::TunnelLocal:
      return receive_tunnel_local(worker, header.tunnel, bytes);
    case PuntKind::NeedsHandshake:
      return receive_needs_handshake(worker, header, bytes);
    case PuntKind::NeedsNeighbour:
      return receive_needs_neighbour(worker, header, bytes);
    case PuntKind::Undeliverable:
      return receive_undeliverable(worker, header, bytes);
    case PuntKind::NeedsFragments:
      return receive_needs_fragments(worker, header, bytes);
    case PuntKind::KeypairConfirmed:
    case PuntKind::KeyAged:
    case PuntKind::KeyAgedReceiving:
    case PuntKind::PeerRoamed:
      return receive_event(worker, header);
  }
}

void Session::receive_port_icmp(WorkerIndex worker, PortIndex port, Bytes frame) {
  const auto ethernet = parse_ethernet(frame);
  const auto packet = ethernet ? parse_ip_packet(ethernet->payload) : std::nullopt;
  if (!packet || port >= snapshot_->port_count) return drop(DropReason::LocalUnwanted);
  if (packet->protocol == kProtocolIcmpv6 && packet->source.is_v6() && !packet->payload.empty() &&
      (packet->payload[0] == static_cast<uint8_t>(NeighbourMessageType::Solicitation) ||
       packet->payload[0] == static_cast<uint8_t>(NeighbourMessageType::Advertisement))) {
    return resolver_.receive_neighbour_message(*snapshot_, now_.instant, worker, port, *ethernet,
                                               *packet);
  }
  // From the inside a tunnel's own addresses are ours, too.
  const bool ours = is_local(*snapshot_, port, packet->destination) ||
                    std::ranges::any_of(snapshot_->tunnels, [&](const publish::TunnelView& tunnel) {
                      return tunnel.active && tunnel.inside == port &&
                             is_tunnel_local(tunnel, packet->destination);
                    });
  const auto reply = ours ? make_echo_reply(*packet) : std::nullopt;
  if (!reply) return drop(DropReason::LocalUnwanted);
  const Hop hop = route(*snapshot_, port, packet->source);
  if (!hop.reachable()) return drop(DropReason::NoRoute);
  if (!echo_bucket_.take(now_.instant)) return drop(DropReason::IcmpRateLimited);
  resolver_.send(*snapshot_, now_.instant, worker, port, hop.neighbour, *reply);
}

void Session::receive_tunnel_local(WorkerIndex worker, TunnelIndex tunnel, Bytes bytes) {
  const auto packet = parse_ip_packet(bytes);
  if (!packet || tunnel >= kMaxTunnels) return drop(DropReason::LocalUnwanted);
  const publish::TunnelView& view = snapshot_->tunnels[tunnel];
  const bool ours = is_tunnel_local(view, packet->destination) ||
                    is_local(*snapshot_, view.inside, packet->destination);
  const auto reply = ours ? make_echo_reply(*packet) : std::nullopt;
  if (!reply) return drop(DropReason::LocalUnwanted);
  if (!echo_bucket_.take(now_.instant)) return drop(DropReason::IcmpRateLimited);
  outbox_.inner_packet(worker, tunnel, *reply);
}

void Session::receive_needs_neighbour(WorkerIndex worker, const PuntHeader& header, Bytes packet) {
  if (header.port >= snapshot_->port_count || header.next_hop.is_none()) {
    return drop(DropReason::NeighbourUnknown);
  }
  resolver_.send(*snapshot_, now_.instant, worker, header.port, header.next_hop, packet);
}

void Session::receive_needs_handshake(WorkerIndex worker, const PuntHeader& header, Bytes packet) {
  Peer* peer = find(header.peer);
  if (peer == nullptr) return;
  peer->worker = worker;
  sync(*peer);
  // The session came up while the packet was on its way here; none waits before it.
  if (can_send(*peer) && held_.count(peer->ref.index) == 0) {
    outbox_.inner_packet(worker, header.tunnel, packet);
    return;
  }
  if (!can_initiate(*peer)) return drop(DropReason::NoEndpoint);
  if (const auto dropped = held_.hold(peer->ref.index, packet)) drop(*dropped);
  request_handshake(*peer);
}

void Session::receive_event(WorkerIndex worker, const PuntHeader& header) {
  Peer* peer = find(header.peer);
  if (peer == nullptr) return;
  peer->worker = worker;
  sync(*peer);
  const wireguard::Keypair* current = peer->keypairs.current;
  switch (header.kind) {
    case PuntKind::KeyAged:
    case PuntKind::KeyAgedReceiving:
      // Of a key that is not the newest nothing is to be renewed.
      if (current != nullptr && current->answers_to(header.local_index)) {
        request_handshake(*peer);
      }
      return;
    case PuntKind::PeerRoamed:
      if (!header.remote.is_none()) set_endpoint(*peer, header.remote, header.local);
      return;
    default:
      return;  // KeypairConfirmed: sync() has done it
  }
}

}  // namespace turnpike::session

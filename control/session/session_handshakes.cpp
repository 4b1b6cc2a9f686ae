// Handshakes: what comes in, what goes out, and what a new keypair means.
#include "control/session/session.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::session {

using publish::PuntHeader;
using wireguard::Keypair;
using wireguard::MessageType;

namespace {

// AF41, not ECN-capable: as the kernel marks its handshakes.
constexpr uint8_t kHandshakeTrafficClass = 0x88;

template <typename Datagram>
Datagram copy_of(Bytes datagram) noexcept {
  Datagram copy;
  CHECK(datagram.size() == copy.size());  // peek_type() has looked
  std::ranges::copy(datagram, copy.begin());
  return copy;
}

}  // namespace

void Session::receive_handshake(WorkerIndex worker, const PuntHeader& header, Bytes datagram) {
  if (header.tunnel >= kMaxTunnels || !tunnels_[header.tunnel].identity) {
    return drop(DropReason::HandshakePeerUnknown);
  }
  const auto type = wireguard::peek_type(datagram);
  if (type == MessageType::Initiation) return receive_initiation(worker, header, datagram);
  if (type == MessageType::Response) return receive_response(worker, header, datagram);
  if (type == MessageType::CookieReply) return receive_cookie_reply(datagram);
  drop(DropReason::MessageInvalid);
}

// Before anything is computed for a stranger.
bool Session::admit(WorkerIndex worker, const PuntHeader& header, Bytes datagram, bool awaited) {
  const Tunnel& tunnel = tunnels_[header.tunnel];
  if (!wireguard::check_mac1(tunnel.identity->mac_keys, datagram)) {
    drop(DropReason::Mac1Invalid);
    return false;
  }
  if (!admission_.under_load(now_.instant)) return true;
  const bool proven = tunnel.cookies->check_mac2(datagram, header.remote, now_.instant);
  switch (admission_.judge(proven, awaited, header.remote.address, now_.instant)) {
    case Admission::Verdict::Work:
      return true;
    case Admission::Verdict::RateLimited:
      drop(DropReason::SourceRateLimited);
      return false;
    case Admission::Verdict::SendCookie:
      drop(DropReason::Mac2Missing);
      send_cookie(worker, header, datagram);
      return false;
  }
  return false;
}

// Shorter than what it answers, and to where that came from: nothing is amplified.
void Session::send_cookie(WorkerIndex worker, const PuntHeader& header, Bytes datagram) {
  const PortIndex outside = snapshot_->tunnels[header.tunnel].outside;
  const Hop hop = route(*snapshot_, outside, header.remote.address);
  if (!hop.reachable() || header.local.is_none()) return drop(DropReason::NoRoute);
  const wireguard::CookieReplyBytes reply =
      tunnels_[header.tunnel].cookies->make_reply(datagram, header.remote, now_.instant, random_);
  send_handshake_udp(worker, header.tunnel, header.remote, header.local, hop.neighbour, reply);
}

void Session::note_authentic(Peer& peer, WorkerIndex worker, const PuntHeader& header,
                             size_t bytes) {
  peer.worker = worker;
  publish::PeerActivity& activity = slot_of(peer).activity;
  slots_.record(peer.ref.index).handshake_rx_bytes.fetch_add(bytes, std::memory_order_relaxed);
  activity.last_received.store(now_.instant.nanoseconds, std::memory_order_relaxed);
  activity.unacknowledged_since.store(0, std::memory_order_relaxed);
  set_endpoint(peer, header.remote, header.local);
}

void Session::receive_initiation(WorkerIndex worker, const PuntHeader& header, Bytes datagram) {
  if (!admit(worker, header, datagram, false)) return;
  // Nobody overtakes those that wait.
  if (!admission_.under_load(now_.instant) && backlog_.empty()) {
    return answer_initiation(worker, header, datagram);
  }
  if (!backlog_.push(worker, header, datagram, now_.instant)) drop(DropReason::HandshakeQueueFull);
}

size_t Session::work_backlog() {
  size_t done = 0;
  // Each further thread takes on as much as this one.
  const size_t limit = kBacklogPerTurn * (1 + rings_.size());
  while (done < limit) {
    const auto entry = backlog_.pop();
    if (!entry) break;
    ++done;
    if (Backlog::stale(*entry, now_.instant) || !tunnels_[entry->header.tunnel].identity) {
      drop(DropReason::HandshakeQueueFull);
      continue;
    }
    answer_initiation(entry->worker, entry->header, entry->datagram);
    take_results();
  }
  return done;
}

void Session::answer_initiation(WorkerIndex worker, const PuntHeader& header, Bytes datagram) {
  compute(
      OpenInitiation{.identity = tunnels_[header.tunnel].identity,
                     .received = {worker, header, copy_of<wireguard::InitiationBytes>(datagram)}});
}

void Session::receive_response(WorkerIndex worker, const PuntHeader& header, Bytes datagram) {
  const Tunnel& tunnel = tunnels_[header.tunnel];
  const uint32_t index = load_le32(&datagram[8]);
  const PeerIndex owner = keypairs_.peer_of(index);
  const bool of_a_peer =
      owner != kNoPeer && peers_[owner] != nullptr && peers_[owner]->tunnel == header.tunnel;
  const bool awaited = of_a_peer && peers_[owner]->handshake.in_flight.active &&
                       peers_[owner]->handshake.in_flight.local_index == index;
  if (!admit(worker, header, datagram, awaited)) return;
  // What nobody waits for costs nothing more.
  if (!awaited) return drop(DropReason::HandshakeInvalid);
  Peer& peer = *peers_[owner];
  compute(
      ConsumeResponse{.peer = peer.ref,
                      .handshake = HandshakeState(peer.handshake),
                      .identity = tunnel.identity,
                      .received = {worker, header, copy_of<wireguard::ResponseBytes>(datagram)}});
}

void Session::receive_cookie_reply(Bytes datagram) {
  const auto reply = wireguard::parse_cookie_reply(datagram);
  const PeerIndex owner = reply ? keypairs_.peer_of(reply->receiver_index) : kNoPeer;
  // Nothing but the cookie is taken from it: it proves no more than that its sender saw our message.
  if (owner == kNoPeer || peers_[owner] == nullptr ||
      !peers_[owner]->handshake.cookies.consume(*reply, now_.instant)) {
    drop(DropReason::CookieInvalid);
  }
}

// Somebody wants to send. At most one initiation in kRekeyTimeout; what comes sooner waits for its turn.
void Session::request_handshake(Peer& peer) {
  peer.progress.started_at = now_.instant;
  if (peer.progress.in_flight) return;
  peer.wants_handshake = can_initiate(peer);
  if (!peer.wants_handshake) return;
  if (wireguard::may_initiate(peer.progress, now_.instant)) {
    initiate(peer);
  } else {
    touch(peer);
  }
}

// Without an identity the peer is known, but nothing can be done with it.
bool Session::can_initiate(Peer& peer) noexcept {
  const Tunnel& tunnel = tunnels_[peer.tunnel];
  return !peer.remote.is_none() && tunnel.identity && peer.handshake.derive(*tunnel.identity);
}

// One more attempt. Where it fails on our side it counts as sent and lost, and is repeated like one.
void Session::initiate(Peer& peer) {
  abandon_initiation(peer);
  peer.wants_handshake = false;
  peer.progress.in_flight = true;
  peer.progress.last_attempt_at = now_.instant;
  peer.progress.jitter = wireguard::kRekeyTimeoutJitterMax / 1024 * (random_.next_u32() % 1024);
  touch(peer);
  if (!can_initiate(peer)) return;
  const auto index = keypairs_.reserve_index(peer.ref.index);
  if (!index) return drop(DropReason::HandshakeQueueFull);
  compute(CreateInitiation{.peer = peer.ref,
                           .handshake = HandshakeState(peer.handshake),
                           .identity = tunnels_[peer.tunnel].identity,
                           .attempt = peer.attempts,
                           .local_index = *index,
                           .now = now_});
}

void Session::abandon_initiation(Peer& peer) {
  peer.progress.in_flight = false;
  ++peer.attempts;  // one that is being computed is not sent
  if (!peer.handshake.in_flight.active) return;
  keypairs_.release_index(peer.handshake.in_flight.local_index);
  peer.handshake.abandon();
}

bool Session::send_datagram(Peer& peer, Bytes datagram) {
  refresh_endpoint(peer);
  const publish::TunnelView& tunnel = snapshot_->tunnels[peer.tunnel];
  const Hop hop = route(*snapshot_, tunnel.outside, peer.remote.address);
  if (!hop.reachable() || peer.source.is_none()) {
    drop(peer.remote.is_none() ? DropReason::NoEndpoint : DropReason::NoRoute);
    return false;
  }
  publish::PeerActivity& activity = slot_of(peer).activity;
  slots_.record(peer.ref.index)
      .handshake_tx_bytes.fetch_add(datagram.size(), std::memory_order_relaxed);
  activity.last_sent.store(now_.instant.nanoseconds, std::memory_order_relaxed);
  activity.unanswered_since.store(0, std::memory_order_relaxed);
  send_handshake_udp(peer.worker, peer.tunnel, peer.remote, peer.source, hop.neighbour, datagram);
  return true;
}

void Session::send_handshake_udp(WorkerIndex worker, TunnelIndex index, const Endpoint& remote,
                                 const IpAddress& source, const IpAddress& neighbour,
                                 Bytes datagram) {
  const publish::TunnelView& tunnel = snapshot_->tunnels[index];
  const Packet packet = make_udp_packet({.source = source,
                                         .destination = remote.address,
                                         .traffic_class = kHandshakeTrafficClass,
                                         .identification = ++ipv4_identification_},
                                        tunnel.listen_port, remote.port, datagram);
  resolver_.send(*snapshot_, now_.instant, worker, tunnel.outside, neighbour, packet);
}

// Before anything is judged by the peer's keypairs: a worker may have confirmed one.
void Session::sync(Peer& peer) {
  if (keypairs_.sync(peer.keypairs, peer.ref.index, now_.instant)) session_is_up(peer);
}

void Session::session_is_up(Peer& peer) {
  slots_.record(peer.ref.index)
      .last_handshake_wall.store(now_.wall.nanoseconds, std::memory_order_relaxed);
  handshakes_done_.add(1);
  tell(EventKind::HandshakeDone, peer);
  peer.progress.in_flight = false;
  peer.wants_handshake = false;
  release_held(peer);
  touch(peer);
}

// Before the look-up, so that they follow whoever owns their destination now.
void Session::release_held(Peer& peer) {
  for (const Packet& packet : held_.take(peer.ref.index)) {
    outbox_.inner_packet(peer.worker, peer.tunnel, packet);
  }
}

bool Session::can_send(const Peer& peer) const noexcept {
  const Keypair* current = peer.keypairs.current;
  return current != nullptr && !current->expired(now_.instant) &&
         current->sending().counter.load(std::memory_order_relaxed) <
             wireguard::kRejectAfterMessages;
}

}  // namespace turnpike::session

// Computations of handshakes: where they are worked out, and what their results mean by then.
//   The first few of a turn are worked out here, so that at rest no handshake waits for another thread; what comes
//   more goes to the other session threads as long as their rings have room, then again here. Nothing is lost for it,
//   and without other threads everything is worked out here.
//   A result from elsewhere is brought home only where it still fits: the peer is the same, its keys and those of the
//   tunnel are, and nothing newer has taken its place.
#include <algorithm>
#include <utility>

#include "control/session/session.h"

namespace turnpike::session {

using wireguard::HandshakeRefusal;
using wireguard::Keypair;
using wireguard::PeerHandshake;

namespace {

DropReason reason_of(HandshakeRefusal refusal) noexcept {
  switch (refusal) {
    case HandshakeRefusal::Replayed:
      return DropReason::HandshakeReplayed;
    case HandshakeRefusal::TooSoon:
      return DropReason::HandshakeFlood;
    default:
      return DropReason::HandshakeInvalid;
  }
}

}  // namespace

template <typename Step>
void Session::compute(Step step) {
  if (ComputationRing* ring = ring_for_another()) {
    ring->try_begin()->emplace<Step>(std::move(step)).detach();
    ring->commit();
    handed_over_.add(1);
    return;
  }
  step.run(random_);
  finish(step);
}

template void Session::compute(OpenInitiation);
template void Session::compute(CreateInitiation);
template void Session::compute(ConsumeResponse);

// nullptr: it is worked out here.
ComputationRing* Session::ring_for_another() noexcept {
  if (rings_.empty()) return nullptr;
  if (computed_here_ < kept_per_turn_) return ++computed_here_, nullptr;
  for (size_t i = 0; i < rings_.size(); ++i) {
    next_ring_ = (next_ring_ + 1) % rings_.size();
    if (rings_[next_ring_]->try_begin() != nullptr) return rings_[next_ring_];
  }
  return nullptr;
}

size_t Session::take_results() {
  size_t done = 0;
  for (ComputationRing* ring : rings_) {
    while (Computation* computation = ring->front()) {
      std::visit(
          [this](auto& step) {
            if constexpr (requires { this->finish(step); }) finish(step);
          },
          *computation);
      ring->pop();
      ++done;
    }
  }
  return done;
}

size_t Session::computing() const noexcept {
  size_t pending = 0;
  for (const ComputationRing* ring : rings_) pending += ring->pending();
  return pending;
}

void Session::finish(OpenInitiation& step) {
  const auto& [worker, header, datagram] = step.received;
  Tunnel& tunnel = tunnels_[header.tunnel];
  // It was for a key that the tunnel has no more.
  if (tunnel.identity != step.identity) return drop(DropReason::HandshakePeerUnknown);
  if (!step.opened) return drop(reason_of(step.opened.error()));
  const auto found = tunnel.peers.find(step.opened->remote_static);
  if (found == tunnel.peers.end()) {
    tell_unknown_key(header.tunnel, step.opened->remote_static, header.remote);
    return drop(DropReason::HandshakePeerUnknown);
  }
  Peer& peer = *peers_[found->second];
  peer.handshake.derive(*tunnel.identity);
  const auto accepted = wireguard::accept_initiation(*step.opened, peer.handshake, now_.instant);
  if (!accepted) return drop(reason_of(accepted.error()));
  ++peer.acceptances;
  if (!std::exchange(peer.received_noted, true)) received_.push_back(peer.ref);
  sync(peer);
  note_authentic(peer, worker, header, datagram.size());

  const auto index = keypairs_.reserve_index(peer.ref.index);
  if (!index) return drop(DropReason::HandshakeQueueFull);
  compute(CreateResponse{.peer = peer.ref,
                         .handshake = HandshakeState(peer.handshake),
                         .accepted = *accepted,
                         .acceptance = peer.acceptances,
                         .local_index = *index,
                         .now = now_.instant});
}

void Session::finish(CreateResponse& step) {
  Peer* peer = find(step.peer);
  // The initiator waits for an answer to its newest message only; and a preshared key may have changed.
  const bool superseded = peer != nullptr && peer->acceptances != step.acceptance;
  if (superseded) drop(DropReason::HandshakeReplayed);
  if (peer == nullptr || superseded) return keypairs_.release_index(step.local_index);
  Keypair* keypair = step.created
                         ? keypairs_.make(step.created->keys, peer->ref, peer->tunnel, now_.instant)
                         : nullptr;
  if (keypair == nullptr) {
    keypairs_.release_index(step.local_index);
    return drop(step.created ? DropReason::HandshakeQueueFull : reason_of(step.created.error()));
  }
  // The cookie may be newer than the copy, and a cookie reply is for who remembers the mac1.
  if (step.handshake.detached()) {
    peer->handshake.cookies.write_macs(step.created->datagram, now_.instant);
  }
  sync(*peer);
  keypairs_.install_responder(peer->keypairs, keypair);
  // Our own initiation waits as long as if it had been sent now: the peer's session most likely comes
  // first (kernel: last_sent_handshake is set by responses, too). One in flight keeps its time.
  if (!peer->progress.in_flight) peer->progress.last_attempt_at = now_.instant;
  (void)send_datagram(*peer, step.created->datagram);
  touch(*peer);
}

void Session::finish(CreateInitiation& step) {
  Peer* peer = find(step.peer);
  if (peer == nullptr) return keypairs_.release_index(step.local_index);
  if (step.handshake.detached()) {
    // Nobody waits for it any more, it was given up for another one, or dates have moved on.
    PeerHandshake& own = peer->handshake;
    if (peer->attempts != step.attempt || !peer->progress.in_flight ||
        (step.datagram && step.handshake->last_sent <= own.last_sent)) {
      return keypairs_.release_index(step.local_index);
    }
    if (step.datagram) {
      own.in_flight = step.handshake->in_flight;
      own.last_sent = step.handshake->last_sent;
      own.cookies.write_macs(*step.datagram, now_.instant);
    }
  }
  if (!step.datagram) return keypairs_.release_index(step.local_index);
  newest_sent_ = std::max(newest_sent_, peer->handshake.last_sent);
  (void)send_datagram(*peer, *step.datagram);
}

void Session::finish(ConsumeResponse& step) {
  const auto& [worker, header, datagram] = step.received;
  Peer* peer = find(step.peer);
  if (peer == nullptr) return;
  if (!step.keys) return drop(reason_of(step.keys.error()));
  if (step.handshake.detached()) {
    // A second copy of the response came before, or what it answers was given up, as when a key changes.
    const PeerHandshake::InFlight& in_flight = peer->handshake.in_flight;
    if (!in_flight.active || in_flight.local_index != step.keys->local_index) {
      return drop(DropReason::HandshakeInvalid);
    }
    peer->handshake.abandon();
  }
  sync(*peer);
  note_authentic(*peer, worker, header, datagram.size());
  Keypair* keypair = keypairs_.make(*step.keys, peer->ref, peer->tunnel, now_.instant);
  if (keypair == nullptr) {
    keypairs_.release_index(step.keys->local_index);
    return drop(DropReason::HandshakeQueueFull);
  }
  keypairs_.install_initiator(peer->keypairs, keypair);
  // Something has to go out now, or the responder may not send: what waits, else a keepalive.
  const bool nothing_waits = held_.count(peer->ref.index) == 0;
  session_is_up(*peer);
  if (nothing_waits) send_keepalive(*peer);
}

}  // namespace turnpike::session

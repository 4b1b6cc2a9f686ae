// One lazy timer for each peer: when it fires, the slot is read, wireguard/timers.h decides, and the next
// time to look is armed.
#include "control/session/session.h"

namespace turnpike::session {

using wireguard::TimerDecision;

namespace {

// Acting changes what the next decision sees; more rounds than kinds of action would be a loop.
constexpr int kRounds = 4;
constexpr Duration kConfirmationPoll = 250ms;

}  // namespace

// Something happened: the peer is looked at with the next tick, which arms what is to come.
void Session::touch(const Peer& peer) { wheel_.arm(peer.ref.index, now_.instant); }

TimerDecision Session::decide(const Peer& peer) noexcept {
  const publish::PeerActivity& activity = slot_of(peer).activity;
  const auto read = [](const std::atomic<uint64_t>& at) {
    return Instant{at.load(std::memory_order_relaxed)};
  };
  wireguard::TimerInput input;
  input.activity = {.last_sent = read(activity.last_sent),
                    .last_received = read(activity.last_received),
                    .unanswered_since = read(activity.unanswered_since),
                    .unacknowledged_since = read(activity.unacknowledged_since)};
  const PeerKeypairs& keypairs = peer.keypairs;
  if (keypairs.current != nullptr)
    input.session.current_created_at = keypairs.current->sending().created_at;
  for (const wireguard::Keypair* keypair : {keypairs.previous, keypairs.current, keypairs.next}) {
    if (keypair == nullptr) continue;
    input.session.newest_created_at =
        std::max(input.session.newest_created_at, keypair->sending().created_at);
  }
  input.handshake = peer.progress;
  input.persistent_keepalive = std::chrono::seconds(peer.persistent_keepalive_seconds);
  input.reachable = !peer.remote.is_none();
  return wireguard::decide_timers(input, now_.instant);
}

void Session::on_timer(PeerIndex index) {
  Peer* peer = index < peers_.size() ? peers_[index].get() : nullptr;
  if (peer == nullptr) return;
  sync(*peer);
  TimerDecision decision = decide(*peer);
  for (int round = 0; round < kRounds && decision.anything(); ++round) {
    act(*peer, decision);
    decision = decide(*peer);
  }
  // Packets never wait for a handshake that nobody makes: its key or endpoint may have been taken away.
  if (held_.count(index) != 0 && !peer->progress.in_flight && !peer->wants_handshake) {
    if (can_initiate(*peer)) return request_handshake(*peer);
    drop(DropReason::HeldExpired, held_.take(index).size());
  }
  Instant next = decision.next;
  const auto earlier = [&next](Instant at) { next = next.is_never() ? at : std::min(next, at); };
  const Instant lingers_until = keypairs_.expire_lingering(peer->keypairs, now_.instant);
  if (!lingers_until.is_never()) earlier(lingers_until);
  if (peer->wants_handshake && !peer->progress.in_flight) {
    if (wireguard::may_initiate(peer->progress, now_.instant)) return initiate(*peer);
    earlier(peer->progress.last_attempt_at + wireguard::kRekeyTimeout);
  }
  // A worker may confirm it, and what waits for that must not hang on one event in a ring.
  if (peer->keypairs.next != nullptr && held_.count(index) != 0) {
    earlier(now_.instant + kConfirmationPoll);
  }
  if (decision.anything()) earlier(now_.instant + wireguard::kRekeyTimeout);
  if (next.is_never()) {
    wheel_.cancel(index);
  } else {
    wheel_.arm(index, next);
  }
}

void Session::act(Peer& peer, const TimerDecision& decision) {
  publish::PeerSlot& slot = slot_of(peer);
  if (decision.erase_keys) {
    abandon_initiation(peer);
    keypairs_.clear(peer.keypairs, peer.ref.index);
  }
  if (decision.give_up_handshake) {
    tell(EventKind::PeerSilent, peer);
    abandon_initiation(peer);
    peer.wants_handshake = false;
    slot.activity.unacknowledged_since.store(0, std::memory_order_relaxed);
    drop(DropReason::HeldExpired, held_.take(peer.ref.index).size());
  }
  if (decision.retry_handshake || decision.start_handshake) {
    slot.activity.unacknowledged_since.store(0, std::memory_order_relaxed);
    // The address that we send from may be what is wrong: the route chooses again (kernel: clear src).
    if (!peer.local.is_none()) {
      peer.local = {};
      peer.endpoint_stale = true;
    }
    if (decision.start_handshake) peer.progress.started_at = now_.instant;
    initiate(peer);
  }
  if (decision.send_passive_keepalive || decision.send_persistent_keepalive) send_keepalive(peer);
}

// An injected keepalive counts as sent from here on; the worker notes it again when it has gone.
void Session::send_keepalive(Peer& peer) {
  publish::PeerActivity& activity = slot_of(peer).activity;
  activity.last_sent.store(now_.instant.nanoseconds, std::memory_order_relaxed);
  activity.unanswered_since.store(0, std::memory_order_relaxed);
  outbox_.keepalive(peer.worker, peer.tunnel, peer.ref);
}

}  // namespace turnpike::session

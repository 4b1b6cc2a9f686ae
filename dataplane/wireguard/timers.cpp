#include "dataplane/wireguard/timers.h"

#include <algorithm>

namespace turnpike::wireguard {
namespace {

// Collects the earliest deadline that is still to come.
class Deadlines {
 public:
  explicit Deadlines(Instant now) noexcept : now_(now) {}

  // True when `at` has come; else it is remembered.
  bool due(Instant at) noexcept {
    if (at <= now_) return true;
    if (next_.is_never() || at < next_) next_ = at;
    return false;
  }
  [[nodiscard]] Instant next() const noexcept { return next_; }

 private:
  Instant now_;
  Instant next_;
};

// What was due for an answer at `since` and has had none that we know of. At the same instant the
// order is unknown; the field is then believed, since whoever answers resets it.
bool open_since(Instant since, Instant answered) noexcept {
  return !since.is_never() && since >= answered;
}

void decide_handshake(const TimerInput& input, Deadlines& deadlines,
                      TimerDecision& decision) noexcept {
  const HandshakeProgress& handshake = input.handshake;
  // Each attempt has its full time to be answered, also the last: giving up happens where the next
  // one would be sent (kernel: timer_retransmit_handshake).
  const Instant attempt_over = handshake.last_attempt_at + kRekeyTimeout + handshake.jitter;
  const Instant all_over = handshake.started_at + kRekeyAttemptTime;
  if (!input.reachable) {
    decision.give_up_handshake = deadlines.due(std::max(all_over, attempt_over));
  } else if (deadlines.due(attempt_over)) {
    (attempt_over >= all_over ? decision.give_up_handshake : decision.retry_handshake) = true;
  }
}

}  // namespace

TimerDecision decide_timers(const TimerInput& input, Instant now) noexcept {
  const auto& [activity, session, handshake, persistent_keepalive, reachable] = input;
  TimerDecision decision;
  Deadlines deadlines(now);

  if (!session.newest_created_at.is_never()) {
    decision.erase_keys = deadlines.due(session.newest_created_at + kKeyErasureTime);
    // While packets can come in, one may come right after this look: it would have to be answered
    // kKeepaliveTimeout later, which the next look must not miss.
    if (now - session.newest_created_at < kRejectAfterTime) {
      (void)deadlines.due(now + kKeepaliveTimeout);
    }
  }
  if (handshake.in_flight) decide_handshake(input, deadlines, decision);

  if (reachable) {
    const bool can_send = !session.current_created_at.is_never() &&
                          now - session.current_created_at < kRejectAfterTime;
    bool wants_handshake = false;
    if (open_since(activity.unanswered_since, activity.last_sent) &&
        deadlines.due(activity.unanswered_since + kKeepaliveTimeout)) {
      (can_send ? decision.send_passive_keepalive : wants_handshake) = true;
    }
    if (persistent_keepalive > Duration::zero()) {
      const Instant last_traffic = std::max(activity.last_sent, activity.last_received);
      // Nothing yet in either direction: at once, so that a NAT in between opens.
      if (last_traffic.is_never() || deadlines.due(last_traffic + persistent_keepalive)) {
        (can_send ? decision.send_persistent_keepalive : wants_handshake) = true;
      }
    }
    if (open_since(activity.unacknowledged_since, activity.last_received) &&
        deadlines.due(activity.unacknowledged_since + kNewHandshakeAfterSilence +
                      handshake.jitter)) {
      wants_handshake = true;
    }
    // One in flight goes on by its own rule.
    if (wants_handshake && !handshake.in_flight) {
      decision.start_handshake = handshake.last_attempt_at.is_never() ||
                                 deadlines.due(handshake.last_attempt_at + kRekeyTimeout);
    }
  }
  decision.next = deadlines.next();
  return decision;
}

}  // namespace turnpike::wireguard

// WireGuard's timers (paper, section 6; facts of the Linux kernel's timers.c) as one pure decision:
// from what a peer's slot and session say now, what is to be done now and when to look again.
// Nothing is armed by a packet; workers only store times.
//   Threads: pure functions, any thread; the session thread calls decide_timers().
#pragma once

#include <cstdint>

#include "dataplane/base/time.h"
#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/keypair.h"

namespace turnpike::wireguard {

// What packets leave behind. "Authenticated" are data, keepalives and the handshake's messages.
struct PeerActivity {
  Instant last_sent;  // any authenticated packet
  Instant last_received;  // any authenticated packet
  // The first data (no keepalive) received since we last sent anything; never: none. Sending resets
  // it.
  Instant unanswered_since;
  // The first data sent since anything authenticated was received; never: none. Receiving resets
  // it, and so does whoever acts on start_handshake or give_up_handshake: the rule fires once for a
  // silence.
  Instant unacknowledged_since;
};

struct SessionFacts {
  Instant current_created_at;  // of the keypair that sends; never: none
  Instant newest_created_at;  // of the newest keypair held at all, also an unconfirmed one
};

struct HandshakeProgress {
  bool in_flight = false;
  // Of the first attempt, or later: the last time that somebody wanted to send since then.
  Instant started_at;
  // Of the newest initiation; kept when its handshake is over.
  Instant last_attempt_at;
  // Uniform in 0 .. kRekeyTimeoutJitterMax, drawn for each attempt.
  Duration jitter{0};
};

struct TimerInput {
  PeerActivity activity;
  SessionFacts session;
  HandshakeProgress handshake;
  Duration persistent_keepalive{0};  // 0: off
  bool reachable = true;  // an endpoint is known
};

struct TimerDecision {
  bool send_passive_keepalive = false;  // received data went unanswered for kKeepaliveTimeout
  bool send_persistent_keepalive = false;  // nothing went either way for the interval
  bool start_handshake = false;  // the peer fell silent, or a keepalive finds no usable key
  bool retry_handshake = false;
  bool give_up_handshake = false;  // and drop the packets that wait for it
  bool erase_keys = false;  // no new session for kKeyErasureTime
  // When to decide again if nothing is done or heard until then; never: not before something
  // happens that the session thread knows of (a handshake, a configuration). After acting, decide
  // again.
  Instant next;

  [[nodiscard]] bool anything() const noexcept {
    return send_passive_keepalive || send_persistent_keepalive || start_handshake ||
           retry_handshake || give_up_handshake || erase_keys;
  }
};

[[nodiscard]] TimerDecision decide_timers(const TimerInput& input, Instant now) noexcept;

// At most one initiation in kRekeyTimeout, whoever wants it (kernel: last_sent_handshake).
[[nodiscard]] inline bool may_initiate(const HandshakeProgress& handshake, Instant now) noexcept {
  return handshake.last_attempt_at.is_never() || now - handshake.last_attempt_at >= kRekeyTimeout;
}

// After sending under a key: only the initiator renews by age, since otherwise both would
// (paper, 6.2). `next_counter` is the key's send counter.
[[nodiscard]] inline bool rekey_due_after_sending(Role role, Instant created_at,
                                                  uint64_t next_counter, Instant now) noexcept {
  return next_counter > kRekeyAfterMessages ||
         (role == Role::Initiator && now - created_at >= kRekeyAfterTime);
}

// After receiving under a key, asked once for each key: the initiator that only receives renews it
// in time for the responder, which cannot (paper, 6.2).
[[nodiscard]] inline bool rekey_due_after_receiving(Role role, Instant created_at,
                                                    Instant now) noexcept {
  return role == Role::Initiator && now - created_at >= kRekeyAfterTimeReceiving;
}

}  // namespace turnpike::wireguard

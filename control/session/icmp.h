// Echo (ping) for the gateway's own addresses: RFC 792 and RFC 4443.
//   Threads: pure functions, any thread; a bucket belongs to one.
#pragma once

#include <algorithm>
#include <optional>

#include "control/session/frames.h"
#include "dataplane/base/time.h"

namespace turnpike::session {

// The answer to an echo request whose checksum is right, from the address that it was sent to; nothing for
// everything else. The caller has checked that the destination is one of ours.
[[nodiscard]] std::optional<Packet> make_echo_reply(const IpView& request);

// How many answers a second at most, and how many at once.
class TokenBucket {
 public:
  TokenBucket(uint32_t per_second, uint32_t burst) noexcept
      : interval_(Duration(1s) / per_second), depth_(interval_ * burst) {}

  [[nodiscard]] bool take(Instant now) noexcept {
    // `spent_until_` is when the bucket is full again.
    const Instant base = std::max(spent_until_, now);
    if (base + interval_ - now > depth_) return false;
    spent_until_ = base + interval_;
    return true;
  }

 private:
  Duration interval_;
  Duration depth_;
  Instant spent_until_;
};

}  // namespace turnpike::session

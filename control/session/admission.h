// Whom the session thread works for while more handshakes come than it can do. (paper, section 5.3; the kernel's
// cookie.c and ratelimiter.c)
//   At rest every message with a valid mac1 is worked on. Under load a valid mac2, a cookie, is asked for, and
//   then each source has its share. A source without a cookie gets a small common share before it is sent one:
//   a flood from few addresses then costs others no round trip, which for stock peers is kRekeyTimeout.
//   Threads: the session thread.
//   Bounds:  two tables of sources (see SourceLimiter), no allocation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "control/session/icmp.h"
#include "dataplane/base/address.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/source_limiter.h"

namespace turnpike::session {

class Admission {
 public:
  // Load is a ring of punted datagrams that is an eighth full, and the second after that.
  static constexpr size_t kLoadFraction = 8;
  static constexpr Duration kLoadHold = 1s;
  // Of those without a cookie, in all. A tenth of what one core can answer.
  static constexpr uint32_t kStrangersPerSecond = 500;
  static constexpr uint32_t kStrangersBurst = 50;

  enum class Verdict : uint8_t { Work, SendCookie, RateLimited };

  explicit Admission(RandomSource& random)
      : proven_(random), unproven_(random), strangers_(kStrangersPerSecond, kStrangersBurst) {}

  // Of one ring, at the top of a turn.
  void note_backlog(size_t waiting, size_t slots, Instant now) noexcept {
    if (waiting >= slots / kLoadFraction) loaded_until_ = now + kLoadHold;
  }
  [[nodiscard]] bool under_load(Instant now) const noexcept {
    return !loaded_until_.is_never() && now < loaded_until_;
  }
  // Under load, of a message whose mac1 is valid. `proven`: so is its mac2.
  [[nodiscard]] Verdict judge(bool proven, const IpAddress& source, Instant now) noexcept {
    if (proven) return proven_.allow(source, now) ? Verdict::Work : Verdict::RateLimited;
    const bool share = unproven_.allow(source, now) && strangers_.take(now);
    return share ? Verdict::Work : Verdict::SendCookie;
  }

 private:
  // Apart: a source that anybody can write into a header must not use up what its owner has.
  wireguard::SourceLimiter proven_;
  wireguard::SourceLimiter unproven_;
  TokenBucket strangers_;
  Instant loaded_until_;
};

}  // namespace turnpike::session

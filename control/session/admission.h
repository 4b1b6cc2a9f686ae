// Whom the session thread works for while more handshakes come than it can do. (paper, section 5.3; the kernel's
// cookie.c and ratelimiter.c)
//   At rest every message with a valid mac1 is worked on. Under load a valid mac2, a cookie, is asked for, and
//   then each source has its share. A stock peer that is sent a cookie begins again only kRekeyTimeout later, so
//   before one is sent two common shares are used up: that of addresses where a peer of ours is or that answer us,
//   which who floods us from elsewhere cannot touch, and a small one of all others.
//   Threads: the session thread.
//   Bounds:  three tables of sources (see SourceLimiter); an entry for each address of a peer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

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
  // Of known addresses without a cookie, in all: these, too, can be written into a header by who knows them.
  static constexpr uint32_t kKnownPerSecond = 2'000;
  static constexpr uint32_t kKnownBurst = 500;

  enum class Verdict : uint8_t { Work, SendCookie, RateLimited };

  explicit Admission(RandomSource& random)
      : proven_(random),
        known_(random),
        unproven_(random),
        acquainted_(kKnownPerSecond, kKnownBurst),
        strangers_(kStrangersPerSecond, kStrangersBurst) {}

  // Where a peer is by what it authenticated or control said; once for each peer there, an IPv6 /64 is one.
  void peer_is_at(const IpAddress& address) {
    if (!address.is_none()) ++peers_at_[source_of(address)];
  }
  void peer_left(const IpAddress& address) {
    const auto found = peers_at_.find(source_of(address));
    if (found != peers_at_.end() && --found->second == 0) peers_at_.erase(found);
  }

  // Of one ring, at the top of a turn.
  void note_backlog(size_t waiting, size_t slots, Instant now) noexcept {
    if (waiting >= slots / kLoadFraction) loaded_until_ = now + kLoadHold;
  }
  [[nodiscard]] bool under_load(Instant now) const noexcept {
    return !loaded_until_.is_never() && now < loaded_until_;
  }
  // Under load, of a message whose mac1 is valid. `proven`: so is its mac2. `awaited`: it answers a message of
  // ours by an index that only who saw that knows.
  [[nodiscard]] Verdict judge(bool proven, bool awaited, const IpAddress& source,
                              Instant now) noexcept {
    if (proven) return proven_.allow(source, now) ? Verdict::Work : Verdict::RateLimited;
    const bool known = awaited || peers_at_.contains(source_of(source));
    const bool share = known ? known_.allow(source, now) && acquainted_.take(now)
                             : unproven_.allow(source, now) && strangers_.take(now);
    return share ? Verdict::Work : Verdict::SendCookie;
  }

 private:
  // As sources are limited: an IPv6 address by its /64.
  [[nodiscard]] static IpAddress source_of(const IpAddress& address) noexcept {
    IpAddress source = address;
    if (!address.is_v4()) std::fill(source.bytes.begin() + 8, source.bytes.end(), uint8_t{0});
    return source;
  }

  // Apart: a source that anybody can write into a header must not use up what its owner has.
  wireguard::SourceLimiter proven_;
  wireguard::SourceLimiter known_;
  wireguard::SourceLimiter unproven_;
  TokenBucket acquainted_;
  TokenBucket strangers_;
  std::unordered_map<IpAddress, uint32_t> peers_at_;
  Instant loaded_until_;
};

}  // namespace turnpike::session

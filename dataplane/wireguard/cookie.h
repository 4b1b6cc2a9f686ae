// mac1, mac2 and cookies (paper, section 5.4.4 and 5.4.7): who may make us compute when we are
// busy.
//   Threads:   an object belongs to its thread (the session thread).
//   Ownership: values; secrets are wiped when they die.
//   Bounds:    no state for each source: a cookie is a MAC of the source.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/random.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::wireguard {

using MacKey = SecretKey<struct MacKeyTag>;

// What is derived once from a static public key: the key of mac1 in messages to its owner, and the
// key under which its owner sends cookies.
struct PublicMacKeys {
  MacKey mac1;
  MacKey cookie;
};
[[nodiscard]] PublicMacKeys derive_mac_keys(const PublicKey& receiver) noexcept;

// Of an initiation or response, to be asked before anything else is computed for it. `ours` is
// derived from our own public key. Constant time; false for every other length.
[[nodiscard]] bool check_mac1(const PublicMacKeys& ours, Bytes datagram) noexcept;

// The responder's side. Cookies are bound to address and UDP port of the source.
class CookieChecker {
 public:
  explicit CookieChecker(const PublicMacKeys& ours) noexcept : cookie_key_(ours.cookie) {}

  // Whether the sender of this initiation or response has shown that it receives at `source`.
  // Check mac1 before.
  [[nodiscard]] bool check_mac2(Bytes datagram, const Endpoint& source, Instant now) const noexcept;

  // The reply to an initiation or response (the datagram's length is one of the two). Makes a new
  // secret when the old one is kCookieSecretLifetime old.
  [[nodiscard]] CookieReplyBytes make_reply(Bytes datagram, const Endpoint& source, Instant now,
                                            RandomSource& random) noexcept;

 private:
  [[nodiscard]] std::array<uint8_t, kMacBytes> cookie_of(const Endpoint& source) const noexcept;
  [[nodiscard]] bool secret_valid(Instant now) const noexcept;

  MacKey cookie_key_;
  SecretKey<struct CookieSecretTag> secret_;
  Instant secret_made_at_;
};

// The initiator's side, and that of a responder whose response is answered by a cookie: one for
// each peer.
class CookieJar {
 public:
  CookieJar() = default;
  explicit CookieJar(const PublicMacKeys& theirs) noexcept : keys_(theirs) {}
  CookieJar(const CookieJar&) = default;
  CookieJar& operator=(const CookieJar&) = default;
  ~CookieJar() { wipe(cookie_.data(), cookie_.size()); }

  // Writes mac1, and mac2 where there is a fresh cookie, into the last 32 bytes of an initiation or
  // response, and remembers mac1: a cookie reply is authenticated with it.
  void write_macs(MutableBytes datagram, Instant now) noexcept;

  // False, nothing changed, when the reply does not answer the message that was sent last. A second
  // reply to the same message is refused.
  [[nodiscard]] bool consume(const CookieReply& reply, Instant now) noexcept;

  [[nodiscard]] bool has_cookie(Instant now) const noexcept;

 private:
  PublicMacKeys keys_;
  std::array<uint8_t, kMacBytes> cookie_{};
  Instant received_at_;
  std::array<uint8_t, kMacBytes> last_mac1_{};
  bool awaits_reply_ = false;
};

}  // namespace turnpike::wireguard

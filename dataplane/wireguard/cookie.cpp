#include "dataplane/wireguard/cookie.h"

#include <cstring>
#include <string_view>

#include "dataplane/base/check.h"
#include "dataplane/crypto/blake2s.h"
#include "dataplane/crypto/xchacha20poly1305.h"

namespace turnpike::wireguard {
namespace {

constexpr std::string_view kLabelMac1 = "mac1----";
constexpr std::string_view kLabelCookie = "cookie--";

MacKey labelled_key(std::string_view label, const PublicKey& key) noexcept {
  const Bytes label_bytes(reinterpret_cast<const uint8_t*>(label.data()), label.size());
  return MacKey(crypto::blake2s({label_bytes, key.bytes}));
}

bool has_macs(Bytes datagram) noexcept {
  return datagram.size() == kInitiationBytes || datagram.size() == kResponseBytes;
}

// The message up to mac1, up to mac2, and the two.
Bytes before_mac1(Bytes datagram) noexcept {
  return datagram.first(datagram.size() - 2 * kMacBytes);
}
Bytes before_mac2(Bytes datagram) noexcept { return datagram.first(datagram.size() - kMacBytes); }
Bytes mac1_of(Bytes datagram) noexcept {
  return datagram.subspan(datagram.size() - 2 * kMacBytes, kMacBytes);
}
Bytes mac2_of(Bytes datagram) noexcept { return datagram.last(kMacBytes); }

}  // namespace

PublicMacKeys derive_mac_keys(const PublicKey& receiver) noexcept {
  return {.mac1 = labelled_key(kLabelMac1, receiver),
          .cookie = labelled_key(kLabelCookie, receiver)};
}

bool check_mac1(const PublicMacKeys& ours, Bytes datagram) noexcept {
  if (!has_macs(datagram)) return false;
  const crypto::Mac expected = crypto::blake2s_mac(ours.mac1.bytes(), {before_mac1(datagram)});
  return equal_constant_time(expected, mac1_of(datagram));
}

bool CookieChecker::secret_valid(Instant now) const noexcept {
  return !secret_made_at_.is_never() && now - secret_made_at_ < kCookieSecretLifetime;
}

std::array<uint8_t, kMacBytes> CookieChecker::cookie_of(const Endpoint& source) const noexcept {
  uint8_t port[2];
  store_be16(port, source.port);
  return crypto::blake2s_mac(
      secret_.bytes(), {Bytes(source.address.bytes.data(), source.address.size_bytes()), port});
}

bool CookieChecker::check_mac2(Bytes datagram, const Endpoint& source, Instant now) const noexcept {
  if (!has_macs(datagram) || !secret_valid(now)) return false;
  auto cookie = cookie_of(source);
  const crypto::Mac expected = crypto::blake2s_mac(cookie, {before_mac2(datagram)});
  wipe(cookie.data(), cookie.size());
  return equal_constant_time(expected, mac2_of(datagram));
}

CookieReplyBytes CookieChecker::make_reply(Bytes datagram, const Endpoint& source, Instant now,
                                           RandomSource& random) noexcept {
  CHECK(has_macs(datagram));
  if (!secret_valid(now)) {
    random.fill(secret_.bytes());
    secret_made_at_ = now;
  }
  CookieReply reply;
  // The sender index stands in the same place in both messages.
  reply.receiver_index = load_le32(&datagram[4]);
  random.fill(reply.nonce);
  auto cookie = cookie_of(source);
  crypto::xchacha20poly1305_seal(cookie_key_.bytes(), reply.nonce, cookie, mac1_of(datagram),
                                 reply.encrypted_cookie);
  wipe(cookie.data(), cookie.size());
  return write_cookie_reply(reply);
}

bool CookieJar::has_cookie(Instant now) const noexcept {
  // Shorter than the secret lives, so that a message on its way still finds its secret.
  return !received_at_.is_never() && now - received_at_ < kCookieSecretLifetime - kCookieLatency;
}

void CookieJar::write_macs(MutableBytes datagram, Instant now) noexcept {
  CHECK(has_macs(datagram));
  const crypto::Mac mac1 = crypto::blake2s_mac(keys_.mac1.bytes(), {before_mac1(datagram)});
  std::memcpy(&datagram[datagram.size() - 2 * kMacBytes], mac1.data(), kMacBytes);
  crypto::Mac mac2{};
  if (has_cookie(now)) mac2 = crypto::blake2s_mac(cookie_, {before_mac2(datagram)});
  std::memcpy(&datagram[datagram.size() - kMacBytes], mac2.data(), kMacBytes);
  last_mac1_ = mac1;
  awaits_reply_ = true;
}

bool CookieJar::consume(const CookieReply& reply, Instant now) noexcept {
  if (!awaits_reply_) return false;
  std::array<uint8_t, kMacBytes> cookie{};
  if (!crypto::xchacha20poly1305_open(keys_.cookie.bytes(), reply.nonce, reply.encrypted_cookie,
                                      last_mac1_, cookie)) {
    return false;
  }
  cookie_ = cookie;
  wipe(cookie.data(), cookie.size());
  received_at_ = now;
  awaits_reply_ = false;
  return true;
}

}  // namespace turnpike::wireguard

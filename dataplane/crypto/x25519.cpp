#include "dataplane/crypto/x25519.h"

#include "dataplane/crypto/use_sodium.h"

namespace turnpike::crypto {

static_assert(crypto_scalarmult_curve25519_BYTES == kKeyBytes);

PrivateKey clamp(const PrivateKey& key) noexcept {
  PrivateKey clamped = key;
  clamped.bytes()[0] &= 0xf8;
  clamped.bytes()[31] = static_cast<uint8_t>((clamped.bytes()[31] & 0x7f) | 0x40);
  return clamped;
}

PrivateKey generate_private_key(RandomSource& random) noexcept {
  PrivateKey key;
  random.fill(key.bytes());
  return clamp(key);
}

PublicKey public_key(const PrivateKey& key) noexcept {
  require_sodium();
  PublicKey result;
  CHECK(crypto_scalarmult_curve25519_base(result.bytes.data(), key.bytes().data()) == 0);
  return result;
}

bool shared_secret(const PrivateKey& ours, const PublicKey& theirs, SharedSecret& out) noexcept {
  require_sodium();
  SharedSecret result;
  if (crypto_scalarmult_curve25519(result.bytes().data(), ours.bytes().data(),
                                   theirs.bytes.data()) != 0) {
    return false;
  }
  // libsodium refuses the low-order points that it knows; the all-zero result is what counts.
  if (result.is_zero()) return false;
  out = result;
  return true;
}

}  // namespace turnpike::crypto

#include "dataplane/crypto/siphash.h"

#include "dataplane/crypto/use_sodium.h"

namespace turnpike::crypto {

uint64_t siphash(const SipHashKey& key, Bytes bytes) noexcept {
  static_assert(sizeof(SipHashKey) == crypto_shorthash_siphash24_KEYBYTES);
  static_assert(crypto_shorthash_siphash24_BYTES == sizeof(uint64_t));
  require_sodium();
  uint8_t hash[crypto_shorthash_siphash24_BYTES];
  crypto_shorthash_siphash24(hash, bytes.data(), bytes.size(), key.data());
  return load_le64(hash);
}

}  // namespace turnpike::crypto

#include "dataplane/crypto/chacha20poly1305.h"

#include "dataplane/crypto/use_sodium.h"

namespace turnpike::crypto {
namespace {

constexpr size_t kTagBytes = crypto_aead_chacha20poly1305_ietf_ABYTES;

static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == kNonceBytes);

}  // namespace

void chacha20poly1305_seal(AeadKey key, const Nonce& nonce, Bytes text, Bytes associated,
                           MutableBytes out) noexcept {
  require_sodium();
  CHECK(out.size() == text.size() + kTagBytes);
  crypto_aead_chacha20poly1305_ietf_encrypt(out.data(), nullptr, text.data(), text.size(),
                                            associated.data(), associated.size(), nullptr,
                                            nonce.data(), key.data());
}

bool chacha20poly1305_open(AeadKey key, const Nonce& nonce, Bytes sealed, Bytes associated,
                           MutableBytes out) noexcept {
  require_sodium();
  CHECK(sealed.size() == out.size() + kTagBytes);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(),
                                                sealed.size(), associated.data(), associated.size(),
                                                nonce.data(), key.data()) == 0) {
    return true;
  }
  wipe(out.data(), out.size());
  return false;
}

}  // namespace turnpike::crypto

#include "dataplane/crypto/xchacha20poly1305.h"

#include "dataplane/crypto/use_sodium.h"

namespace turnpike::crypto {
namespace {

constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == kXNonceBytes);

}  // namespace

void xchacha20poly1305_seal(std::span<const uint8_t, kKeyBytes> key, XNonce nonce, Bytes text,
                            Bytes associated, MutableBytes out) noexcept {
  require_sodium();
  CHECK(out.size() == text.size() + kTagBytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data(), nullptr, text.data(), text.size(),
                                             associated.data(), associated.size(), nullptr,
                                             nonce.data(), key.data());
}

bool xchacha20poly1305_open(std::span<const uint8_t, kKeyBytes> key, XNonce nonce, Bytes sealed,
                            Bytes associated, MutableBytes out) noexcept {
  require_sodium();
  CHECK(sealed.size() == out.size() + kTagBytes);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          out.data(), nullptr, nullptr, sealed.data(), sealed.size(), associated.data(),
          associated.size(), nonce.data(), key.data()) == 0) {
    return true;
  }
  wipe(out.data(), out.size());
  return false;
}

}  // namespace turnpike::crypto

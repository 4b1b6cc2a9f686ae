// The AEAD by libsodium: works anywhere, and is what the others are compared with.
#include "dataplane/base/keys.h"
#include "dataplane/crypto/aead_backends.h"
#include "dataplane/crypto/chacha20poly1305.h"
#include "dataplane/crypto/use_sodium.h"

namespace turnpike::crypto {
namespace {

class LibsodiumAead final : public Aead {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return to_string(AeadBackend::Libsodium);
  }

  bool try_seal(std::span<const AeadJob> jobs, std::span<uint8_t>) noexcept override {
    CHECK(jobs.size() <= kBurstMax);
    for (const AeadJob& job : jobs) {
      crypto_aead_chacha20poly1305_ietf_encrypt_detached(
          job.data, job.data + job.length_bytes, nullptr, job.data, job.length_bytes, nullptr, 0,
          nullptr, nonce_of(job.counter).data(), job.key);
    }
    return true;
  }

  void open(std::span<const AeadJob> jobs, std::span<uint8_t> authentic) noexcept override {
    CHECK(jobs.size() <= kBurstMax && authentic.size() >= jobs.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
      const AeadJob& job = jobs[i];
      // Compares the tag first, in constant time, and decrypts only what is authentic.
      authentic[i] = crypto_aead_chacha20poly1305_ietf_decrypt_detached(
                         job.data, nullptr, job.data, job.length_bytes, job.data + job.length_bytes,
                         nullptr, 0, nonce_of(job.counter).data(), job.key) == 0;
      if (authentic[i] == 0) wipe(job.data, job.length_bytes);
    }
  }
};

}  // namespace

std::unique_ptr<Aead> make_libsodium_aead() {
  require_sodium();
  return std::make_unique<LibsodiumAead>();
}

}  // namespace turnpike::crypto

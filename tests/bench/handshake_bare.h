// The bare X25519 operations that a handshake needs in either role, and CPU time around a piece of work.
#pragma once

#include <cstdlib>
#include <vector>

#include "dataplane/crypto/x25519.h"
#include "tests/bench/paired.h"

namespace turnpike::bench {

// Four operations, on keys that differ each time.
class Bare {
 public:
  explicit Bare(RandomSource& random) {
    for (uint32_t i = 0; i < kKeys; ++i) {
      ours_.push_back(crypto::generate_private_key(random));
      theirs_.push_back(crypto::public_key(ours_.back()));
    }
  }
  void run(uint32_t handshakes) {
    for (uint32_t i = 0; i < handshakes; ++i, ++at_) {
      const PrivateKey& ephemeral = ours_[at_ % kKeys];
      keep(crypto::public_key(ephemeral).bytes[0]);
      for (uint32_t k = 1; k <= 3; ++k) {
        SharedSecret secret;
        if (!crypto::shared_secret(ephemeral, theirs_[(at_ + k) % kKeys], secret)) std::abort();
        keep(secret.bytes()[0]);
      }
    }
  }

 private:
  static constexpr uint32_t kKeys = 256;
  std::vector<PrivateKey> ours_;
  std::vector<PublicKey> theirs_;
  uint32_t at_ = 0;
};

template <typename Work>
[[nodiscard]] uint64_t timed(Work&& work) {
  const uint64_t start = thread_cpu_ns();
  work();
  return thread_cpu_ns() - start;
}

}  // namespace turnpike::bench

#include "dataplane/crypto/system_random.h"

#include "dataplane/crypto/use_sodium.h"

namespace turnpike::crypto {

SystemRandom::SystemRandom() noexcept { require_sodium(); }

void SystemRandom::fill(std::span<uint8_t> out) noexcept {
  randombytes_buf(out.data(), out.size());
}

}  // namespace turnpike::crypto

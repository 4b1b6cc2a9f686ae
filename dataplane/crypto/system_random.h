// The kernel's randomness, by libsodium.
//   Threads: any; an object holds nothing.
#pragma once

#include "dataplane/base/random.h"

namespace turnpike::crypto {

class SystemRandom final : public RandomSource {
 public:
  SystemRandom() noexcept;
  void fill(std::span<uint8_t> out) noexcept override;
};

}  // namespace turnpike::crypto

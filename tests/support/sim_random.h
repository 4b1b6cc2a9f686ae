// Seeded randomness for tests: the same seed gives the same bytes on every machine (SplitMix64).
#pragma once

#include <cstring>
#include <span>

#include "dataplane/base/random.h"

namespace turnpike::sim {

class Random final : public RandomSource {
 public:
  explicit Random(uint64_t seed) noexcept : state_(seed) {}

  void fill(std::span<uint8_t> out) noexcept override {
    while (!out.empty()) {
      const uint64_t word = next();
      const size_t bytes = out.size() < sizeof(word) ? out.size() : sizeof(word);
      std::memcpy(out.data(), &word, bytes);
      out = out.subspan(bytes);
    }
  }
  [[nodiscard]] uint64_t next() noexcept {
    uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebULL;
    return z ^ (z >> 31);
  }
  // Below `bound`, which is small against 2^64.
  [[nodiscard]] uint64_t below(uint64_t bound) noexcept { return next() % bound; }
  [[nodiscard]] bool chance(double probability) noexcept {
    return static_cast<double>(next() >> 11) * 0x1p-53 < probability;
  }

 private:
  uint64_t state_;
};

}  // namespace turnpike::sim

// Where randomness comes from. Tests and the simulation pass a seeded source, the daemon the system's.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/base/bytes.h"

namespace turnpike {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void fill(std::span<uint8_t> out) noexcept = 0;

  [[nodiscard]] uint32_t next_u32() noexcept {
    uint8_t bytes[4];
    fill(bytes);
    return load_le32(bytes);
  }
  [[nodiscard]] uint64_t next_u64() noexcept {
    uint8_t bytes[8];
    fill(bytes);
    return load_le64(bytes);
  }
};

}  // namespace turnpike

#include "dataplane/pipeline/checksum.h"

namespace turnpike::pipeline {

// One plain loop, compiled for several instruction sets and chosen when the program is loaded. The 32-bit
// words go into 64-bit sums, so there is no carry between lanes.
__attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("O3"))) uint64_t
sum_blocks(const uint8_t* bytes, size_t blocks) noexcept {
  uint64_t even = 0;
  uint64_t odd = 0;
  for (size_t i = 0; i < blocks * (kSumBlockBytes / 8); ++i) {
    const uint64_t word = load_le64(bytes + 8 * i);
    even += word & 0xffff'ffff;
    odd += word >> 32;
  }
  return even + odd;
}

}  // namespace turnpike::pipeline

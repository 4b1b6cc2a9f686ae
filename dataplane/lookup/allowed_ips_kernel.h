// The kernels that walk a burst through the trie, and the choice among them at start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/ids.h"

namespace turnpike::lookup {

// `node` is a root's RootLine, not null. Up to kBurstMax addresses; those of IPv6 as pairs of halves, the
// upper one first.
struct Kernel {
  const char* name;
  bool (*runs_here)() noexcept;
  void (*v4)(const void* node, const uint32_t* addresses, size_t count, PeerIndex* peers) noexcept;
  void (*v6)(const void* node, const uint64_t* halves, size_t count, PeerIndex* peers) noexcept;
};
extern const Kernel kPortableKernel;
extern const Kernel kAvx2Kernel;
extern const Kernel kAvx512Kernel;
void avx512_walk_v4(const void* node, const uint32_t* addresses, size_t count,
                    PeerIndex* peers) noexcept;
void avx512_walk_v6(const void* node, const uint64_t* halves, size_t count,
                    PeerIndex* peers) noexcept;

// One address alone, on any processor: takes the steps as they come, where a kernel sets up its lanes first. As `node`
// in Kernel.
[[nodiscard]] PeerIndex walk_one_v4(const void* node, uint32_t address) noexcept;
[[nodiscard]] PeerIndex walk_one_v6(const void* node, uint64_t high, uint64_t low) noexcept;

// All that this processor can run, the portable one first.
[[nodiscard]] std::span<const Kernel* const> kernels() noexcept;
// What lookup_burst() uses: the last of them.
[[nodiscard]] const Kernel& best_kernel() noexcept;

}  // namespace turnpike::lookup

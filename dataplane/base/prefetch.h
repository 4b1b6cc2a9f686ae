// Prefetch hints. One stays only where a benchmark shows its worth.
#pragma once

#include <cstdint>

namespace turnpike {

inline void prefetch(const void* address) noexcept { __builtin_prefetch(address, 0, 3); }
inline void prefetch_for_write(const void* address) noexcept { __builtin_prefetch(address, 1, 3); }

// A load whose value nobody waits for. Where a burst needs more lines at once than the core has miss buffers
// (24 on Zen 4), hints beyond these are dropped there; loads queue.
inline void touch(const void* address) noexcept {
  uint8_t ignored;
  asm volatile("movb %1, %0" : "=q"(ignored) : "m"(*static_cast<const uint8_t*>(address)));
}

}  // namespace turnpike

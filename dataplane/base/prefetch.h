// Prefetch hints. One stays only where a benchmark shows its worth.
#pragma once

namespace turnpike {

inline void prefetch(const void* address) noexcept { __builtin_prefetch(address, 0, 3); }
inline void prefetch_for_write(const void* address) noexcept { __builtin_prefetch(address, 1, 3); }

}  // namespace turnpike

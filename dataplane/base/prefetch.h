// Prefetch hints. One stays only where a benchmark shows its worth.
//   In assembler, because GCC takes a function that does nothing but __builtin_prefetch() for one without effect, and
//   leaves calls of it away; and because it makes a hint for reading of one for writing, but with -mprfchw. Every CPU
//   that this runs on (x86-64-v2) takes PREFETCHW, as a hint or as nothing.
//   The operand is an address, not memory: the pointer may be null, and nothing is said of what it points to.
#pragma once

namespace turnpike {

[[gnu::always_inline]] inline void prefetch(const void* address) noexcept {
  asm volatile("prefetcht0 %a0" : : "r"(address));
}

// The line is to be written soon: it comes without copies elsewhere, which a store would have to wait for.
[[gnu::always_inline]] inline void prefetch_for_write(const void* address) noexcept {
  asm volatile("prefetchw %a0" : : "r"(address));
}

}  // namespace turnpike

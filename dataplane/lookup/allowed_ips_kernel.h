// The kernels that walk a burst through the trie, and the choice among them at start.
#pragma once

#include <span>

#include "dataplane/lookup/allowed_ips.h"

namespace turnpike::lookup {

struct Kernel {
  const char* name;
  void (*v4)(RootV4 root, std::span<const uint32_t> addresses, PeerIndex* peers) noexcept;
  void (*v6)(RootV6 root, std::span<const Ipv6Key> addresses, PeerIndex* peers) noexcept;
};

// All that this processor can run, the portable one first.
[[nodiscard]] std::span<const Kernel* const> kernels() noexcept;
// What lookup_burst() uses.
[[nodiscard]] const Kernel& best_kernel() noexcept;

}  // namespace turnpike::lookup

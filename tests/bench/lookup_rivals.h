// DPDK's look-up tables as rivals of the benchmark. Their memory comes from huge pages where the kernel gives
// them, like ours.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/lookup/allowed_ips.h"

namespace turnpike::bench {

// Starts DPDK's EAL once, with `megabytes` for tables. False, with a line on standard error: not possible here.
[[nodiscard]] bool start_eal(size_t megabytes);

class RivalV4 {
 public:
  virtual ~RivalV4() = default;
  // Owners as 64-bit next hops where the table gives them so; the sum of them is returned, misses count as
  // kNoPeer. `keys` is a multiple of the burst.
  [[nodiscard]] virtual uint64_t look_up(std::span<const uint32_t> keys) noexcept = 0;
};
class RivalV6 {
 public:
  virtual ~RivalV6() = default;
  // Sixteen bytes for each key, network order.
  [[nodiscard]] virtual uint64_t look_up(std::span<const uint8_t> keys) noexcept = 0;
};

// The owner of prefixes[i] is i. nullptr, with a line on standard error: out of memory, or an add failed.
[[nodiscard]] std::unique_ptr<RivalV4> make_rte_fib(const std::vector<Prefix>& prefixes);
[[nodiscard]] std::unique_ptr<RivalV4> make_rte_lpm(const std::vector<Prefix>& prefixes);
[[nodiscard]] std::unique_ptr<RivalV6> make_rte_fib6(const std::vector<Prefix>& prefixes);

// What make_rte_fib6() will ask for: it reserves for each prefix without sharing.
[[nodiscard]] size_t rte_fib6_bytes(const std::vector<Prefix>& prefixes);

}  // namespace turnpike::bench

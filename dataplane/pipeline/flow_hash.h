// Which flow a received frame belongs to, as a number: the same both ways, so that what answers a packet can be
// worked on where the packet was. For ports that cannot spread their frames over workers themselves.
//   Pure; reads nothing behind `length_bytes`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace turnpike::pipeline {

// Addresses, protocol and ports (TCP, UDP and what has its ports in the same place); addresses and protocol alone of
// fragments, of other protocols and behind IPv6 extension headers. 0 of what is no IP, which keeps ARP on one worker.
[[nodiscard]] uint32_t flow_hash(const uint8_t* frame, size_t length_bytes, uint32_t seed) noexcept;

// The hash's share of `workers`, from 0.
[[nodiscard]] constexpr size_t worker_of(uint32_t hash, size_t workers) noexcept {
  return static_cast<size_t>((uint64_t{hash} * workers) >> 32);
}

}  // namespace turnpike::pipeline

// Finishes what a sender left to a device: the checksum of a TCP segment or UDP datagram whose field holds the sum of the
// pseudo-header alone (virtio 1.2, 5.1.6.2).
#pragma once

#include <cstdint>
#include <span>

namespace turnpike::pipeline {

// `packet` begins at its IP header and need not be right in any respect. A fragment, another protocol, a length that does
// not agree with the packet, and a field that holds something else are left as they are; so is what an IPv4 source route
// leads elsewhere first, since the field holds the sum for its last address.
void finish_l4_checksum(std::span<uint8_t> packet) noexcept;

}  // namespace turnpike::pipeline

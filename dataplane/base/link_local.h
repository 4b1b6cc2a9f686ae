// The address that a port has beside the configured ones.
#pragma once

#include "dataplane/base/address.h"

namespace turnpike {

// fe80:: with the modified EUI-64 of the MAC (RFC 4291, appendix A).
[[nodiscard]] inline IpAddress link_local_address(const MacAddress& mac) noexcept {
  const auto& m = mac.bytes;
  const uint8_t bytes[16] = {
      0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<uint8_t>(m[0] ^ 2),
      m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  return IpAddress::v6_bytes(bytes);
}

}  // namespace turnpike

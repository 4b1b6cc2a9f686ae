// Who is who in the loopback benchmark; loopback_bench.py gives the gateway the same addresses.
#pragma once

#include <cstdint>

#include "dataplane/base/address.h"

namespace turnpike::bench {

inline constexpr uint16_t kListenPort = 51820;  // the gateway's
inline constexpr uint16_t kRemotePort = 40'000;  // of every peer
inline constexpr uint32_t kGatewayOutside = 0xc000'0201;  // 192.0.2.1
inline constexpr uint32_t kInsideHost = 0x0a00'0002;  // 10.0.0.2, the generator's
inline constexpr uint32_t kPeerNet =
    0x6440'0000;  // 100.64.0.0, one address in the tunnel for each peer
inline constexpr uint32_t kRemoteNet = 0x3200'0000;  // 50.0.0.0, where the peers are
inline constexpr uint16_t kTunnelMtu = 1420;

inline constexpr MacAddress kGatewayOutsideMac{{2, 0, 0, 0, 0, 1}};
inline constexpr MacAddress kGatewayInsideMac{{2, 0, 0, 0, 0, 2}};
inline constexpr MacAddress kOwnOutsideMac{{2, 0, 0, 0, 0, 3}};
inline constexpr MacAddress kOwnInsideMac{{2, 0, 0, 0, 0, 4}};

}  // namespace turnpike::bench

#include "dataplane/pipeline/flow_hash.h"

#include <algorithm>

#include "dataplane/pipeline/headers.h"

namespace turnpike::pipeline {
namespace {

// Those whose header begins with source and destination port.
constexpr bool has_ports(uint8_t protocol) noexcept {
  constexpr uint8_t kTcp = 6, kUdp = 17, kDccp = 33, kSctp = 132, kUdpLite = 136;
  return protocol == kTcp || protocol == kUdp || protocol == kDccp || protocol == kSctp ||
         protocol == kUdpLite;
}

// Of a pair in either order, and nothing of it lost on the way.
constexpr uint64_t mix_pair(uint64_t state, uint64_t a, uint64_t b) noexcept {
  state ^= std::max(a, b);
  state = (state ^ state >> 29) * 0xbf58'476d'1ce4'e5b9;
  state ^= state >> 32 ^ std::min(a, b);
  state *= 0x94d0'49bb'1331'11eb;
  return state ^ state >> 31;
}

uint64_t mix_ports(uint64_t state, const uint8_t* ports) noexcept {
  return mix_pair(state, load_be16(ports), load_be16(ports + 2));
}

}  // namespace

uint32_t flow_hash(const uint8_t* frame, size_t length_bytes, uint32_t seed) noexcept {
  if (length_bytes < kEthernetBytes + kIpv4Bytes) return 0;
  const uint16_t ether_type = load_le16(frame + 12);
  const uint8_t* ip = frame + kEthernetBytes;
  const size_t ip_bytes = length_bytes - kEthernetBytes;
  if (ether_type == kEtherTypeIpv4) {
    const uint8_t protocol = ip[9];
    uint64_t state =
        mix_pair(uint64_t{seed} << 8 | protocol, ipv4_source(ip), ipv4_destination(ip));
    const size_t header_bytes = ipv4_header_bytes(ip);
    if (has_ports(protocol) && !ipv4_is_fragment(ip) && header_bytes >= kIpv4Bytes &&
        header_bytes + 4 <= ip_bytes) {
      state = mix_ports(state, ip + header_bytes);
    }
    return static_cast<uint32_t>(state >> 32);
  }
  if (ether_type != kEtherTypeIpv6 || ip_bytes < kIpv6Bytes) return 0;
  const uint8_t next_header = ip[6];
  uint64_t state = uint64_t{seed} << 8 | next_header;
  state = mix_pair(state, load_be64(ip + 8), load_be64(ip + 24));
  state = mix_pair(state, load_be64(ip + 16), load_be64(ip + 32));
  if (has_ports(next_header) && ip_bytes >= kIpv6Bytes + 4)
    state = mix_ports(state, ip + kIpv6Bytes);
  return static_cast<uint32_t>(state >> 32);
}

}  // namespace turnpike::pipeline

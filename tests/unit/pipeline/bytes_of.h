// Packets as bytes, made by hand and independently of the code under test.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "dataplane/base/address.h"

namespace turnpike::pipeline::test {

using Blob = std::vector<uint8_t>;

inline IpAddress ip(std::string_view text) { return parse_ip(text).value(); }

inline void put16(Blob& to, size_t at, unsigned value) {
  to.at(at) = static_cast<uint8_t>(value >> 8);
  to.at(at + 1) = static_cast<uint8_t>(value);
}
inline unsigned get16(const Blob& from, size_t at) {
  return static_cast<unsigned>(from.at(at)) << 8 | from.at(at + 1);
}

// RFC 1071 in the plainest words: bytes paired big endian, carries brought round one by one.
inline unsigned plain_sum(const Blob& bytes, size_t from, size_t count, unsigned sum = 0) {
  for (size_t i = 0; i < count; ++i) {
    sum += i % 2 == 0 ? static_cast<unsigned>(bytes.at(from + i)) << 8 : bytes.at(from + i);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return sum;
}

inline void append(Blob& to, const Blob& from) { to.insert(to.end(), from.begin(), from.end()); }

inline void append_address(Blob& to, const IpAddress& address) {
  to.insert(to.end(), address.bytes.begin(),
            address.bytes.begin() + static_cast<long>(address.size_bytes()));
}

struct IpOptions {
  uint8_t protocol = 99;
  uint8_t ttl = 64;
  uint8_t tos = 0;  // traffic class
  bool dont_fragment = false;  // IPv4
};

inline Blob make_ip(const IpAddress& source, const IpAddress& destination, const Blob& payload,
                    IpOptions options = {}) {
  Blob out;
  if (source.is_v4()) {
    out = {0x45, options.tos, 0, 0, 0x12, 0x34, 0, 0, options.ttl, options.protocol, 0, 0};
    append_address(out, source);
    append_address(out, destination);
    put16(out, 2, static_cast<unsigned>(20 + payload.size()));
    if (options.dont_fragment) out.at(6) = 0x40;
    put16(out, 10, ~plain_sum(out, 0, 20) & 0xffff);
  } else {
    out = {static_cast<uint8_t>(0x60 | options.tos >> 4),
           static_cast<uint8_t>(options.tos << 4),
           0,
           0,
           0,
           0,
           options.protocol,
           options.ttl};
    append_address(out, source);
    append_address(out, destination);
    put16(out, 4, static_cast<unsigned>(payload.size()));
  }
  append(out, payload);
  return out;
}

inline unsigned transport_sum(const Blob& packet, size_t header, unsigned protocol) {
  const size_t length = packet.size() - header;
  const bool v4 = packet.at(0) >> 4 == 4;
  unsigned sum = plain_sum(packet, v4 ? 12 : 8, v4 ? 8 : 32);
  Blob rest(4);
  put16(rest, 0, static_cast<unsigned>(length));
  put16(rest, 2, protocol);
  sum = plain_sum(rest, 0, 4, sum);
  return plain_sum(packet, header, length, sum);
}

inline Blob make_udp(const IpAddress& source, const IpAddress& destination, unsigned source_port,
                     unsigned destination_port, const Blob& payload, IpOptions options = {}) {
  Blob udp(8);
  put16(udp, 0, source_port);
  put16(udp, 2, destination_port);
  put16(udp, 4, static_cast<unsigned>(8 + payload.size()));
  append(udp, payload);
  options.protocol = 17;
  Blob out = make_ip(source, destination, udp, options);
  const size_t header = out.size() - udp.size();
  unsigned sum = ~transport_sum(out, header, 17) & 0xffff;
  put16(out, header + 6, sum == 0 ? 0xffff : sum);
  return out;
}

inline Blob make_frame(const MacAddress& destination, const MacAddress& source,
                       const Blob& packet) {
  Blob out(destination.bytes.begin(), destination.bytes.end());
  out.insert(out.end(), source.bytes.begin(), source.bytes.end());
  const bool v4 = packet.at(0) >> 4 == 4;
  out.push_back(v4 ? 0x08 : 0x86);
  out.push_back(v4 ? 0x00 : 0xdd);
  append(out, packet);
  return out;
}

inline Blob without_ethernet(const Blob& frame) { return {frame.begin() + 14, frame.end()}; }

// A packet as it is after a router: one less TTL, everything else right.
inline Blob after_hop(Blob packet) {
  if (packet.at(0) >> 4 == 4) {
    --packet.at(8);
    put16(packet, 10, 0);
    put16(packet, 10, ~plain_sum(packet, 0, 20) & 0xffff);
  } else {
    --packet.at(7);
  }
  return packet;
}

}  // namespace turnpike::pipeline::test

// Where the encrypted packets of a peer go, as a value, as words in registers, as words that several threads share,
// and as a print of 64 bits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"
#include "dataplane/base/ids.h"

namespace turnpike::publish {

// The index of an entry of the neighbour table.
using NeighbourIndex = uint32_t;
inline constexpr NeighbourIndex kNoNeighbour = 0xffff'ffff;

// Where the encrypted packets of a peer go: its address, ours, and the first hop on the outside port.
struct PeerEndpoint {
  Endpoint remote;
  IpAddress local;
  NeighbourIndex first_hop = kNoNeighbour;
};

// The same as it lies in a slot, for who sends: words that stay in registers, while a value of bytes is written
// narrow and read wide.
struct EndpointWords {
  // Family of the local address and of the remote one, remote port, first hop plus one: all zero is "no
  // endpoint, no neighbour".
  uint64_t meta;
  uint64_t remote[2];
  uint64_t local[2];

  [[nodiscard]] static EndpointWords of(const PeerEndpoint& endpoint) noexcept {
    return {.meta = uint64_t{endpoint.first_hop + 1} | uint64_t{endpoint.remote.port} << 32 |
                    static_cast<uint64_t>(endpoint.remote.address.family) << 48 |
                    static_cast<uint64_t>(endpoint.local.family) << 56,
            .remote = {load_le64(&endpoint.remote.address.bytes[0]),
                       load_le64(&endpoint.remote.address.bytes[8])},
            .local = {load_le64(&endpoint.local.bytes[0]), load_le64(&endpoint.local.bytes[8])}};
  }
  [[nodiscard]] PeerEndpoint value() const noexcept {
    PeerEndpoint endpoint;
    for (size_t i = 0; i < 2; ++i) {
      store_unaligned(&endpoint.remote.address.bytes[8 * i], remote[i]);
      store_unaligned(&endpoint.local.bytes[8 * i], local[i]);
    }
    endpoint.first_hop = first_hop();
    endpoint.remote.port = remote_port();
    endpoint.remote.address.family = remote_family();
    endpoint.local.family = static_cast<Family>(meta >> 56);
    return endpoint;
  }

  [[nodiscard]] NeighbourIndex first_hop() const noexcept {
    return static_cast<NeighbourIndex>(meta) - 1;
  }
  [[nodiscard]] uint16_t remote_port() const noexcept { return static_cast<uint16_t>(meta >> 32); }
  [[nodiscard]] Family remote_family() const noexcept {
    return static_cast<Family>(meta >> 48 & 0xff);
  }
  // Packets to both differ in nothing but the remote address and port.
  [[nodiscard]] bool same_way(const EndpointWords& other) const noexcept {
    constexpr uint64_t kPortBits = uint64_t{0xffff} << 32;
    return (((meta ^ other.meta) & ~kPortBits) | (local[0] ^ other.local[0]) |
            (local[1] ^ other.local[1])) == 0;
  }
};

// The two ends of a packet as a worker has them in registers: addresses as load_le64() reads them, of IPv4 the
// first four bytes.
struct PacketEnds {
  Family family;
  uint16_t remote_port;
  uint64_t remote[2];
  uint64_t local[2];
};

// Sixty-four bits that stand for what a packet shows of its peer. Two things that differ have the same ones by chance
// only, as long as nobody knows the secret.
class Printer {
 public:
  explicit Printer(uint64_t secret) noexcept {
    for (uint64_t& key : keys_) key = next(secret);
  }
  // Which peer of its slot's, and where: remote address and port, local address, their families.
  [[nodiscard]] uint64_t of(const EndpointWords& endpoint, Incarnation incarnation) const noexcept {
    return mix(endpoint.meta >> 32 | uint64_t{incarnation} << 32, endpoint.remote, endpoint.local);
  }
  [[nodiscard]] uint64_t of(const PacketEnds& ends, Incarnation incarnation) const noexcept {
    const auto family = static_cast<uint64_t>(ends.family);
    return mix(
        uint64_t{ends.remote_port} | family << 16 | family << 24 | uint64_t{incarnation} << 32,
        ends.remote, ends.local);
  }
  // An inner source of the peer, and the stamp of the look-up that gave it: its era, and a number or three. No two of
  // IPv4 under one era and incarnation have the same one, whatever the secret.
  [[nodiscard]] uint64_t of_source(uint32_t source, uint32_t era, uint32_t number,
                                   Incarnation incarnation) const noexcept {
    __extension__ using Wide = unsigned __int128;
    const uint64_t whose = folded(Wide{incarnation + keys_[0]} * (era + keys_[1]));
    return whose ^ (uint64_t{source} << 32 | number);
  }
  [[nodiscard]] uint64_t of_source(const uint64_t (&source)[2], const uint64_t (&stamp)[2],
                                   Incarnation incarnation) const noexcept {
    return mix(incarnation, source, stamp);
  }

 private:
  // SplitMix64 (Steele, Lea, Flood, 2014).
  [[nodiscard]] static uint64_t next(uint64_t& state) noexcept {
    uint64_t z = state += 0x9e37'79b9'7f4a'7c15;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11eb;
    return z ^ (z >> 31);
  }
  // Sums of products of words and keys, as in NH (RFC 4418, 5.2.2).
  [[nodiscard]] uint64_t mix(uint64_t meta, const uint64_t (&remote)[2],
                             const uint64_t (&local)[2]) const noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide sum = Wide{remote[0] + keys_[0]} * (remote[1] + keys_[1]) +
                     Wide{local[0] + keys_[2]} * (local[1] + keys_[3]) +
                     Wide{meta + keys_[4]} * keys_[5];
    return folded(sum);
  }
  __extension__ [[nodiscard]] static uint64_t folded(unsigned __int128 sum) noexcept {
    return static_cast<uint64_t>(sum) ^ static_cast<uint64_t>(sum >> 64);
  }

  uint64_t keys_[6];
};

// An endpoint as atomic words.
struct EndpointCopy {
  std::atomic<uint64_t> meta{0};
  std::atomic<uint64_t> remote[2] = {};
  std::atomic<uint64_t> local[2] = {};

  // Release, each: who sees the word sees the version that was stored before it.
  void write(const EndpointWords& words) noexcept {
    for (size_t i = 0; i < 2; ++i) {
      remote[i].store(words.remote[i], std::memory_order_release);
      local[i].store(words.local[i], std::memory_order_release);
    }
    meta.store(words.meta, std::memory_order_release);
  }
  // Acquire, each: pairs with write(), and keeps the caller's second load of the version behind it.
  [[nodiscard]] EndpointWords read() const noexcept {
    return {.meta = meta.load(std::memory_order_acquire),
            .remote = {remote[0].load(std::memory_order_acquire),
                       remote[1].load(std::memory_order_acquire)},
            .local = {local[0].load(std::memory_order_acquire),
                      local[1].load(std::memory_order_acquire)}};
  }
};

}  // namespace turnpike::publish

// Link-layer addresses of neighbours (ARP, RFC 826; ND, RFC 4861), as workers look them up.
//   Threads:   the session thread inserts, updates and removes; workers and session threads find.
//   Ownership: entries live in a fixed array; a removed one is reused only after its epoch.
//   Bounds:    kMaxNeighbours; insert() beyond says no and the packet is dropped (NeighbourTableFull).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/time.h"
#include "dataplane/publish/peer_slots.h"
#include "dataplane/publish/retirement.h"

namespace turnpike::publish {

inline constexpr uint32_t kMaxNeighbours = 8'192;

// An address as the table looks at it: what a worker has in registers already, for each packet.
struct AddressWords {
  Family family;
  uint64_t low;  // the first eight bytes as load_le64() reads them, of IPv4 the first four
  uint64_t high;  // the others

  static AddressWords of(const IpAddress& address) noexcept {
    return {address.family, load_le64(&address.bytes[0]), load_le64(&address.bytes[8])};
  }
  friend bool operator==(const AddressWords&, const AddressWords&) = default;
};

// A line of its own: workers write `last_used`.
struct alignas(kCacheLine) Neighbour {
  IpAddress address;  // set before publication
  PortIndex port = kNoPort;
  std::atomic<uint32_t> next{
      kNoNeighbour};  // in the bucket · session thread: writes · workers: read
  // The MAC in the lower 48 bits, as load_le64() reads it from a frame, and kMacKnown. session thread:
  // writes · workers: read
  std::atomic<uint64_t> mac_word{0};
  std::atomic<uint64_t> last_used{0};  // Instant · workers: write, relaxed · session thread: reads

  [[nodiscard]] bool is(PortIndex on, const AddressWords& at) const noexcept {
    const uint64_t differs =
        (load_le64(&address.bytes[0]) ^ at.low) | (load_le64(&address.bytes[8]) ^ at.high);
    return differs == 0 && port == on && address.family == at.family;
  }

  static constexpr uint64_t kMacKnown = uint64_t{1} << 48;

  [[nodiscard]] bool mac(MacAddress& out) const noexcept {
    const uint64_t word = mac_word.load(std::memory_order_relaxed);
    if ((word & kMacKnown) == 0) return false;
    std::memcpy(out.bytes.data(), &word, out.bytes.size());
    return true;
  }
};

class NeighbourTable {
 public:
  NeighbourTable(Epoch& epoch, uint64_t hash_key);

  // Workers and session thread, after begin().
  [[nodiscard]] NeighbourIndex find(PortIndex port, const IpAddress& address) const noexcept {
    return find(port, AddressWords::of(address));
  }
  [[nodiscard]] NeighbourIndex find(PortIndex port, const AddressWords& address) const noexcept {
    // Acquire, both: pair with the release stores in insert() and remove().
    NeighbourIndex i = buckets_[bucket(port, address)].load(std::memory_order_acquire);
    while (i != kNoNeighbour && !entries_[i].is(port, address)) {
      i = entries_[i].next.load(std::memory_order_acquire);
    }
    return i;
  }
  [[nodiscard]] Neighbour& operator[](NeighbourIndex index) noexcept {
    DCHECK(index < kMaxNeighbours);
    return entries_[index];
  }
  [[nodiscard]] const Neighbour& operator[](NeighbourIndex index) const noexcept {
    DCHECK(index < kMaxNeighbours);
    return entries_[index];
  }

  // Session thread. insert(): the entry that exists, or a new one without MAC; kNoNeighbour when full.
  [[nodiscard]] NeighbourIndex insert(PortIndex port, const IpAddress& address);
  void set_mac(NeighbourIndex index, const MacAddress& mac) noexcept;
  void clear_mac(NeighbourIndex index) noexcept;
  // Out of the table; the index may still be in the hands of readers until its epoch has passed, and must
  // not be in any PeerEndpoint.
  void remove(NeighbourIndex index);
  void collect();
  [[nodiscard]] uint32_t size() const noexcept { return size_; }

 private:
  static constexpr uint32_t kBuckets = 2 * kMaxNeighbours;

  [[nodiscard]] uint32_t bucket(PortIndex port, const AddressWords& address) const noexcept {
    // Multiply-shift over the words with a secret start: strangers choose inner destinations, so they
    // must not be able to aim at one bucket.
    uint64_t h = hash_key_ + port;
    h = (h ^ address.low) * 0x9e37'79b9'7f4a'7c15ULL;
    h = ((h ^ (h >> 29)) ^ address.high) * 0xbf58'476d'1ce4'e5b9ULL;
    return static_cast<uint32_t>((h ^ (h >> 32)) % kBuckets);
  }

  uint64_t hash_key_;
  std::unique_ptr<std::atomic<uint32_t>[]> buckets_;
  std::unique_ptr<Neighbour[]> entries_;
  std::vector<NeighbourIndex> free_;
  Retirement<NeighbourIndex> retired_;
  uint32_t size_ = 0;
};

}  // namespace turnpike::publish

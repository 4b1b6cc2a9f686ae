// What sending to a peer needs and what packets leave behind, outside the snapshot, in dense slots.
//   Threads:   the session thread owns every slot: it sets the incarnation, installs keypairs and writes
//              the endpoint. Workers read PeerSend, confirm keypairs by compare-and-swap, write the endpoint
//              of a peer that roamed (the session thread then writes it too), and store times and
//              sums in PeerActivity. Control reads both for people.
//   Bounds:    a fixed number of slots; memory is touched when a slot is first used.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>

#include "dataplane/base/address.h"
#include "dataplane/base/check.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"
#include "dataplane/base/pages.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/keypair.h"

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

// All that choosing how to send to a peer touches: one line, read by workers for each group of packets;
// and a second line that is read only while the endpoint changes.
class alignas(kCacheLine) PeerSend {
 public:
  std::atomic<wireguard::Keypair*> current{nullptr};  // session thread: stores · workers: load, CAS
  std::atomic<Incarnation> incarnation{0};  // session thread: writes · all: read

  // Session thread: its word is the last one. Waits for a worker that is just writing.
  void set_endpoint(const PeerEndpoint& endpoint) noexcept {
    // Acquire pairs with the release below: one writer after the other.
    while (writing_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    write(endpoint);
    writing_.store(false, std::memory_order_release);
  }
  // Workers: the endpoint that authenticated data just came from, so that the answer goes there already. False,
  // and nothing changes, while another thread writes; the session thread is told anyway.
  bool try_follow(const PeerEndpoint& endpoint) noexcept {
    if (writing_.exchange(true, std::memory_order_acquire)) return false;
    write(endpoint);
    writing_.store(false, std::memory_order_release);
    return true;
  }

 private:
  // A sequence lock over two copies: the second one is whole while the first is being written, and the other
  // way round, so that no reader ever waits for a writer that the kernel stopped in the middle.
  void write(const PeerEndpoint& endpoint) noexcept {
    const uint32_t version = version_.load(std::memory_order_relaxed);  // even
    // Readers that see this even version use the first copy; those that still see the odd one before it
    // and read words of this write find the version changed (write() releases each word after it).
    second_.write(endpoint);
    version_.store(version + 1, std::memory_order_release);  // with it, the second copy is whole
    first_.write(endpoint);
    version_.store(version + 2, std::memory_order_release);  // with it, the first copy is whole
  }

 public:
  // Any thread. A family of None: the peer has no endpoint. Goes round only when a write went on meanwhile.
  [[nodiscard]] EndpointWords endpoint_words() const noexcept {
    for (;;) {
      // Acquire pairs with the releases of the version above: the copy that it names is whole.
      const uint32_t before = version_.load(std::memory_order_acquire);
      const EndpointWords words = (before & 1) == 0 ? first_.read() : second_.read();
      // A word of a later write brings the version before that write with it, so that this load sees it.
      if (version_.load(std::memory_order_relaxed) == before) return words;
    }
  }
  [[nodiscard]] PeerEndpoint endpoint() const noexcept { return endpoint_words().value(); }

  // Any thread. Whether the endpoint is these two ends, without making it a value first. A reader that meets a
  // write says no; it asks endpoint() then.
  [[nodiscard]] bool is_at(const PacketEnds& ends) const noexcept {
    const uint32_t before = version_.load(std::memory_order_acquire);
    // Acquire, each, as in Copy::read().
    uint64_t differs = 0;
    for (size_t i = 0; i < 2; ++i) {
      differs |= first_.remote[i].load(std::memory_order_acquire) ^ ends.remote[i];
      differs |= first_.local[i].load(std::memory_order_acquire) ^ ends.local[i];
    }
    const auto family = static_cast<uint64_t>(ends.family);
    differs |= (first_.meta.load(std::memory_order_acquire) >> 32) ^
               (uint64_t{ends.remote_port} | family << 16 | family << 24);
    return differs == 0 && (before & 1) == 0 && version_.load(std::memory_order_relaxed) == before;
  }

 private:
  struct Copy {
    std::atomic<uint64_t> meta{0};
    std::atomic<uint64_t> remote[2] = {};
    std::atomic<uint64_t> local[2] = {};

    // Release, each: who sees the word sees the version that was stored before it.
    void write(const PeerEndpoint& endpoint) noexcept {
      const EndpointWords words = EndpointWords::of(endpoint);
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

  std::atomic<bool> writing_{false};
  std::atomic<uint32_t> version_{0};
  Copy first_;
  alignas(kCacheLine) Copy second_;
};
static_assert(sizeof(PeerSend) == 2 * kCacheLine);

// What packets leave behind, read lazily by the timers and by `show`. Times are Instants, 0 is never;
// they survive a rekey. workers: write, relaxed · session thread, control: read
struct alignas(kCacheLine) PeerActivity {
  std::atomic<uint64_t> tx_bytes{
      0};  // of WireGuard messages, keepalives, padding and handshakes included
  std::atomic<uint64_t> rx_bytes{0};
  std::atomic<uint64_t> last_sent{0};  // anything authenticated
  std::atomic<uint64_t> last_received{0};  // anything authenticated
  // First data received since we last sent anything: the passive keepalive counts from here.
  std::atomic<uint64_t> unanswered_since{0};
  // First data sent since we last received anything: a new handshake for silence counts from here.
  std::atomic<uint64_t> unacknowledged_since{0};
  std::atomic<uint64_t> last_handshake_wall{0};  // session thread: writes · WallTime, 0 never
  std::atomic<uint64_t> reserved{0};
};
static_assert(sizeof(PeerActivity) == kCacheLine);

struct alignas(kCacheLine) PeerSlot {
  PeerSend send;
  PeerActivity activity;
};

class PeerSlots {
 public:
  // `capacity` slots of memory from `pages`; CHECKs valid() before use.
  PeerSlots(PageSource& pages, uint32_t capacity) noexcept
      : pages_(pages),
        capacity_(capacity),
        slots_(static_cast<PeerSlot*>(pages.allocate(bytes()))) {
    // Zeroed pages are slots in their initial state, so nothing is touched here.
  }
  ~PeerSlots() {
    if (slots_ != nullptr) pages_.release(slots_, bytes());
  }
  PeerSlots(const PeerSlots&) = delete;
  PeerSlots& operator=(const PeerSlots&) = delete;

  [[nodiscard]] bool valid() const noexcept { return slots_ != nullptr; }
  [[nodiscard]] uint32_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] PeerSlot& operator[](PeerIndex index) noexcept {
    DCHECK(index < capacity_);
    return slots_[index];
  }
  [[nodiscard]] const PeerSlot& operator[](PeerIndex index) const noexcept {
    DCHECK(index < capacity_);
    return slots_[index];
  }

 private:
  [[nodiscard]] size_t bytes() const noexcept { return size_t{capacity_} * sizeof(PeerSlot); }

  PageSource& pages_;
  uint32_t capacity_;
  PeerSlot* slots_;
};

}  // namespace turnpike::publish

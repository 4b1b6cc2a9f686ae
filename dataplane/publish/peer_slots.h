// What sending to a peer needs and what packets leave behind, outside the snapshot, in dense slots.
//   Threads:   the session thread owns every slot: it sets the incarnation, installs keypairs and writes
//              the endpoint. Workers read PeerSend, confirm keypairs by compare-and-swap, write the endpoint
//              of a peer that roamed (the session thread then writes it too), and store times and
//              sums in PeerActivity. Control reads all for people.
//   Bounds:    a fixed number of slots; memory is touched when a slot is first used.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "dataplane/base/check.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"
#include "dataplane/base/pages.h"
#include "dataplane/base/spin_lock.h"
#include "dataplane/publish/endpoint.h"
#include "dataplane/wireguard/keypair.h"

namespace turnpike::publish {

// All that choosing how to send to a peer touches: one line, read by workers for each group of packets.
struct alignas(kCacheLine) PeerSend {
  std::atomic<wireguard::Keypair*> current{nullptr};  // session thread: stores · workers: load, CAS

 private:
  // The endpoint is a sequence lock over two copies: the second one, in PeerRecord, is whole while the first is
  // being written, and the other way round, so that no reader ever waits for a writer that the kernel stopped
  // in the middle.
  friend class PeerSlots;
  std::atomic<bool> writing_{false};
  std::atomic<uint32_t> version_{0};
  EndpointCopy endpoint_;
};
static_assert(sizeof(PeerSend) == kCacheLine);

// What packets leave behind, read lazily by the timers and by `show`, and what receiving looks at, which is no
// other line of the slot. Times are Instants, 0 is never; they survive a rekey.
// workers: write, relaxed · session thread, control: read
struct alignas(kCacheLine) PeerActivity {
  std::atomic<uint64_t> tx_bytes{0};  // of data messages, keepalives and padding included
  std::atomic<uint64_t> rx_bytes{0};  // the same; under the lock
  std::atomic<uint64_t> last_sent{0};  // anything authenticated
  std::atomic<uint64_t> last_received{0};  // anything authenticated
  // First data received since we last sent anything: the passive keepalive counts from here.
  std::atomic<uint64_t> unanswered_since{0};
  // First data sent since we last received anything: a new handshake for silence counts from here.
  std::atomic<uint64_t> unacknowledged_since{0};
  // Of the endpoint (EndpointPrinter), by who writes that, and before another one may: so it is never out of date
  // for good. A worker that reads it while the endpoint changes sees the one before or the one after, and does
  // what it would have done had its packet come a moment earlier or later: what differs is followed, and if that
  // is undone, by control for one, the next packet differs again. workers: read
  std::atomic<uint64_t> endpoint_print{0};
  std::atomic<Incarnation> incarnation{0};  // session thread: writes · all: read
  // Taken once for a group of messages that were opened: guards the replay windows of all keypairs of the peer, and
  // makes what is added here sums without a locked add for each. workers only
  SpinLock receiving;
};
static_assert(sizeof(PeerActivity) == kCacheLine);

// Two lines side by side: they share a page.
struct alignas(2 * kCacheLine) PeerSlot {
  PeerSend send;
  PeerActivity activity;
};
static_assert(sizeof(PeerSlot) == 2 * kCacheLine);

// What packets do not touch, apart from the slots: fewer pages have what they do touch.
struct alignas(kCacheLine) PeerRecord {
  EndpointCopy endpoint;  // who writes the endpoint: writes · readers of it meanwhile: read
  // session thread: writes · control: reads
  std::atomic<uint64_t> last_handshake_wall{0};  // WallTime, 0 never
  std::atomic<uint64_t> handshake_tx_bytes{
      0};  // of handshake messages, which are not in the activity's
  std::atomic<uint64_t> handshake_rx_bytes{0};
};
static_assert(sizeof(PeerRecord) == kCacheLine);

class PeerSlots {
 public:
  // `capacity` slots of memory from `pages`; CHECKs valid() before use. `secret`: random, of this process.
  PeerSlots(PageSource& pages, uint32_t capacity, uint64_t secret) noexcept
      : pages_(pages),
        capacity_(capacity),
        printer_(secret),
        slots_(static_cast<PeerSlot*>(pages.allocate(slot_bytes()))),
        records_(static_cast<PeerRecord*>(pages.allocate(record_bytes()))) {
    // Zeroed pages are slots in their initial state, so nothing is touched here.
  }
  ~PeerSlots() {
    if (slots_ != nullptr) pages_.release(slots_, slot_bytes());
    if (records_ != nullptr) pages_.release(records_, record_bytes());
  }
  PeerSlots(const PeerSlots&) = delete;
  PeerSlots& operator=(const PeerSlots&) = delete;

  [[nodiscard]] bool valid() const noexcept { return slots_ != nullptr && records_ != nullptr; }
  [[nodiscard]] uint32_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] PeerSlot& operator[](PeerIndex index) noexcept {
    DCHECK(index < capacity_);
    return slots_[index];
  }
  [[nodiscard]] const PeerSlot& operator[](PeerIndex index) const noexcept {
    DCHECK(index < capacity_);
    return slots_[index];
  }
  [[nodiscard]] PeerRecord& record(PeerIndex index) noexcept {
    DCHECK(index < capacity_);
    return records_[index];
  }
  [[nodiscard]] const PeerRecord& record(PeerIndex index) const noexcept {
    DCHECK(index < capacity_);
    return records_[index];
  }

  // Any thread, about now: bytes of all WireGuard messages.
  [[nodiscard]] uint64_t tx_bytes(PeerIndex index) const noexcept {
    return (*this)[index].activity.tx_bytes.load(std::memory_order_relaxed) +
           record(index).handshake_tx_bytes.load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t rx_bytes(PeerIndex index) const noexcept {
    return (*this)[index].activity.rx_bytes.load(std::memory_order_relaxed) +
           record(index).handshake_rx_bytes.load(std::memory_order_relaxed);
  }

  // Session thread: its word is the last one. Waits for a worker that is just writing.
  void set_endpoint(PeerIndex index, const PeerEndpoint& endpoint) noexcept {
    PeerSend& send = (*this)[index].send;
    // Acquire pairs with the release below: one writer after the other.
    while (send.writing_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    write(index, endpoint);
    send.writing_.store(false, std::memory_order_release);
  }
  // Workers: the endpoint that authenticated data just came from, so that the answer goes there already. False,
  // and nothing changes, while another thread writes; the session thread is told anyway.
  bool try_follow(PeerIndex index, const PeerEndpoint& endpoint) noexcept {
    PeerSend& send = (*this)[index].send;
    if (send.writing_.exchange(true, std::memory_order_acquire)) return false;
    write(index, endpoint);
    send.writing_.store(false, std::memory_order_release);
    return true;
  }

  // Any thread. A family of None: the peer has no endpoint. Goes round only when a write went on meanwhile.
  [[nodiscard]] EndpointWords endpoint_words(PeerIndex index) const noexcept {
    const PeerSend& send = (*this)[index].send;
    for (;;) {
      // Acquire pairs with the releases of the version in write(): the copy that it names is whole.
      const uint32_t before = send.version_.load(std::memory_order_acquire);
      const EndpointWords words =
          (before & 1) == 0 ? send.endpoint_.read() : record(index).endpoint.read();
      // A word of a later write brings the version before that write with it, so that this load sees it.
      if (send.version_.load(std::memory_order_relaxed) == before) return words;
    }
  }
  [[nodiscard]] PeerEndpoint endpoint(PeerIndex index) const noexcept {
    return endpoint_words(index).value();
  }

  // Any thread. Whether the endpoint is these two ends, by the activity's line alone. While it changes the answer
  // may be that of a moment before.
  [[nodiscard]] bool is_at(PeerIndex index, const PacketEnds& ends) const noexcept {
    return (*this)[index].activity.endpoint_print.load(std::memory_order_relaxed) ==
           printer_.of(ends);
  }

 private:
  // By who has `writing_`.
  void write(PeerIndex index, const PeerEndpoint& endpoint) noexcept {
    PeerSlot& slot = (*this)[index];
    PeerSend& send = slot.send;
    const EndpointWords words = EndpointWords::of(endpoint);
    const uint32_t version = send.version_.load(std::memory_order_relaxed);  // even
    // Readers that see this even version use the first copy; those that still see the odd one before it
    // and read words of this write find the version changed (the copies release each word after it).
    record(index).endpoint.write(words);
    send.version_.store(version + 1,
                        std::memory_order_release);  // with it, the second copy is whole
    send.endpoint_.write(words);
    send.version_.store(version + 2,
                        std::memory_order_release);  // with it, the first copy is whole
    slot.activity.endpoint_print.store(printer_.of(words), std::memory_order_relaxed);
  }

  [[nodiscard]] size_t slot_bytes() const noexcept { return size_t{capacity_} * sizeof(PeerSlot); }
  [[nodiscard]] size_t record_bytes() const noexcept {
    return size_t{capacity_} * sizeof(PeerRecord);
  }

  PageSource& pages_;
  uint32_t capacity_;
  EndpointPrinter printer_;
  PeerSlot* slots_;
  PeerRecord* records_;
};

}  // namespace turnpike::publish

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

// A sum, and in its highest bit a small lock, held for some tens of instructions: uncontended where RSS keeps a peer on
// one queue, correct where it does not. For workers alone: none ever waits for a thread of control.
class LockedSum {
 public:
  // Gives the sum.
  [[nodiscard]] uint64_t lock() noexcept {
    uint64_t word = word_.load(std::memory_order_relaxed);
    // Acquire pairs with the release in unlock().
    while ((word & kHeld) != 0 ||
           !word_.compare_exchange_weak(word, word | kHeld, std::memory_order_acquire,
                                        std::memory_order_relaxed)) {
      __builtin_ia32_pause();
      word = word_.load(std::memory_order_relaxed);
    }
    return word;
  }
  void unlock(uint64_t sum) noexcept { word_.store(sum & ~kHeld, std::memory_order_release); }

  // Any thread.
  [[nodiscard]] uint64_t value() const noexcept {
    return word_.load(std::memory_order_relaxed) & ~kHeld;
  }
  // Session thread. Who holds the lock goes on holding it, and may yet put back what it adds to.
  void reset() noexcept { word_.fetch_and(kHeld, std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kHeld = uint64_t{1} << 63;
  std::atomic<uint64_t> word_{0};
};

// What packets leave behind, read lazily by the timers and by `show`, and what receiving looks at, which is no
// other line of the slot. Times are Instants, 0 is never; they survive a rekey.
// workers: write, relaxed · session thread, control: read
struct alignas(kCacheLine) PeerActivity {
  std::atomic<uint64_t> tx_bytes{0};  // of data messages, keepalives and padding included
  // The same. The lock is taken once for a group of messages that were opened: it guards the replay windows of all
  // keypairs of the peer, and makes what is added here a sum without a locked add for each. workers only
  LockedSum rx_bytes;
  std::atomic<uint64_t> last_sent{0};  // anything authenticated
  std::atomic<uint64_t> last_received{0};  // anything authenticated
  // First data received since we last sent anything: the passive keepalive counts from here.
  std::atomic<uint64_t> unanswered_since{0};
  // First data sent since we last received anything: a new handshake for silence counts from here.
  std::atomic<uint64_t> unacknowledged_since{0};
  // Of endpoint and incarnation (Printer), by who writes those, and before another one may: so it is never out of
  // date for good. A worker that reads it while they change sees the ones before or the ones after, and does
  // what it would have done had its packet come a moment earlier or later: what differs is followed, and if that
  // is undone, by control for one, the next packet differs again. workers: read
  std::atomic<uint64_t> print{0};
  // Of the source that a look-up gave to the peer last, with the stamp of what it went by (Printer); 0 is none. Any
  // worker that finds the print of a packet's source here knows what a look-up would say, so it matters not whose is
  // the last one, nor which snapshot that worker had. workers only
  std::atomic<uint64_t> source_print{0};
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
        records_(static_cast<PeerRecord*>(pages.allocate(record_bytes()))),
        incarnations_(static_cast<std::atomic<Incarnation>*>(pages.allocate(incarnation_bytes()))) {
    // Zeroed pages are slots in their initial state, so nothing is touched here.
  }
  ~PeerSlots() {
    if (slots_ != nullptr) pages_.release(slots_, slot_bytes());
    if (records_ != nullptr) pages_.release(records_, record_bytes());
    if (incarnations_ != nullptr) pages_.release(incarnations_, incarnation_bytes());
  }
  PeerSlots(const PeerSlots&) = delete;
  PeerSlots& operator=(const PeerSlots&) = delete;

  [[nodiscard]] bool valid() const noexcept {
    return slots_ != nullptr && records_ != nullptr && incarnations_ != nullptr;
  }
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
    return (*this)[index].activity.rx_bytes.value() +
           record(index).handshake_rx_bytes.load(std::memory_order_relaxed);
  }

  // Session thread: its word is the last one. Waits for a worker that is just writing.
  void set_endpoint(PeerIndex index, const PeerEndpoint& endpoint) noexcept {
    wait_to_write(index);
    write(index, EndpointWords::of(endpoint));
    end_writing(index);
  }
  // The same. Release: who sees the incarnation sees what was set before.
  void set_incarnation(PeerIndex index, Incarnation incarnation) noexcept {
    wait_to_write(index);
    incarnations_[index].store(incarnation, std::memory_order_release);
    set_print(index, (*this)[index].send.endpoint_.read());
    end_writing(index);
  }
  // Workers: the endpoint that authenticated data just came from, so that the answer goes there already. False,
  // and nothing changes, while another thread writes; the session thread is told anyway.
  bool try_follow(PeerIndex index, const PeerEndpoint& endpoint) noexcept {
    if (!try_to_write(index)) return false;
    write(index, EndpointWords::of(endpoint));
    end_writing(index);
    return true;
  }

  // Any thread. 0: the slot is free.
  [[nodiscard]] Incarnation incarnation(PeerIndex index) const noexcept {
    // Acquire pairs with the release in set_incarnation().
    DCHECK(index < capacity_);
    return incarnations_[index].load(std::memory_order_acquire);
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

  // Any thread. Whether the slot is this peer's and the endpoint these two ends, by the activity's line alone. While
  // either changes the answer may be that of a moment before.
  [[nodiscard]] bool is_at(const PeerRef& peer, const PacketEnds& ends) const noexcept {
    return (*this)[peer.index].activity.print.load(std::memory_order_relaxed) ==
           printer_.of(ends, peer.incarnation);
  }
  [[nodiscard]] const Printer& printer() const noexcept { return printer_; }

 private:
  // Acquire pairs with the release in end_writing(): one writer after the other.
  [[nodiscard]] bool try_to_write(PeerIndex index) noexcept {
    return !(*this)[index].send.writing_.exchange(true, std::memory_order_acquire);
  }
  void wait_to_write(PeerIndex index) noexcept {
    while (!try_to_write(index)) std::this_thread::yield();
  }
  void end_writing(PeerIndex index) noexcept {
    (*this)[index].send.writing_.store(false, std::memory_order_release);
  }

  // By who has `writing_`.
  void set_print(PeerIndex index, const EndpointWords& words) noexcept {
    const Incarnation incarnation = incarnations_[index].load(std::memory_order_relaxed);
    (*this)[index].activity.print.store(printer_.of(words, incarnation), std::memory_order_relaxed);
  }
  void write(PeerIndex index, const EndpointWords& words) noexcept {
    PeerSend& send = (*this)[index].send;
    const uint32_t version = send.version_.load(std::memory_order_relaxed);  // even
    // Readers that see this even version use the first copy; those that still see the odd one before it
    // and read words of this write find the version changed (the copies release each word after it).
    record(index).endpoint.write(words);
    send.version_.store(version + 1,
                        std::memory_order_release);  // with it, the second copy is whole
    send.endpoint_.write(words);
    send.version_.store(version + 2,
                        std::memory_order_release);  // with it, the first copy is whole
    set_print(index, words);
  }

  [[nodiscard]] size_t slot_bytes() const noexcept { return size_t{capacity_} * sizeof(PeerSlot); }
  [[nodiscard]] size_t record_bytes() const noexcept {
    return size_t{capacity_} * sizeof(PeerRecord);
  }
  [[nodiscard]] size_t incarnation_bytes() const noexcept {
    return size_t{capacity_} * sizeof(std::atomic<Incarnation>);
  }

  PageSource& pages_;
  uint32_t capacity_;
  Printer printer_;
  PeerSlot* slots_;
  PeerRecord* records_;
  // session thread: writes · all: read, workers where the print in the slot differs from a packet's
  std::atomic<Incarnation>* incarnations_;
};

}  // namespace turnpike::publish

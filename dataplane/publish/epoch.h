// The retirement clock. Who unpublishes something stores the new pointer, then calls retire() and tags
// the old object with what it returns; every reader reports, at the top of each burst or turn, the epoch
// that it has seen; the object may be freed when passed(tag). (design: snapshots, epochs)
//   Threads:   retire() and passed() on any thread; each EpochReader on its owner only; add_reader()
//              before any second thread uses the epoch.
//   Bounds:    kMaxReaders readers; add_reader() beyond it is a bug.
//   A reader that goes to sleep says offline(), or it holds up every retirement.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dataplane/base/check.h"
#include "dataplane/base/limits.h"

namespace turnpike::publish {

// Workers, session threads and the control thread.
inline constexpr size_t kMaxReaders = kMaxWorkers + 16;

class Epoch;

class alignas(kCacheLine) EpochReader {
 public:
  // The top of a burst or turn: what was read from published pointers before is no longer used. An epoch
  // that is seen here (acquire, pairs with the increment in Epoch::retire()) brings with it every pointer
  // stored before it was advanced; and the last burst's reads are over before it is reported (release,
  // pairs with the load in Epoch::passed()). A reader that is offline comes back as by online().
  void begin() noexcept;
  // Nothing published is used until online().
  void offline() noexcept { reported_.store(kOffline, std::memory_order_release); }
  // Comes back before any published pointer is loaded.
  void online() noexcept;

  // Sequentially consistent, as in Epoch::passed(), so that what it says of one reader is as good.
  [[nodiscard]] uint64_t reported() const noexcept {
    return reported_.load(std::memory_order_seq_cst);
  }
  [[nodiscard]] bool is_offline() const noexcept { return reported() == kOffline; }

 private:
  friend class Epoch;
  static constexpr uint64_t kOffline = ~uint64_t{0};

  std::atomic<uint64_t> reported_{kOffline};  // owner: writes · who retires: reads
  const Epoch* epoch_ = nullptr;
};

class Epoch {
 public:
  // At start. The reader begins offline.
  EpochReader& add_reader() noexcept {
    CHECK(reader_count_ < kMaxReaders);
    EpochReader& reader = readers_[reader_count_];
    reader.epoch_ = this;
    ++reader_count_;
    return reader;
  }

  // Advances the clock; returns the tag of what was unpublished before the call.
  [[nodiscard]] uint64_t retire() noexcept {
    return now_.fetch_add(1, std::memory_order_seq_cst) + 1;
  }

  // Whether no reader can still hold what carries `tag`.
  [[nodiscard]] bool passed(uint64_t tag) const noexcept {
    for (size_t i = 0; i < reader_count_; ++i) {
      if (readers_[i].reported_.load(std::memory_order_seq_cst) < tag) return false;
    }
    return true;
  }

  [[nodiscard]] uint64_t now() const noexcept { return now_.load(std::memory_order_seq_cst); }

 private:
  friend class EpochReader;
  alignas(kCacheLine) std::atomic<uint64_t> now_{1};
  std::array<EpochReader, kMaxReaders> readers_;
  size_t reader_count_ = 0;
};

inline void EpochReader::begin() noexcept {
  // Our own line, so this costs a branch. While we are offline nothing waits for us: an object that was
  // unpublished after the load below could be freed before our plain store is seen, and we would use it.
  if (reported_.load(std::memory_order_relaxed) == kOffline) [[unlikely]]
    return online();
  reported_.store(epoch_->now_.load(std::memory_order_acquire), std::memory_order_release);
}

inline void EpochReader::online() noexcept {
  // Either the clock has not moved since we reported, then a later retire() sees our report (the exchange
  // comes before our second load, and that before its increment, in the one order of sequentially
  // consistent operations); or it has, and we go round.
  uint64_t seen;
  do {
    seen = epoch_->now_.load(std::memory_order_seq_cst);
    reported_.exchange(seen, std::memory_order_seq_cst);
  } while (epoch_->now_.load(std::memory_order_seq_cst) != seen);
}

}  // namespace turnpike::publish

// A key's address to the crypto device's session for it.
//   Threads: add() and remove() on one thread; find() on any, for keys that were added before the finder heard of
//            them (a keypair is published by a release store) and that are not removed before it let go of them.
//   Bounds:  `capacity` keys; add() says no beyond.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "dataplane/base/check.h"
#include "dataplane/base/prefetch.h"

namespace turnpike::io {

class SessionTable {
 public:
  explicit SessionTable(size_t capacity)
      : capacity_(capacity),
        mask_(std::bit_ceil(2 * capacity) - 1),
        entries_(std::make_unique<Entry[]>(mask_ + 1)) {}

  [[nodiscard]] bool add(const uint8_t* key, void* session) noexcept {
    if (size() == capacity_) return false;
    size_t steps = 0;
    while (entry(key, steps).key.load(std::memory_order_relaxed) != nullptr) ++steps;
    Entry& place = entry(key, steps);
    place.session.store(session, std::memory_order_relaxed);
    place.key.store(key, std::memory_order_relaxed);
    if (steps > longest_.load(std::memory_order_relaxed)) {
      longest_.store(steps, std::memory_order_relaxed);
    }
    size_.store(size() + 1, std::memory_order_relaxed);
    return true;
  }

  // The session; nullptr when the key is not there.
  void* remove(const uint8_t* key) noexcept {
    Entry* const found = find_entry(key);
    if (found == nullptr) return nullptr;
    // Nobody looks for this key any more; who passes by only compares.
    found->key.store(nullptr, std::memory_order_relaxed);
    size_.store(size() - 1, std::memory_order_relaxed);
    return found->session.exchange(nullptr, std::memory_order_relaxed);
  }

  void prefetch_entry(const uint8_t* key) const noexcept { prefetch(&entry(key, 0)); }
  [[nodiscard]] void* find(const uint8_t* key) const noexcept {
    const Entry* const found = find_entry(key);
    return found == nullptr ? nullptr : found->session.load(std::memory_order_relaxed);
  }

  // Any thread.
  [[nodiscard]] size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
  template <typename Call>
  void for_each(Call&& call) const {
    for (size_t i = 0; i <= mask_; ++i) {
      if (const uint8_t* key = entries_[i].key.load(std::memory_order_relaxed)) call(key);
    }
  }

 private:
  // Relaxed everywhere: what makes a key known to a finder orders its entry, too, and others' entries only have
  // another key. owner: writes · finders: read
  struct Entry {
    std::atomic<const uint8_t*> key{nullptr};
    std::atomic<void*> session{nullptr};
  };

  [[nodiscard]] Entry& entry(const uint8_t* key, size_t step) const noexcept {
    // Keys lie in objects of some hundred bytes, one like the other: the upper half of a product spreads them.
    const uint64_t product = reinterpret_cast<uint64_t>(key) * 0x9e37'79b9'7f4a'7c15u;
    return entries_[((product >> 32) + step) & mask_];
  }
  // An entry never moves, so an empty place on the way to it says nothing.
  [[nodiscard]] Entry* find_entry(const uint8_t* key) const noexcept {
    const size_t longest = longest_.load(std::memory_order_relaxed);
    for (size_t step = 0; step <= longest; ++step) {
      Entry& place = entry(key, step);
      if (place.key.load(std::memory_order_relaxed) == key) return &place;
    }
    return nullptr;
  }

  size_t capacity_;
  size_t mask_;
  std::unique_ptr<Entry[]> entries_;
  std::atomic<size_t> size_{0};  // owner: writes · who shows it: reads
  std::atomic<size_t> longest_{
      0};  // steps from a key's first place, of any so far · owner: writes · finders: read
};

}  // namespace turnpike::io

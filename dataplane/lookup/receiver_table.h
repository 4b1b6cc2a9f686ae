// Receiver index -> keypair, for the workers. An index is the slot in its low bits and random bits above,
// drawn at random as a whole, so that nobody can guess one; the worker compares the full index with the
// keypair's.
//   Threads:   reserve(), install(), remove(), release() on the session thread; find() on workers.
//   Ownership: keypairs belong to the session thread, which retires them by epoch after remove().
//   Bounds:    kReceiverSlots; reserve() says no when none of some tries is free.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/pages.h"
#include "dataplane/base/prefetch.h"
#include "dataplane/base/random.h"
#include "dataplane/wireguard/keypair.h"

namespace turnpike::lookup {

inline constexpr uint32_t kReceiverSlots = 1u << 22;  // four for each of kMaxPeers

class ReceiverTable {
 public:
  // `slots` is a power of two.
  explicit ReceiverTable(PageSource& pages, uint32_t slots = kReceiverSlots) noexcept;
  ~ReceiverTable();
  ReceiverTable(const ReceiverTable&) = delete;
  ReceiverTable& operator=(const ReceiverTable&) = delete;

  [[nodiscard]] bool valid() const noexcept { return slots_ != nullptr; }

  // An index for a handshake in flight; workers find nothing under it yet.
  [[nodiscard]] std::optional<uint32_t> reserve(RandomSource& random);
  // From now on workers find `keypair`, whose local_index is `index`.
  void install(uint32_t index, wireguard::Keypair* keypair) noexcept;
  // Workers no longer find it; the index stays reserved until release(), after the epoch.
  void remove(uint32_t index) noexcept;
  void release(uint32_t index) noexcept;

  // Workers. nullptr, or a keypair of this slot: the caller compares local_index.
  [[nodiscard]] wireguard::Keypair* find(uint32_t index) const noexcept {
    return slots_[index & mask_].load(std::memory_order_acquire);  // pairs with install()
  }
  void prefetch_slot(uint32_t index) const noexcept { prefetch(&slots_[index & mask_]); }

 private:
  PageSource& pages_;
  uint32_t mask_;
  std::atomic<wireguard::Keypair*>* slots_;
  std::vector<bool> reserved_;
};

}  // namespace turnpike::lookup

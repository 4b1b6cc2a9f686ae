// Memory for keypairs, from a page source that is meant to be crypto::SecretPages, and for the bitmaps of their windows,
// which are no secret, from any other; and receiver index -> keypair, for the workers: an index is its keypair's place
// (receiver_index.h, KeypairChunk).
//   Threads:   one, the session thread, reserves, makes, publishes, withdraws and releases; locate() and find() on any.
//   Ownership: the arena owns the memory, also of keypairs still in use when it dies; they are wiped. What was
//              withdrawn is released only when its epoch is retired.
//   Bounds:    `max_keypairs`, kMaxKeypairs at most; reserve() says no at the bound and when the source has no more.
//              Memory grows by chunks, the keypairs side by side; of released keypairs it is used again, not given back.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "dataplane/base/pages.h"
#include "dataplane/base/prefetch.h"
#include "dataplane/base/random.h"
#include "dataplane/wireguard/keypair.h"
#include "dataplane/wireguard/receiver_index.h"

namespace turnpike::wireguard {

class KeypairArena {
 public:
  static constexpr uint32_t kMaxKeypairs = KeypairPlace::kSlots;
  // A slot is used again when so many others are free. With the generations that it goes through this is how many
  // indexes are given out before one comes again.
  static constexpr uint32_t kResting = 512;

  KeypairArena(PageSource& keys, PageSource& bitmaps, uint32_t max_keypairs,
               RandomSource& random) noexcept;
  KeypairArena(PageSource& pages, uint32_t max_keypairs, RandomSource& random) noexcept
      : KeypairArena(pages, pages, max_keypairs, random) {}
  ~KeypairArena();
  KeypairArena(const KeypairArena&) = delete;
  KeypairArena& operator=(const KeypairArena&) = delete;

  // ---- Session thread

  // An index for a handshake in flight, and room for its keypair; workers find nothing under it.
  [[nodiscard]] std::optional<uint32_t> reserve() noexcept;
  // The keypair of a reserved index, as by its default constructor, its bitmap zero. Once.
  [[nodiscard]] Keypair& make(uint32_t index) noexcept;
  // Wipes every byte of what make() gave and was not published.
  void unmake(uint32_t index) noexcept;
  // From now on workers find it.
  void publish(Keypair& keypair) noexcept;
  // They no longer do, but may hold it until its epoch is retired.
  void withdraw(Keypair& keypair) noexcept;
  // Gives the index back, and wipes its keypair where there is one. The caller knows that nobody looks at it any more.
  void release(uint32_t index) noexcept;
  // Published or not.
  [[nodiscard]] uint32_t index_of(const Keypair& keypair) const noexcept;

  [[nodiscard]] size_t in_use() const noexcept { return made_; }  // keypairs
  [[nodiscard]] size_t reserved() const noexcept { return opened_ - free_; }  // indexes, theirs too
  [[nodiscard]] size_t capacity() const noexcept { return max_keypairs_; }

  // ---- Workers

  // Where the keypair of `index` is if there is one; nullptr: there is no memory. Nothing is read there, and until
  // answers_to() has said yes nothing else may be.
  [[nodiscard]] Keypair* locate(uint32_t index) const noexcept {
    return keypair_at(indexes_.place_of(index).slot);
  }
  // The same of several, found(i, keypair) for each, at a third of the cost.
  template <size_t kCount, typename Found>
  void locate(const std::array<uint32_t, kCount>& indexes, Found&& found) const noexcept {
    const std::array<uint32_t, kCount> slots = indexes_.slots_of(indexes);
    for (size_t i = 0; i < kCount; ++i) found(i, keypair_at(slots[i]));
  }
  // The published keypair of `index`, or nullptr.
  [[nodiscard]] Keypair* find(uint32_t index) const noexcept {
    Keypair* keypair = locate(index);
    return keypair != nullptr && keypair->answers_to(index) ? keypair : nullptr;
  }

  [[nodiscard]] const ReceiverIndexes& indexes() const noexcept { return indexes_; }

 private:
  static constexpr size_t kMaxChunks = kMaxKeypairs / KeypairChunk::kKeypairs;
  // Of KeypairSending::life, above the generation.
  static constexpr uint16_t kReserved = 1u << 14;
  static constexpr uint16_t kMade = 1u << 15;
  static_assert(KeypairPlace::kGenerations <= kReserved);

  [[nodiscard]] Keypair* keypair_at(uint32_t slot) const noexcept {
    // Acquire pairs with grow(): all keypairs of the chunk have an index to compare.
    std::byte* chunk = chunks_[slot / KeypairChunk::kKeypairs].load(std::memory_order_acquire);
    if (chunk == nullptr) [[unlikely]]
      return nullptr;
    return reinterpret_cast<Keypair*>(chunk + slot % KeypairChunk::kKeypairs * sizeof(Keypair));
  }
  [[nodiscard]] uint32_t slot_of(const Keypair& keypair) const noexcept;
  [[nodiscard]] Keypair& reserved_keypair(uint32_t index) const noexcept;
  [[nodiscard]] uint32_t vacant(uint32_t slot) const noexcept;
  [[nodiscard]] bool open_slot() noexcept;
  [[nodiscard]] bool grow(uint32_t chunk) noexcept;
  void clear(Keypair& keypair) noexcept;

  // Workers read: the key, and chunks that never change once they are there.
  const ReceiverIndexes indexes_;
  std::array<std::atomic<std::byte*>, kMaxChunks> chunks_{};

  // Session thread.
  alignas(kCacheLine) PageSource& key_pages_;
  PageSource& bitmap_pages_;
  const uint32_t max_keypairs_;
  const uint32_t zero_slot_;  // where index 0 leads
  uint32_t opened_ = 0;  // slots that were in use ever: these come first
  uint32_t made_ = 0;
  // Slots that are free again, in the order in which they became so. A free one's `remote_index` is the next.
  uint32_t free_ = 0, first_free_ = 0, last_free_ = 0;
};

}  // namespace turnpike::wireguard

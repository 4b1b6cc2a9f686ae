// An index from hashes to slot numbers: the keys stay where they are, in the slots. Open addressing with
// backward-shift removal, split into shards that grow on their own, so that no single insertion moves
// more than a shard (a table of a million entries never stops the control thread for milliseconds).
//   Threads: one at a time.
//   Bounds:  2^32 - 1 slots. Memory: 8 bytes an entry at a load between 0.44 and 0.875.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace turnpike::state {

inline constexpr uint32_t kNoSlot = 0xffff'ffff;

class HashIndex {
 public:
  // 2^shard_bits shards: 10 for a table that lives long, 0 for one that lives for a call, which takes no memory before
  // its first entry.
  explicit HashIndex(unsigned shard_bits);

  // The slot with this hash for which `equal(slot)` holds, or kNoSlot.
  template <typename Equal>
  [[nodiscard]] uint32_t find(uint64_t hash, Equal&& equal) const {
    const Shard& shard = shard_of(hash);
    if (shard.size == 0) return kNoSlot;
    const uint32_t tag = tag_of(hash);
    const uint32_t mask = shard.capacity - 1;
    for (uint32_t at = tag & mask; shard.entries[at].slot != kNoSlot; at = (at + 1) & mask) {
      if (shard.entries[at].tag == tag && equal(shard.entries[at].slot)) {
        return shard.entries[at].slot;
      }
    }
    return kNoSlot;
  }
  // The caller has made sure that no equal key is there.
  void insert(uint64_t hash, uint32_t slot);
  // The entry must be there.
  void erase(uint64_t hash, uint32_t slot);

  [[nodiscard]] uint64_t size() const noexcept { return size_; }
  [[nodiscard]] uint64_t memory_bytes() const noexcept;

 private:
  struct Entry {
    uint32_t tag = 0;
    uint32_t slot = kNoSlot;
  };
  struct Shard {
    std::unique_ptr<Entry[]> entries;
    uint32_t capacity = 0;
    uint32_t size = 0;
  };
  // The tag places an entry within its shard; the shard comes from the other half of the hash.
  [[nodiscard]] static uint32_t tag_of(uint64_t hash) noexcept {
    return static_cast<uint32_t>(hash);
  }
  [[nodiscard]] const Shard& shard_of(uint64_t hash) const noexcept {
    return shard_bits_ == 0 ? only_ : shards_[hash >> (64 - shard_bits_)];
  }
  [[nodiscard]] Shard& shard_of(uint64_t hash) noexcept {
    return shard_bits_ == 0 ? only_ : shards_[hash >> (64 - shard_bits_)];
  }
  static void place(Shard& shard, Entry entry) noexcept;
  static void resize(Shard& shard, uint32_t capacity);

  unsigned shard_bits_;
  uint64_t size_ = 0;
  Shard only_;  // of one with a single shard
  std::vector<Shard> shards_;  // of one with several
};

// splitmix64's finaliser: hashes that come in may be a few bytes of a key.
[[nodiscard]] constexpr uint64_t mix_hash(uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace turnpike::state

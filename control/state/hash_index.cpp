#include "control/state/hash_index.h"

#include "dataplane/base/check.h"

namespace turnpike::state {
namespace {

constexpr uint32_t kFirstCapacity = 8;

}  // namespace

HashIndex::HashIndex(unsigned shard_bits)
    : shard_bits_(shard_bits), shards_(shard_bits == 0 ? 0 : size_t{1} << shard_bits) {}

void HashIndex::place(Shard& shard, Entry entry) noexcept {
  const uint32_t mask = shard.capacity - 1;
  uint32_t at = entry.tag & mask;
  while (shard.entries[at].slot != kNoSlot) at = (at + 1) & mask;
  shard.entries[at] = entry;
}

void HashIndex::resize(Shard& shard, uint32_t capacity) {
  Shard next{
      .entries = std::make_unique<Entry[]>(capacity), .capacity = capacity, .size = shard.size};
  for (uint32_t i = 0; i < shard.capacity; ++i) {
    if (shard.entries[i].slot != kNoSlot) place(next, shard.entries[i]);
  }
  shard = std::move(next);
}

void HashIndex::insert(uint64_t hash, uint32_t slot) {
  DCHECK(slot != kNoSlot);
  Shard& shard = shard_of(hash);
  if ((shard.size + 1) * 8ULL > shard.capacity * 7ULL) {
    resize(shard, shard.capacity == 0 ? kFirstCapacity : shard.capacity * 2);
  }
  place(shard, {.tag = tag_of(hash), .slot = slot});
  ++shard.size;
  ++size_;
}

void HashIndex::erase(uint64_t hash, uint32_t slot) {
  Shard& shard = shard_of(hash);
  CHECK(shard.size > 0);
  const uint32_t mask = shard.capacity - 1;
  uint32_t hole = tag_of(hash) & mask;
  while (shard.entries[hole].slot != slot) {
    CHECK(shard.entries[hole].slot != kNoSlot);
    hole = (hole + 1) & mask;
  }
  // Whoever was pushed past the hole and may stand in it moves back, so that no search stops early.
  for (uint32_t at = (hole + 1) & mask; shard.entries[at].slot != kNoSlot; at = (at + 1) & mask) {
    const uint32_t home = shard.entries[at].tag & mask;
    if (((at - home) & mask) >= ((at - hole) & mask)) {
      shard.entries[hole] = shard.entries[at];
      hole = at;
    }
  }
  shard.entries[hole] = {};
  --shard.size;
  --size_;
  if (shard.capacity > kFirstCapacity && shard.size * 4ULL < shard.capacity) {
    resize(shard, shard.capacity / 2);
  }
}

uint64_t HashIndex::memory_bytes() const noexcept {
  uint64_t bytes = shards_.capacity() * sizeof(Shard) + only_.capacity * sizeof(Entry);
  for (const Shard& shard : shards_) bytes += shard.capacity * sizeof(Entry);
  return bytes;
}

}  // namespace turnpike::state

#include "dataplane/wireguard/keypair_arena.h"

#include <new>

#include "dataplane/base/check.h"

namespace turnpike::wireguard {

KeypairArena::KeypairArena(PageSource& pages, size_t max_keypairs)
    : pages_(pages), max_chunks_((max_keypairs + kPerChunk - 1) / kPerChunk) {
  chunks_.reserve(max_chunks_);
}

KeypairArena::~KeypairArena() {
  for (std::byte* chunk : chunks_) {
    wipe(chunk, kChunkBytes);
    pages_.release(chunk, kChunkBytes);
  }
}

bool KeypairArena::grow() noexcept {
  if (chunks_.size() == max_chunks_) return false;
  auto* chunk = static_cast<std::byte*>(pages_.allocate(kChunkBytes));
  if (chunk == nullptr) return false;
  chunks_.push_back(chunk);
  // Backwards, so that keypairs are given out in the order of their addresses.
  for (size_t i = kPerChunk; i-- > 0;) free_ = new (chunk + i * sizeof(Keypair)) Free{free_};
  return true;
}

Keypair* KeypairArena::allocate() noexcept {
  if (free_ == nullptr && !grow()) return nullptr;
  void* memory = free_;
  free_ = free_->next;
  ++in_use_;
  return new (memory) Keypair();
}

void KeypairArena::release(Keypair* keypair) noexcept {
  CHECK(in_use_ > 0);
  DCHECK(owns(keypair));
  keypair->~Keypair();
  wipe(static_cast<void*>(keypair), sizeof(Keypair));
  free_ = new (static_cast<void*>(keypair)) Free{free_};
  --in_use_;
}

bool KeypairArena::owns(const Keypair* keypair) const noexcept {
  const auto* at = reinterpret_cast<const std::byte*>(keypair);
  for (const std::byte* chunk : chunks_) {
    if (at >= chunk && at < chunk + kPerChunk * sizeof(Keypair)) {
      return static_cast<size_t>(at - chunk) % sizeof(Keypair) == 0;
    }
  }
  return false;
}

}  // namespace turnpike::wireguard

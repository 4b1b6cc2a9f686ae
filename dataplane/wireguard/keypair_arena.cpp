#include "dataplane/wireguard/keypair_arena.h"

#include <new>

#include "dataplane/base/check.h"

namespace turnpike::wireguard {

KeypairArena::KeypairArena(PageSource& pages, size_t max_keypairs)
    : pages_(pages),
      max_chunks_((max_keypairs + KeypairChunk::kKeypairs - 1) / KeypairChunk::kKeypairs) {
  chunks_.reserve(max_chunks_);
}

KeypairArena::~KeypairArena() {
  for (std::byte* chunk : chunks_) {
    wipe(chunk, KeypairChunk::kBytes);
    pages_.release(chunk, KeypairChunk::kBytes);
  }
}

bool KeypairArena::grow() noexcept {
  if (chunks_.size() == max_chunks_) return false;
  auto* chunk = static_cast<std::byte*>(pages_.allocate(KeypairChunk::kBytes));
  if (chunk == nullptr) return false;
  CHECK(reinterpret_cast<uintptr_t>(chunk) % KeypairChunk::kBytes == 0);
  chunks_.push_back(chunk);
  // Backwards, so that keypairs are given out in the order of their addresses.
  for (size_t i = KeypairChunk::kKeypairs; i-- > 0;)
    free_ = new (chunk + i * sizeof(Keypair)) Free{free_};
  return true;
}

Keypair* KeypairArena::allocate() noexcept {
  if (free_ == nullptr && !grow()) return nullptr;
  void* memory = free_;
  free_ = free_->next;
  ++in_use_;
  new (KeypairChunk::bitmap_at(memory)) ReplayBitmap();
  return new (memory) Keypair();
}

void KeypairArena::release(Keypair* keypair) noexcept {
  CHECK(in_use_ > 0);
  DCHECK(owns(keypair));
  wipe(&keypair->bitmap(), sizeof(ReplayBitmap));
  keypair->~Keypair();
  wipe(static_cast<void*>(keypair), sizeof(Keypair));
  free_ = new (static_cast<void*>(keypair)) Free{free_};
  --in_use_;
}

bool KeypairArena::owns(const Keypair* keypair) const noexcept {
  const auto* at = reinterpret_cast<const std::byte*>(keypair);
  for (const std::byte* chunk : chunks_) {
    if (at >= chunk && at < chunk + KeypairChunk::kBitmapsAt) {
      return static_cast<size_t>(at - chunk) % sizeof(Keypair) == 0;
    }
  }
  return false;
}

}  // namespace turnpike::wireguard

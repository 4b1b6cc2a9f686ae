// Memory for keypairs and the bitmaps of their windows, from a page source that is meant to be
// crypto::SecretPages. (KeypairChunk is the layout.)
//   Threads:   one, the session thread, allocates and releases; the objects themselves are
//   published by
//              their owner and released only when their epoch is retired.
//   Ownership: the arena owns the memory, also of keypairs still in use when it dies; all of it is
//   wiped. Bounds:    `max_keypairs`, rounded up to whole chunks of 2 MiB; allocate() says no at
//   the bound and
//              when the source has no more. Memory of released keypairs is used again, not given
//              back.
#pragma once

#include <cstddef>
#include <vector>

#include "dataplane/base/pages.h"
#include "dataplane/wireguard/keypair.h"

namespace turnpike::wireguard {

class KeypairArena {
 public:
  KeypairArena(PageSource& pages, size_t max_keypairs);
  ~KeypairArena();
  KeypairArena(const KeypairArena&) = delete;
  KeypairArena& operator=(const KeypairArena&) = delete;

  // A keypair as by its default constructor, its bitmap zero; nullptr when there is no room.
  [[nodiscard]] Keypair* allocate() noexcept;
  // Wipes every byte of it and of its bitmap. The caller knows that nobody looks at it any more.
  void release(Keypair* keypair) noexcept;

  [[nodiscard]] size_t in_use() const noexcept { return in_use_; }
  [[nodiscard]] size_t capacity() const noexcept { return max_chunks_ * KeypairChunk::kKeypairs; }

 private:
  // Lies in the memory of a keypair that is not in use.
  struct Free {
    Free* next;
  };

  [[nodiscard]] bool owns(const Keypair* keypair) const noexcept;
  [[nodiscard]] bool grow() noexcept;

  PageSource& pages_;
  size_t max_chunks_;
  std::vector<std::byte*> chunks_;  // its room is reserved at the start
  Free* free_ = nullptr;
  size_t in_use_ = 0;
};

}  // namespace turnpike::wireguard

// Keypairs and windows for tests that have no gateway around them.
#pragma once

#include <memory>

#include "dataplane/wireguard/keypair_arena.h"
#include "tests/support/sim_random.h"

namespace turnpike::test {

// One arena for all of a test program; one thread at a time makes keypairs and lets go of them.
[[nodiscard]] inline wireguard::KeypairArena& keypair_arena() {
  static SystemPages pages;
  static sim::Random random(1);
  static wireguard::KeypairArena arena(pages, 100'000, random);
  return arena;
}

struct ReleaseKeypair {
  void operator()(wireguard::Keypair* keypair) const noexcept {
    keypair_arena().release(keypair_arena().index_of(*keypair));
  }
};
using KeypairPtr = std::unique_ptr<wireguard::Keypair, ReleaseKeypair>;

[[nodiscard]] inline KeypairPtr make_keypair() {
  return KeypairPtr(&keypair_arena().make(keypair_arena().reserve().value()));
}

// A replay window with its bitmap.
class WholeReplayWindow {
 public:
  [[nodiscard]] bool accept(uint64_t counter) noexcept { return head_.accept(counter, bitmap_); }
  [[nodiscard]] bool needs_bitmap(uint64_t counter) const noexcept {
    return head_.bitmap_line(counter, bitmap_) != nullptr;
  }

 private:
  wireguard::ReplayWindow head_;
  wireguard::ReplayBitmap bitmap_;
};

}  // namespace turnpike::test

// The two transport keys of one session with everything that is born and retired with them: indexes,
// creation time, send counter, replay window. Never reused in place (design: keypairs and nonces).
//   Threads:   the session thread makes it, publishes it by one release store in the peer's slot
//              (sending) and one of its own index (receiving), and retires it by epoch.
//              Workers load it once for a group of packets.
//   Ownership: KeypairArena, the only one that makes keypairs: what sending needs and the bitmap of the window lie in
//              its memory, found by the keypair's address. All of it is zero again when the keypair goes back, but for what says
//              that nobody finds it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

#include "dataplane/base/check.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/limits.h"
#include "dataplane/base/pages.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/constants.h"
#include "dataplane/wireguard/replay_window.h"

namespace turnpike::wireguard {

enum class Role : uint8_t { Initiator, Responder };

struct Keypair;

// All that sending needs: one line. The counter is the workers'; the rest is set before publication.
struct alignas(kCacheLine) KeypairSending {
  std::atomic<uint64_t> counter{0};  // workers: add · the next nonce
  std::array<uint8_t, kKeyBytes> key{};
  Instant created_at;  // of the keypair
  uint32_t remote_index = 0;  // the peer's receiver index, put into what we send
  Role role = Role::Initiator;
  std::atomic<bool> rekey_requested{false};  // workers: set · the session thread is told once
  uint16_t life = 0;  // KeypairArena's alone
  // The keypair that was current when this one became `next`: what the worker that confirms this one
  // expects to find in the peer's slot. session thread: writes · workers: read
  std::atomic<Keypair*> replaces{nullptr};
};
static_assert(sizeof(KeypairSending) == kCacheLine);

// All that receiving needs: one line, from which the others are found.
struct alignas(kCacheLine) Keypair {
  std::array<uint8_t, kKeyBytes> receiving_key{};
  // Our receiver index, compared in full; an index of another slot while no worker is to find this one, and then
  // nothing else here may be looked at. session thread: writes · workers: read
  std::atomic<uint32_t> local_index{0};
  PeerRef peer;
  TunnelIndex tunnel = kNoTunnel;
  // A responder may send only after the initiator used the key (paper, 5.4.6). workers: set, at the
  // first authenticated packet.
  std::atomic<bool> confirmed{false};
  uint32_t receiving_since = 0;  // created_at in ticks, cut off

  ReplayWindow window;  // the end of the line; guarded by the lock of the peer's slot

  Keypair(const Keypair&) = delete;
  Keypair& operator=(const Keypair&) = delete;

  // What a worker asks first. True: the keypair is whole, and stays until the worker's next report (acquire, pairs
  // with KeypairArena::publish()).
  [[nodiscard]] bool answers_to(uint32_t index) const noexcept {
    return local_index.load(std::memory_order_acquire) == index;
  }

  // The window's: one packet in 32 touches a line of it.
  [[nodiscard]] ReplayBitmap& bitmap() const noexcept;

  // Who holds the lock of the peer's slot.
  [[nodiscard]] bool accept(uint64_t counter) noexcept { return window.accept(counter, bitmap()); }

  // Who sends, and what is asked but rarely.
  [[nodiscard]] KeypairSending& sending() noexcept;
  [[nodiscard]] const KeypairSending& sending() const noexcept;

  // Before publication.
  void set_created_at(Instant at) noexcept {
    sending().created_at = at;
    receiving_since = ticks(at);
  }

  [[nodiscard]] bool expired(Instant now) const noexcept { return reached(kRejectAfterTime, now); }
  [[nodiscard]] bool reached(Duration age, Instant now) const noexcept {
    return now - sending().created_at >= age;
  }
  // The same, for who receives: looks at its own line, and at the other only when it is a matter of ticks.
  [[nodiscard]] bool receiving_reached(Duration age, Instant now) const noexcept {
    const uint32_t at_least = ticks(now) - receiving_since;
    if (at_least < static_cast<uint64_t>(age.count()) >> kTickBits) [[likely]]
      return false;
    return reached(age, now);
  }

 private:
  friend class KeypairArena;
  Keypair() = default;
  ~Keypair() = default;

  // Of 2^27 ns: differences of 32 bits are good for 18 years, and keypairs go after minutes.
  static constexpr unsigned kTickBits = 27;
  [[nodiscard]] static uint32_t ticks(Instant at) noexcept {
    return static_cast<uint32_t>(at.nanoseconds >> kTickBits);
  }
};
static_assert(offsetof(Keypair, window) == kCacheLine - sizeof(ReplayWindow));
static_assert(sizeof(Keypair) == kCacheLine);

// A chunk of KeypairArena: what receiving needs side by side, then what sending needs in the same order, so that few
// pages have what one direction needs of many keypairs, and behind them where their bitmaps are. Chunks are aligned to a
// huge page, so that nothing has to be looked up.
struct KeypairChunk {
  static constexpr size_t kKeypairs = kHugePageBytes / sizeof(Keypair);
  static constexpr size_t kBitmapsOfPage = kHugePageBytes / sizeof(ReplayBitmap);
  static_assert(sizeof(KeypairSending) == sizeof(Keypair));

  // Session thread: writes, before a keypair that needs it is published · workers: read
  struct Tail {
    std::array<ReplayBitmap*, kKeypairs / kBitmapsOfPage> bitmaps{};  // nullptr: no memory yet
    uint32_t number = 0;  // of the chunk
  };
  static constexpr size_t kTailAt = 2 * kHugePageBytes;
  static constexpr size_t kBytes = kTailAt + 4'096;
  static_assert(sizeof(Tail) <= kBytes - kTailAt);

  // Of the keypair at `keypair`, whether there is one or not.
  [[nodiscard]] static std::byte* sending_at(const void* keypair) noexcept {
    return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(keypair) + kHugePageBytes);
  }

  [[nodiscard]] static Tail& tail_of(const void* keypair) noexcept {
    const auto address = reinterpret_cast<uintptr_t>(keypair);
    return *std::launder(reinterpret_cast<Tail*>(address - address % kHugePageBytes + kTailAt));
  }
  [[nodiscard]] static size_t position_of(const void* keypair) noexcept {
    return reinterpret_cast<uintptr_t>(keypair) % kHugePageBytes / sizeof(Keypair);
  }
};

inline KeypairSending& Keypair::sending() noexcept {
  return *std::launder(reinterpret_cast<KeypairSending*>(KeypairChunk::sending_at(this)));
}
inline const KeypairSending& Keypair::sending() const noexcept {
  return *std::launder(reinterpret_cast<const KeypairSending*>(KeypairChunk::sending_at(this)));
}

inline ReplayBitmap& Keypair::bitmap() const noexcept {
  const size_t position = KeypairChunk::position_of(this);
  return KeypairChunk::tail_of(this)
      .bitmaps[position / KeypairChunk::kBitmapsOfPage][position % KeypairChunk::kBitmapsOfPage];
}

// `count` nonces from `first`; fewer than were asked for, also none, near the key's end of life.
struct NonceRange {
  uint64_t first = 0;
  uint32_t count = 0;
};

// Loads before it adds: at or above kRejectAfterMessages nothing is added, so that with workers x burst
// below 2^13 (checked at start) the counter cannot wrap.
[[nodiscard]] inline NonceRange reserve_nonces(Keypair& keypair, uint32_t wanted) noexcept {
  // Relaxed: the counter orders nothing but itself; the atomic add alone makes nonces unique.
  if (keypair.sending().counter.load(std::memory_order_relaxed) >= kRejectAfterMessages) return {};
  const uint64_t first = keypair.sending().counter.fetch_add(wanted, std::memory_order_relaxed);
  if (first >= kRejectAfterMessages) return {};
  const uint64_t left = kRejectAfterMessages - first;
  return {.first = first, .count = left < wanted ? static_cast<uint32_t>(left) : wanted};
}

}  // namespace turnpike::wireguard

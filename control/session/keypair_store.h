// The keypairs of all peers: made, installed for workers to find, replaced as the protocol wants, and
// retired by epoch. (paper, section 5.4.6 and 6.3; the kernel's add_new_keypair())
//   previous: receives only. current: sends and receives. next: ours as responder, receives only until the
//   first packet under it; then a worker makes it current by compare-and-swap. lingering: pushed out of these
//   three (the kernel forgets it then), receives for kLinger more. Where two handshakes cross, two keys are
//   replaced within one round trip, and packets under the older ones are still under way: if they crossed before,
//   each side sends under a key of its own.
//   Threads:   the session thread.
//   Ownership: this object owns every keypair of the arena. What is dropped no longer answers to its index at once,
//              is freed (wiped) and its index given back when no worker can hold it.
//   Bounds:    as the arena; reserve_index() says no.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "dataplane/crypto/aead.h"
#include "dataplane/publish/epoch.h"
#include "dataplane/publish/peer_slots.h"
#include "dataplane/publish/retirement.h"
#include "dataplane/wireguard/handshake.h"
#include "dataplane/wireguard/keypair.h"
#include "dataplane/wireguard/keypair_arena.h"

namespace turnpike::session {

struct PeerKeypairs {
  wireguard::Keypair* previous = nullptr;
  wireguard::Keypair* current = nullptr;
  wireguard::Keypair* next = nullptr;
  struct Lingering {
    wireguard::Keypair* keypair = nullptr;
    Instant since;
  };
  std::array<Lingering, 2> lingering;  // the later one first
  [[nodiscard]] bool none() const noexcept {
    return previous == nullptr && current == nullptr && next == nullptr;
  }
};

class KeypairStore {
 public:
  // Longer than packets are under way, shorter than two of our handshakes are apart.
  static constexpr Duration kLinger = wireguard::kRekeyTimeout;

  KeypairStore(wireguard::KeypairArena& arena, publish::PeerSlots& slots, publish::Epoch& epoch,
               crypto::AeadKeys* aead_keys = nullptr);
  ~KeypairStore();

  // Receiver indexes: of a handshake in flight, later of its keypair.
  [[nodiscard]] std::optional<uint32_t> reserve_index(PeerIndex peer);
  void release_index(uint32_t index);  // of a handshake that came to nothing
  [[nodiscard]] PeerIndex peer_of(uint32_t index) const noexcept;

  // Of a reserved index. nullptr: the AEAD takes no more keys; the index stays reserved.
  [[nodiscard]] wireguard::Keypair* make(const wireguard::DerivedKeys& keys, PeerRef peer,
                                         TunnelIndex tunnel, Instant now);

  // Each first looks what workers did in the meantime, as sync() does.
  void install_initiator(PeerKeypairs& keypairs, wireguard::Keypair* fresh);
  void install_responder(PeerKeypairs& keypairs, wireguard::Keypair* fresh);
  // Nothing is sent any more under what there is; packets under way are still received.
  void stop_sending(PeerKeypairs& keypairs);
  void clear(PeerKeypairs& keypairs, PeerIndex peer);

  // True when a worker has made `next` the current one since the last call. Its event may be late or lost
  // (a full ring), so whoever relies on the three asks here first.
  [[nodiscard]] bool sync(PeerKeypairs& keypairs, PeerIndex peer, Instant now);
  // Lets go of what has lingered long enough. Returns when to ask again; never: nothing lingers.
  Instant expire_lingering(PeerKeypairs& keypairs, Instant now);

  // `current_of` gives what the peer's slot ought to hold. Returns how many still wait for their epoch.
  size_t collect(size_t budget, const std::function<wireguard::Keypair*(PeerIndex)>& current_of);
  [[nodiscard]] size_t in_use() const noexcept { return arena_.in_use(); }
  [[nodiscard]] size_t retired() const noexcept { return retired_.size(); }

 private:
  void replace_current(PeerKeypairs& keypairs, PeerIndex peer, wireguard::Keypair* wanted);
  void linger(PeerKeypairs& keypairs, wireguard::Keypair* keypair, Instant now);
  void retire_lingering(PeerKeypairs& keypairs);
  void retire(wireguard::Keypair* keypair);
  [[nodiscard]] bool admit(const wireguard::Keypair& keypair);
  void forget(const wireguard::Keypair& keypair);
  static void settle(wireguard::Keypair& keypair) noexcept;

  wireguard::KeypairArena& arena_;
  publish::PeerSlots& slots_;
  crypto::AeadKeys* aead_keys_;  // nullptr: the AEAD keeps nothing of its own for a key
  publish::Retirement<wireguard::Keypair*> retired_;
  std::unordered_map<uint32_t, PeerIndex> owner_of_;  // of every reserved index
};

}  // namespace turnpike::session

#include "control/session/keypair_store.h"

#include <utility>

#include "dataplane/base/check.h"

namespace turnpike::session {

using wireguard::Keypair;

KeypairStore::KeypairStore(wireguard::KeypairArena& arena, publish::PeerSlots& slots,
                           publish::Epoch& epoch, crypto::AeadKeys* aead_keys)
    : arena_(arena), slots_(slots), aead_keys_(aead_keys), retired_(epoch) {}

KeypairStore::~KeypairStore() = default;

std::optional<uint32_t> KeypairStore::reserve_index(PeerIndex peer) {
  const auto index = arena_.reserve();
  if (index) owner_of_.emplace(*index, peer);
  return index;
}

void KeypairStore::release_index(uint32_t index) {
  arena_.release(index);
  owner_of_.erase(index);
}

PeerIndex KeypairStore::peer_of(uint32_t index) const noexcept {
  const auto found = owner_of_.find(index);
  return found == owner_of_.end() ? kNoPeer : found->second;
}

Keypair* KeypairStore::make(const wireguard::DerivedKeys& keys, PeerRef peer, TunnelIndex tunnel,
                            Instant now) {
  Keypair& keypair = arena_.make(keys.local_index);
  wireguard::assign_keys(keypair, keys, peer, tunnel, now);
  if (admit(keypair)) return &keypair;
  arena_.unmake(keys.local_index);
  return nullptr;
}

bool KeypairStore::admit(const Keypair& keypair) {
  if (aead_keys_ == nullptr) return true;
  if (!aead_keys_->admit(keypair.sending().key.data(), crypto::AeadDirection::Seal)) return false;
  if (aead_keys_->admit(keypair.receiving_key.data(), crypto::AeadDirection::Open)) return true;
  aead_keys_->forget(keypair.sending().key.data(), crypto::AeadDirection::Seal);
  return false;
}

void KeypairStore::forget(const Keypair& keypair) {
  if (aead_keys_ == nullptr) return;
  aead_keys_->forget(keypair.sending().key.data(), crypto::AeadDirection::Seal);
  aead_keys_->forget(keypair.receiving_key.data(), crypto::AeadDirection::Open);
}

void KeypairStore::retire(Keypair* keypair) {
  if (keypair == nullptr) return;
  arena_.withdraw(*keypair);
  // A worker that has it in hand and had read what it replaces may still make it current: collect() looks.
  settle(*keypair);
  retired_.add(keypair);
}

// Not more than two, so that a peer that renews as often as it may holds no more.
void KeypairStore::linger(PeerKeypairs& keypairs, Keypair* keypair, Instant now) {
  if (keypair == nullptr) return;
  auto& [later, earlier] = keypairs.lingering;
  retire(earlier.keypair);
  settle(*keypair);
  earlier = std::exchange(later, {.keypair = keypair, .since = now});
}

Instant KeypairStore::expire_lingering(PeerKeypairs& keypairs, Instant now) {
  Instant next = Instant::never();
  for (PeerKeypairs::Lingering& lingering : keypairs.lingering) {
    if (lingering.keypair == nullptr) continue;
    const Instant until = lingering.since + kLinger;
    if (now < until) {
      next = until;  // the earlier one comes last and ends first
    } else {
      retire(std::exchange(lingering, {}).keypair);
    }
  }
  return next;
}

void KeypairStore::retire_lingering(PeerKeypairs& keypairs) {
  for (PeerKeypairs::Lingering& lingering : keypairs.lingering) {
    retire(std::exchange(lingering, {}).keypair);
  }
}

// No worker is to make it current any more, also not in the place of a later keypair in the same memory.
void KeypairStore::settle(Keypair& keypair) noexcept {
  keypair.sending().replaces.store(&keypair, std::memory_order_relaxed);
  keypair.confirmed.store(true, std::memory_order_relaxed);
}

// A plain store: a promotion of `next` at the same moment, which it may overwrite, comes to the same as one
// just before, for every caller moves `next` out of its place.
void KeypairStore::replace_current(PeerKeypairs& keypairs, PeerIndex peer, Keypair* wanted) {
  // Release pairs with the acquire load of workers: they see the keypair whole.
  slots_[peer].send.current.store(wanted, std::memory_order_release);
  keypairs.current = wanted;
}

bool KeypairStore::sync(PeerKeypairs& keypairs, PeerIndex peer, Instant now) {
  std::atomic<Keypair*>& slot = slots_[peer].send.current;
  Keypair* actual = slot.load(std::memory_order_acquire);  // pairs with the worker's promotion
  Keypair* const next = keypairs.next;
  // A worker says that it is confirmed before it tries to make it current, and tries once.
  if (next != nullptr && (actual == next || next->confirmed.load(std::memory_order_acquire))) {
    if (actual != next) slot.store(next, std::memory_order_release);
    linger(keypairs, keypairs.previous, now);
    keypairs.previous = keypairs.current;
    keypairs.current = next;
    keypairs.next = nullptr;
    settle(*next);
    return true;
  }
  if (actual != keypairs.current) {
    // A worker promoted what was dropped at the same moment. It is the only thing that workers could still
    // put there, so that nothing can come between.
    slot.compare_exchange_strong(actual, keypairs.current, std::memory_order_acq_rel);
  }
  return false;
}

void KeypairStore::install_initiator(PeerKeypairs& keypairs, Keypair* fresh) {
  const PeerIndex peer = fresh->peer.index;
  arena_.publish(*fresh);
  // The peer has shown that it holds the key. An unconfirmed `next`, which it may have begun to use,
  // becomes `previous`; else what was current does.
  Keypair* const old_previous = keypairs.previous;
  Keypair* const old_current = keypairs.current;
  Keypair* const old_next = keypairs.next;
  replace_current(keypairs, peer, fresh);
  keypairs.next = nullptr;
  if (old_next != nullptr) {
    settle(*old_next);  // it only receives from now on
    keypairs.previous = old_next;
    retire(old_previous);
    linger(keypairs, old_current, fresh->sending().created_at);
  } else {
    keypairs.previous = old_current;
    linger(keypairs, old_previous, fresh->sending().created_at);
  }
}

void KeypairStore::install_responder(PeerKeypairs& keypairs, Keypair* fresh) {
  fresh->sending().replaces.store(keypairs.current, std::memory_order_relaxed);
  Keypair* const old_next = keypairs.next;
  Keypair* const old_previous = keypairs.previous;
  keypairs.next = fresh;
  keypairs.previous = nullptr;
  arena_.publish(*fresh);
  retire(old_next);
  linger(keypairs, old_previous, fresh->sending().created_at);
}

void KeypairStore::stop_sending(PeerKeypairs& keypairs) {
  if (keypairs.none()) return;
  const PeerIndex peer = (keypairs.current != nullptr ? keypairs.current
                          : keypairs.next != nullptr  ? keypairs.next
                                                      : keypairs.previous)
                             ->peer.index;
  Keypair* const old_current = keypairs.current;
  Keypair* const old_next = keypairs.next;
  retire_lingering(keypairs);
  replace_current(keypairs, peer, nullptr);
  keypairs.next = nullptr;
  if (old_current != nullptr) {
    retire(keypairs.previous);
    keypairs.previous = old_current;
  }
  retire(old_next);
}

void KeypairStore::clear(PeerKeypairs& keypairs, PeerIndex peer) {
  retire_lingering(keypairs);
  const PeerKeypairs old = keypairs;
  replace_current(keypairs, peer, nullptr);
  keypairs = {};
  for (Keypair* keypair : {old.previous, old.current, old.next}) retire(keypair);
}

size_t KeypairStore::collect(size_t budget, const std::function<Keypair*(PeerIndex)>& current_of) {
  return retired_.collect(
      [&](Keypair* keypair) {
        const PeerIndex peer = keypair->peer.index;
        Keypair* found = keypair;
        if (slots_[peer].send.current.compare_exchange_strong(found, current_of(peer),
                                                              std::memory_order_acq_rel)) {
          // A worker had promoted it at the last moment; it has to wait once more.
          retired_.add(keypair);
          return;
        }
        forget(*keypair);
        release_index(arena_.index_of(*keypair));
      },
      budget);
}

}  // namespace turnpike::session

// Tunnels and peers as they will be after a transaction, over a state that stays as it is. Part of plan().
#pragma once

#include <string>
#include <vector>

#include "control/state/change.h"
#include "control/state/hash_index.h"
#include "control/state/refusal.h"
#include "control/state/state.h"
#include "control/state/transaction.h"

namespace turnpike::state {

inline constexpr uint32_t kNoEdit = 0xffff'ffff;

// A peer of the outcome: the slot of one that exists, or an entry that is to be added.
struct PeerHandle {
  uint32_t number = kNoSlot;
  bool added = false;
  [[nodiscard]] bool none() const noexcept { return number == kNoSlot; }
  friend bool operator==(const PeerHandle&, const PeerHandle&) = default;
};

// An existing peer that the transaction touches, or a new one.
struct PeerEntry {
  uint32_t slot = kNoSlot;  // kNoSlot: new
  TunnelIndex tunnel = kNoTunnel;
  PeerId id = kNoPeerId;
  PeerAttributes before;
  PeerAttributes after;
  uint32_t set_edit = kNoEdit;  // that adds or sets it
  uint32_t removed_edit = kNoEdit;  // that removes it
  uint32_t replace_edit = kNoEdit;  // that replaces its prefixes

  [[nodiscard]] bool added() const noexcept { return slot == kNoSlot; }
  [[nodiscard]] bool removed() const noexcept { return removed_edit != kNoEdit; }
};

class PeerOverlay {
 public:
  // Judges the edits of tunnels and peers; what is wrong goes to `conflicts`.
  PeerOverlay(const State& state, const Transaction& transaction, std::vector<Conflict>& conflicts);

  // The tunnel that will have this name, or nullptr.
  [[nodiscard]] const Tunnel* tunnel(std::string_view name) const;
  [[nodiscard]] const Tunnel& tunnel(TunnelIndex index) const { return tunnels_[index]; }

  // Whom a giving edit means: a peer of the state before. None: there is no such peer.
  [[nodiscard]] PeerHandle before(TunnelIndex tunnel, const PeerSelector& selector) const;
  // Whom a taking edit means: a peer of the outcome, by its new name or else its old one.
  [[nodiscard]] PeerHandle after(TunnelIndex tunnel, const PeerSelector& selector) const;
  [[nodiscard]] PeerHandle added_by(uint32_t edit) const;

  [[nodiscard]] bool enabled_before(PeerHandle peer) const;
  [[nodiscard]] bool enabled_after(PeerHandle peer) const;
  [[nodiscard]] std::string label(PeerHandle peer) const;
  [[nodiscard]] PeerId id(PeerHandle peer) const;

  [[nodiscard]] const std::vector<PeerEntry>& entries() const noexcept { return entries_; }
  // The entry of a peer, made if need be.
  PeerEntry& entry_of(PeerHandle peer) {
    return peer.added ? entries_[peer.number] : entry_of(peer.number);
  }

  // Writes tunnels and peers into the change.
  void finish(Change& change) const;

 private:
  void edit_tunnel(const Edit& edit, uint32_t number);
  void edit_peer(const Edit& edit, uint32_t number);
  void judge_outcome();
  void judge_names_and_keys(const PeerEntry& entry, uint32_t number);
  PeerEntry& entry_of(uint32_t slot);
  [[nodiscard]] const PeerEntry* find_entry(uint32_t slot) const;
  void refuse(uint32_t edit, ConflictKind kind, const std::string& tunnel, std::string owner,
              std::string peer);

  const State& state_;
  std::vector<Conflict>& conflicts_;
  std::vector<Tunnel> tunnels_;  // after
  std::vector<uint32_t> tunnel_edits_;  // by index; kNoEdit: untouched
  PeerId next_peer_id_;
  std::vector<PeerEntry> entries_;
  HashIndex by_slot_{0};  // existing peers that have an entry
  HashIndex by_key_{0};  // (tunnel, key) -> added entry
  HashIndex by_name_{0};  // (tunnel, name after) -> entry that is added or renamed
  HashIndex by_edit_{0};  // number of a PeerAdd -> entry
};

}  // namespace turnpike::state

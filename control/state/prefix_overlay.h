// Owners of prefixes as they will be after a transaction, over a state that stays as it is. Part of plan().
#pragma once

#include <vector>

#include "control/state/peer_overlay.h"

namespace turnpike::state {

class PrefixOverlay {
 public:
  PrefixOverlay(const State& state, PeerOverlay& peers, bool follow_policy,
                std::vector<Conflict>& conflicts)
      : state_(state), peers_(peers), follow_policy_(follow_policy), conflicts_(conflicts) {}

  // In this order: list every edit, give every edit, retire peers, take every edit, wake peers.
  void list(const Edit& edit, uint32_t number);
  void give(const Edit& edit, uint32_t number);
  void retire_peers();  // removed and disabled peers give all that they have
  void take(const Edit& edit, uint32_t number);
  void wake_peers();    // enabled peers claim their dormant prefixes
  void finish(Change& change);

 private:
  // A prefix of a tunnel that the transaction touches.
  struct Touch {
    TunnelIndex tunnel = kNoTunnel;
    Prefix prefix;
    Origin before_origin = Origin::Api;
    Origin after_origin = Origin::Api;
    bool given = false;
    bool kept = false;            // stands in the replace list of its owner
    bool listed_by_replace = false;
    uint32_t before = kNoSlot;    // owner's slot
    uint32_t listed_edit = kNoEdit;
    PeerHandle after;             // who takes it; none: nobody does
  };
  // A prefix that a peer remembers while it is disabled.
  struct Dormant {
    PeerHandle peer;
    Prefix prefix;
    bool before = false;
    bool after = false;
    Origin origin = Origin::Api;
  };

  Touch& touch(TunnelIndex tunnel, const Prefix& prefix);
  Dormant& dormant(PeerHandle peer, const Prefix& prefix);
  void give_one(const Tunnel& tunnel, const Prefix& prefix, PeerHandle giver, uint32_t edit);
  void give_rest(const Tunnel& tunnel, PeerHandle peer);
  void take_one(const Tunnel& tunnel, const Prefix& prefix, PeerHandle taker, Origin origin,
                uint32_t edit);
  void refuse(uint32_t edit, ConflictKind kind, const Tunnel& tunnel, const Prefix& prefix,
              PeerHandle owner, PeerHandle peer);
  [[nodiscard]] PeerHandle taker_of(const Edit& edit, uint32_t number, TunnelIndex tunnel) const;

  const State& state_;
  PeerOverlay& peers_;
  bool follow_policy_;
  std::vector<Conflict>& conflicts_;
  std::vector<Touch> touches_;
  HashIndex touch_index_{0};
  std::vector<Dormant> dormants_;
  HashIndex dormant_index_{0};
};

}  // namespace turnpike::state

#include "control/state/prefix_overlay.h"

#include "dataplane/base/check.h"

namespace turnpike::state {

PrefixOverlay::Touch& PrefixOverlay::touch(TunnelIndex tunnel, const Prefix& prefix) {
  const uint64_t hash = hash_of(uint32_t{tunnel}, prefix);
  const uint32_t at = touch_index_.find(hash, [&](uint32_t i) {
    return touches_[i].tunnel == tunnel && touches_[i].prefix == prefix;
  });
  if (at != kNoSlot) return touches_[at];
  Touch made{.tunnel = tunnel, .prefix = prefix};
  // A tunnel that this transaction adds may have an index that the state has not seen: no owners there.
  if (const Claim* claim = state_.owner(tunnel, prefix)) {
    made.before = claim->peer;
    made.before_origin = made.after_origin = claim->origin;
  }
  touch_index_.insert(hash, static_cast<uint32_t>(touches_.size()));
  touches_.push_back(made);
  return touches_.back();
}

PrefixOverlay::Dormant& PrefixOverlay::dormant(PeerHandle peer, const Prefix& prefix) {
  const uint64_t hash = hash_of(peer.number + (peer.added ? 0x8000'0000u : 0), prefix);
  const uint32_t at = dormant_index_.find(
      hash, [&](uint32_t i) { return dormants_[i].peer == peer && dormants_[i].prefix == prefix; });
  if (at != kNoSlot) return dormants_[at];
  Dormant made{.peer = peer, .prefix = prefix};
  if (!peer.added) {
    if (const Claim* claim = state_.dormant(peer.number, prefix)) {
      made.before = made.after = true;
      made.origin = claim->origin;
    }
  }
  dormant_index_.insert(hash, static_cast<uint32_t>(dormants_.size()));
  dormants_.push_back(made);
  return dormants_.back();
}

void PrefixOverlay::refuse(uint32_t edit, ConflictKind kind, const Tunnel& tunnel,
                           const Prefix& prefix, PeerHandle owner, PeerHandle peer) {
  conflicts_.push_back({.edit = edit,
                        .kind = kind,
                        .tunnel = tunnel.name,
                        .prefix = prefix,
                        .owner = owner.none() ? "" : peers_.label(owner),
                        .peer = peer.none() ? "" : peers_.label(peer),
                        .peer_is_new = peer.added});
}

PeerHandle PrefixOverlay::taker_of(const Edit& edit, uint32_t number, TunnelIndex tunnel) const {
  if (edit.op == Op::PeerAdd) return peers_.added_by(number);
  return peers_.after(tunnel, edit.op == Op::Move ? edit.to : edit.peer);
}

void PrefixOverlay::list(const Edit& edit, uint32_t number) {
  const bool names_peer = edit.op <= Op::Move;
  if (!names_peer && edit.op != Op::PeerAdd) return;
  const Tunnel* tunnel = peers_.tunnel(edit.tunnel);
  if (tunnel == nullptr) {
    if (!names_peer) return;  // said when the peer was judged
    conflicts_.push_back(
        {.edit = number, .kind = ConflictKind::UnknownTunnel, .tunnel = edit.tunnel});
    return;
  }
  const auto unknown = [&](const PeerSelector& selector) {
    conflicts_.push_back({.edit = number,
                          .kind = ConflictKind::UnknownPeer,
                          .tunnel = tunnel->name,
                          .peer = state::label(selector)});
  };
  const bool gives = edit.op == Op::Release || edit.op == Op::Move;
  const bool takes = edit.op != Op::Release;
  // A giver that is only added by this transaction exists, but owns nothing: judged in give_one().
  if (gives && peers_.before(tunnel->index, edit.peer).none() &&
      peers_.after(tunnel->index, edit.peer).none()) {
    unknown(edit.peer);
  }
  const PeerHandle taker = takes ? taker_of(edit, number, tunnel->index) : PeerHandle{};
  if (takes && taker.none() && names_peer) unknown(edit.op == Op::Move ? edit.to : edit.peer);
  if (edit.op == Op::Replace && !taker.none()) {
    PeerEntry& entry = peers_.entry_of(taker);
    if (entry.replace_edit != kNoEdit) {
      conflicts_.push_back({.edit = number,
                            .kind = ConflictKind::PeerInTwoEdits,
                            .tunnel = tunnel->name,
                            .peer = peers_.label(taker)});
    }
    entry.replace_edit = number;
  }
  // What a disabled peer notes or forgets changes no owner, so it gets in nobody's way.
  const PeerHandle giver = gives ? peers_.before(tunnel->index, edit.peer) : PeerHandle{};
  const bool changes_owners = (gives && (giver.none() || peers_.enabled_before(giver))) ||
                              (takes && (taker.none() || peers_.enabled_after(taker)));
  const bool replace = edit.op == Op::Replace;
  for (const Prefix& prefix : edit.prefixes) {
    DCHECK(Prefix::masked(prefix.address, prefix.length) == prefix);
    Touch& t = touch(tunnel->index, prefix);
    if (replace && !taker.none() && !taker.added && t.before == taker.number) t.kept = true;
    if (!changes_owners || follow_policy_) continue;
    if (t.listed_edit != kNoEdit && t.listed_edit != number && !(replace && t.listed_by_replace)) {
      refuse(number, ConflictKind::PrefixInTwoEdits, *tunnel, prefix,
             t.before == kNoSlot ? PeerHandle{} : PeerHandle{.number = t.before}, taker);
      continue;
    }
    if (t.listed_edit == kNoEdit) t.listed_edit = number;
    t.listed_by_replace = replace;
  }
}

void PrefixOverlay::give_one(const Tunnel& tunnel, const Prefix& prefix, PeerHandle giver,
                             uint32_t edit) {
  Touch& t = touch(tunnel.index, prefix);
  if (!giver.added && t.before == giver.number) {
    t.given = true;
    return;
  }
  refuse(edit, ConflictKind::NotOwned, tunnel, prefix,
         t.before == kNoSlot ? PeerHandle{} : PeerHandle{.number = t.before}, giver);
}

void PrefixOverlay::give(const Edit& edit, uint32_t number) {
  const Tunnel* tunnel = peers_.tunnel(edit.tunnel);
  if (tunnel == nullptr) return;
  if (edit.op == Op::Replace) {
    const PeerHandle peer = peers_.after(tunnel->index, edit.peer);
    if (peer.none() || peer.added) return;
    if (peers_.enabled_before(peer)) {
      state_.for_each_claim(peer.number, [&](const Claim& claim) {
        Touch& t = touch(tunnel->index, claim.prefix);
        if (!t.kept) t.given = true;
      });
    } else {
      state_.for_each_claim(peer.number, [&](const Claim& claim) {
        dormant(peer, claim.prefix).after = false;  // those in the list come back in take()
      });
    }
    return;
  }
  if (edit.op != Op::Release && edit.op != Op::Move) return;
  PeerHandle giver = peers_.before(tunnel->index, edit.peer);
  if (giver.none()) giver = peers_.after(tunnel->index, edit.peer);
  if (giver.none()) return;
  for (const Prefix& prefix : edit.prefixes) {
    // A disabled peer owns nothing, so it cannot move; but what it remembers can be released.
    if (edit.op == Op::Release && !giver.added && !peers_.enabled_before(giver)) {
      Dormant& d = dormant(giver, prefix);
      if (d.before) {
        d.after = false;
        continue;
      }
    }
    give_one(*tunnel, prefix, giver, number);
  }
}

void PrefixOverlay::retire_peers() {
  // By number: entry_of() is not called from here, but dormant() and touch() may grow their own tables.
  for (size_t i = 0; i < peers_.entries().size(); ++i) {
    const PeerEntry& entry = peers_.entries()[i];
    if (entry.added() || !entry.before.enabled) continue;
    if (!entry.removed() && entry.after.enabled) continue;
    const PeerHandle peer{.number = entry.slot};
    const bool removed = entry.removed();
    state_.for_each_claim(entry.slot, [&](const Claim& claim) {
      Touch& t = touch(entry.tunnel, claim.prefix);
      if (t.given) return;  // released, moved or dropped by an edit: not remembered
      t.given = true;
      if (!removed) {
        Dormant& d = dormant(peer, claim.prefix);
        d.after = true;
        d.origin = claim.origin;
      }
    });
  }
}

void PrefixOverlay::take_one(const Tunnel& tunnel, const Prefix& prefix, PeerHandle taker,
                             Origin origin, uint32_t edit) {
  Touch& t = touch(tunnel.index, prefix);
  const bool moves = follow_policy_ && tunnel.conflicts == ConflictPolicy::Move;
  const bool owns = !t.given && !taker.added && t.before == taker.number;
  if (!t.after.none() && t.after != taker && !moves) {
    return refuse(edit, ConflictKind::TakenTwice, tunnel, prefix, t.after, taker);
  }
  if (owns) {
    if (origin == Origin::File) t.after_origin = origin;
    if (moves) t.after = taker;  // the last edit wins, also against a taker before it
    return;
  }
  if (t.before != kNoSlot && !t.given && !moves) {
    return refuse(edit, ConflictKind::OwnedByAnother, tunnel, prefix, {.number = t.before}, taker);
  }
  t.after = taker;
  t.after_origin = origin;
}

void PrefixOverlay::take(const Edit& edit, uint32_t number) {
  if (edit.op == Op::Release || edit.op > Op::PeerAdd) return;
  const Tunnel* tunnel = peers_.tunnel(edit.tunnel);
  if (tunnel == nullptr) return;
  const PeerHandle taker = taker_of(edit, number, tunnel->index);
  if (taker.none()) return;
  const bool enabled = peers_.enabled_after(taker);
  for (const Prefix& prefix : edit.prefixes) {
    if (enabled) {
      take_one(*tunnel, prefix, taker, edit.origin, number);
      continue;
    }
    Dormant& d = dormant(taker, prefix);
    if (!(d.before || d.after) || edit.origin == Origin::File) d.origin = edit.origin;
    d.after = true;
  }
}

void PrefixOverlay::wake_peers() {
  for (size_t i = 0; i < peers_.entries().size(); ++i) {
    const PeerEntry& entry = peers_.entries()[i];
    if (entry.added() || entry.removed() || entry.before.enabled || !entry.after.enabled) continue;
    const PeerHandle peer{.number = entry.slot};
    state_.for_each_claim(entry.slot, [&](const Claim& claim) {
      Dormant& d = dormant(peer, claim.prefix);
      const bool wanted = d.after;
      d.after = false;
      if (wanted) {
        take_one(peers_.tunnel(entry.tunnel), claim.prefix, peer, claim.origin, entry.set_edit);
      }
    });
  }
}

void PrefixOverlay::finish(Change& change) {
  for (const Touch& t : touches_) {
    const PeerHandle before{.number = t.before};
    const PeerHandle after = !t.after.none() ? t.after : t.given ? PeerHandle{} : before;
    if (after == before) {
      // A claim that is made again keeps its origin, but for one that the file lists from now on.
      if (!after.none() && t.after_origin == Origin::File && t.before_origin == Origin::Api) {
        change.origins.push_back({.peer = peers_.id(after),
                                  .prefix = t.prefix,
                                  .before = t.before_origin,
                                  .after = t.after_origin});
      }
      continue;
    }
    change.prefixes.push_back({.tunnel = t.tunnel,
                               .prefix = t.prefix,
                               .old_owner = peers_.id(before),
                               .new_owner = peers_.id(after),
                               .old_origin = t.before_origin,
                               .new_origin = t.after_origin});
  }
  for (const Dormant& d : dormants_) {
    if (d.before == d.after) {
      if (d.after) {
        const Origin origin = state_.dormant(d.peer.number, d.prefix)->origin;
        if (origin != d.origin) {
          change.origins.push_back(
              {.peer = peers_.id(d.peer), .prefix = d.prefix, .before = origin, .after = d.origin});
        }
      }
      continue;
    }
    change.dormant.push_back(
        {.peer = peers_.id(d.peer), .prefix = d.prefix, .origin = d.origin, .noted = d.after});
  }
}

}  // namespace turnpike::state

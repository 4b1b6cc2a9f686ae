#include "control/state/plan.h"

#include <algorithm>

#include "control/state/prefix_overlay.h"

namespace turnpike::state {
namespace {

// Claims after the change, dormant ones too; the slots that hold them have a bound.
uint64_t claims_after(const State& state, const Change& change) {
  int64_t claims = state.claim_count();
  for (const PrefixChange& p : change.prefixes) {
    claims += (p.new_owner != kNoPeerId ? 1 : 0) - (p.old_owner != kNoPeerId ? 1 : 0);
  }
  for (const DormantChange& d : change.dormant) claims += d.noted ? 1 : -1;
  return static_cast<uint64_t>(claims);
}

}  // namespace

Result<Change, Refusal> plan(const State& state, const Transaction& transaction) {
  Refusal refusal{.conflicts = {}, .generation = state.generation()};
  if (transaction.if_generation && *transaction.if_generation != state.generation()) {
    refusal.conflicts.push_back({.kind = ConflictKind::StaleGeneration});
    return fail(std::move(refusal));
  }
  PeerOverlay peers(state, transaction, refusal.conflicts);
  PrefixOverlay prefixes(state, peers, transaction.follow_policy, refusal.conflicts);
  const auto& edits = transaction.edits;
  for (uint32_t i = 0; i < edits.size(); ++i) prefixes.list(edits[i], i);
  for (uint32_t i = 0; i < edits.size(); ++i) prefixes.give(edits[i], i);
  prefixes.retire_peers();
  for (uint32_t i = 0; i < edits.size(); ++i) prefixes.take(edits[i], i);
  prefixes.wake_peers();

  Change change{.base = state.generation()};
  if (refusal.conflicts.empty()) {
    peers.finish(change);
    prefixes.finish(change);
    if (claims_after(state, change) > kMaxPrefixes) {
      refusal.conflicts.push_back({.edit = static_cast<uint32_t>(edits.size() - 1),
                                   .kind = ConflictKind::Limit,
                                   .owner = "prefixes"});
    }
  }
  if (!refusal.conflicts.empty()) {
    std::ranges::stable_sort(refusal.conflicts, {}, &Conflict::edit);
    return fail(std::move(refusal));
  }
  return change;
}

}  // namespace turnpike::state

// The way back from a change, for history, rollback and commits that are not confirmed.
#pragma once

#include "control/state/change.h"
#include "control/state/state.h"
#include "control/state/transaction.h"

namespace turnpike::state {

// The transaction that leads from the state after `change` back to `before`, the state that it was planned
// on: the same tunnels, peers, attributes, owners and dormant claims. Peers are named by public key; one that
// comes back gets a new id. An origin that went from Api to File stays File: the file does list it.
// Attributes that the change did not touch are left as they are; way_back.h has when it can be taken later on.
[[nodiscard]] Transaction undo(const State& before, const Change& change);

// The change that takes `change` back as if it had never been: made true right after it, all ids and origins are
// as before; only generation and next id have gone on. For what was made true, but not yet durable or published.
[[nodiscard]] Change inverse(const State& before, const Change& change);

}  // namespace turnpike::state

// Judges a transaction against a state (design, 1): all of it or nothing.
#pragma once

#include "control/state/change.h"
#include "control/state/refusal.h"
#include "control/state/state.h"
#include "control/state/transaction.h"
#include "dataplane/base/result.h"

namespace turnpike::state {

// `state` stays as it is; State::apply() makes the change true. Givers (releases, the `from` of moves,
// removed and disabled peers, what a replace drops) are judged against the state, then takers (claims, the
// `to` of moves, what a replace adds, enabled peers) against what is then free. Where the
// transaction follows a policy and that is ConflictPolicy::Move, a taker takes from whoever owns, and of two
// takers the later edit wins.
// Costs what the transaction touches. Prefixes must be masked (a bug otherwise).
[[nodiscard]] Result<Change, Refusal> plan(const State& state, const Transaction& transaction);

}  // namespace turnpike::state

// The way back over several commits at once, as one transaction.
#pragma once

#include <span>

#include "control/state/refusal.h"
#include "control/state/state.h"
#include "control/state/transaction.h"
#include "dataplane/base/result.h"

namespace turnpike::state {

// `ways_back`: what undo() gave for the newest commit, the one before it, and so on down to the first one that is
// to be undone. The transaction leads from `now` to the state before that one in a single step, without what
// was done and undone in between. A refusal: they do not belong to this state.
//   Cost: the peers that they touch, with all claims of these; not what exists.
[[nodiscard]] Result<Transaction, Refusal> rollback(const State& now,
                                                    std::span<const Transaction> ways_back);

}  // namespace turnpike::state

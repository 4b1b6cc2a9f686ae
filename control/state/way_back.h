// Whether the way back from a commit can be taken alone, without those after it. plan() tells of prefixes and peers
// that are in its way, but not of attributes: whoever sets one overwrites what is there.
#pragma once

#include "control/state/state.h"
#include "control/state/transaction.h"

namespace turnpike::state {

// The attributes that `way_back` sets are as the change left them. True also of peers and tunnels that are gone: plan()
// refuses these.
[[nodiscard]] bool is_as_left(const State& state, const Transaction& way_back);

// Two ways back that set the same attribute, have a prefix in common, or of which one adds or removes what the
// other names. Peers are named by public key, as undo() does.
[[nodiscard]] bool touch_the_same(const Transaction& a, const Transaction& b);

}  // namespace turnpike::state

// Commits that were not confirmed while no daemon ran.
//   Threads: control, at start, before any worker runs.
#pragma once

#include <string>
#include <vector>

#include "control/daemon/boot.h"
#include "control/state/state.h"
#include "control/store/store.h"

namespace turnpike::daemon {

// Undoes those of `waiting` whose time is over, as History does. The others are left in it, and `within` says how
// much time they have. What happened, and what stays as it is, is told in lines for the log,
// errors apart.
struct Expired {
  std::vector<std::string> undone, errors;
};
[[nodiscard]] Expired undo_expired(Boot& boot, store::Store& store, const state::State& state,
                                   std::vector<store::Unconfirmed>& waiting,
                                   const store::HistoryEntry& entry);

}  // namespace turnpike::daemon

#include "control/daemon/expired.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "control/daemon/what_stays.h"
#include "control/state/rollback.h"
#include "control/state/way_back.h"

namespace turnpike::daemon {
namespace {

std::string why(const Boot::Refused& refused) {
  const auto* refusal = std::get_if<state::Refusal>(&refused);
  return refusal != nullptr ? state::describe(refusal->conflicts.front())
                            : std::get<std::string>(refused);
}

}  // namespace

Expired undo_expired(Boot& boot, store::Store& store, const state::State& state,
                     std::vector<store::Unconfirmed>& waiting, const store::HistoryEntry& entry) {
  Expired told;
  std::vector<store::Unconfirmed> left;  // newer than the one at hand
  std::ranges::sort(waiting, std::greater(), &store::Unconfirmed::generation);
  for (store::Unconfirmed& commit : waiting) {
    if (commit.until.nanoseconds > entry.at.nanoseconds) {
      commit.within =
          std::min(commit.within, Duration(commit.until.nanoseconds - entry.at.nanoseconds));
      left.push_back(commit);
      continue;
    }
    const Generation generation = commit.generation;
    const std::string about = "generation " + std::to_string(generation) + " was not confirmed";
    const auto commit_back = [&](state::Transaction back, std::vector<Generation> settles) {
      return boot.commit({.transaction = std::move(back),
                          .entry = entry,
                          .file = {},
                          .topology = {},
                          .settles = std::move(settles)});
    };
    auto way = store.way_back_from(generation);
    if (!way) {
      told.errors.push_back(about + ", but is not undone: " + way.error());
      continue;
    }
    way->comment = about;
    Generation last = generation;
    // As History: a later one that still awaits its confirmation would bring back what this undoes.
    const bool touched = std::ranges::any_of(left, [&](const store::Unconfirmed& later) {
      const auto other = store.way_back_from(later.generation);
      return other && state::touch_the_same(*way, *other);
    });
    if (touched || !state::is_as_left(state, *way)) {
      way->if_generation = state.generation() + 1;  // is refused
    }
    const Generation newest = state.generation();
    auto undone = commit_back(std::move(*way), {generation});
    if (!undone && std::holds_alternative<state::Refusal>(undone.error())) {
      // Later commits changed the same: back to the state before it, without them.
      std::vector<Generation> settles{generation};
      for (const store::Unconfirmed& later : left) settles.push_back(later.generation);
      const auto ways = store.ways_back_before(generation);
      auto back =
          ways ? state::rollback(state, *ways) : Result<state::Transaction, state::Refusal>();
      if (!ways || !back) {
        told.errors.push_back(about +
                              ", but is not undone: " + (ways ? why(back.error()) : ways.error()));
        continue;
      }
      back->comment = about + "; undone with what was committed after it (" +
                      std::to_string(ways->size() - 1) + ")";
      undone = commit_back(std::move(*back), std::move(settles));
      if (undone) left.clear();
      last = newest;
    }
    if (undone) {
      told.undone.push_back(about + " in time and is undone");
      std::ranges::move(what_stays(store.from_file(generation, last)),
                        std::back_inserter(told.undone));
    } else {
      told.errors.push_back(about + ", but is not undone: " + why(undone.error()));
    }
  }
  waiting = std::move(left);
  return told;
}

}  // namespace turnpike::daemon

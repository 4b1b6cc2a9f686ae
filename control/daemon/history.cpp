#include "control/daemon/history.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "control/daemon/log.h"
#include "control/daemon/what_stays.h"
#include "control/state/rollback.h"
#include "control/state/way_back.h"

namespace turnpike::daemon {
namespace {

using gateway::Committer;

// Whether one of `later`, which await their confirmation, touches what `way_back` does. Undone after it, they would bring
// back what it has undone.
bool touched_by_any(store::Store& store, const std::vector<Generation>& later,
                    const state::Transaction& way_back) {
  return std::ranges::any_of(later, [&](Generation generation) {
    const auto way = store.way_back_from(generation);
    return way && state::touch_the_same(way_back, *way);
  });
}

// Is refused, whatever it says.
state::Transaction refused_by(const state::State& state) {
  return {.if_generation = state.generation() + 1, .comment = {}, .edits = {}};
}

// The way back over several commits. It is read while the committer waits for it: however many commit meanwhile, none
// comes in between.
struct WayBack {
  Result<std::vector<state::Transaction>, std::string> ways;
  Generation from = 0;  // the newest on the disk
  bool is_known = true;  // the history has where it leads
  std::vector<Generation> settles;
  std::vector<std::string> warnings;
  std::optional<state::Refusal> refusal;  // the ways do not belong to this state

  // On the journal's thread, with the ways; those from `first` on are undone.
  void begin_at(store::Store& store, Generation generation, Generation first) {
    from = store.newest();
    is_known = store.knows(generation);
    const auto from_file = store.from_file(first, from);
    if (!from_file && ways) ways = fail(std::string(from_file.error()));
    warnings = what_stays(from_file);
  }
  // One transaction of them; is refused where that cannot be.
  [[nodiscard]] state::Transaction lead(const state::State& state,
                                        std::optional<Generation> if_generation) {
    if (!ways) return refused_by(state);
    auto made = state::rollback(state, *ways);
    if (!made) {
      refusal = std::move(made.error());
      return refused_by(state);
    }
    return {.if_generation = if_generation.value_or(from),
            .comment = {},
            .edits = std::move(made->edits)};
  }
};

}  // namespace

void History::list(std::function<void(api::HistoryAnswer)> answer) {
  auto read = std::make_shared<Result<std::vector<store::HistoryEntry>, std::string>>();
  parts_.journal.run(
      [read](store::Store& store) { *read = store.history(); },
      [this, read, answer = std::move(answer)] {
        if (!*read) return answer(api::CommitFailure{.what = std::move(read->error())});
        api::History history{
            .generation = parts_.generation(), .commits = std::move(**read), .unconfirmed = {}};
        const auto now = std::chrono::steady_clock::now();
        for (const auto& [generation, waiting] : waiting_) {
          const auto left = std::chrono::ceil<std::chrono::seconds>(waiting.until - now).count();
          history.unconfirmed.emplace_back(generation,
                                           static_cast<uint64_t>(std::max<int64_t>(left, 0)));
        }
        answer(std::move(history));
      });
}

void History::roll_back(Generation generation, api::ChangeRequest request,
                        std::function<void(api::RollbackAnswer)> answer) {
  const auto back = std::make_shared<WayBack>();
  const store::HistoryEntry entry{.at = parts_.wall(),
                                  .uid = request.commit.caller.uid,
                                  .pid = static_cast<uint32_t>(request.commit.caller.pid),
                                  .cause = store::Cause::Rollback,
                                  .comment = {}};
  auto make = [back, request, generation](const state::State& state) {
    state::Transaction transaction = back->lead(state, request.if_generation);
    transaction.comment = request.comment.empty()
                              ? "rollback to generation " + std::to_string(generation)
                              : request.comment;
    return transaction;
  };
  auto look_up = [=, this](Committer::Request& commit, const std::function<void()>& go) {
    parts_.journal.run(
        [back, generation](store::Store& store) {
          back->ways = store.ways_back_to(generation);
          back->begin_at(store, generation, generation + 1);
        },
        [=, this, &commit] {
          // What it undoes needs no confirmation any more, unless it may be undone itself.
          if (!commit.confirm) back->settles = commit.settles = awaited_after(generation);
          go();
        });
  };
  auto answered = [=, this, answer = std::move(answer)](Committer::Outcome outcome) mutable {
    if (auto* refused = std::get_if<state::Refusal>(&outcome)) {
      if (!back->ways) return answer(api::NotFound{.what = std::move(back->ways.error())});
      if (back->refusal) *refused = std::move(*back->refusal);
    }
    auto* done = std::get_if<Committer::Done>(&outcome);
    if (done != nullptr) std::ranges::move(back->warnings, std::back_inserter(done->warnings));
    if (done != nullptr && done->changed && !request.commit.dry_run) {
      if (request.commit.confirm) {
        await(done->generation, *request.commit.confirm);
      } else {
        forget(back->settles);
      }
    }
    answer(parts_.told(std::move(outcome), entry, request.commit.dry_run));
  };
  parts_.submit({.make = std::move(make),
                 .look_up = std::move(look_up),
                 .dry_run = request.commit.dry_run,
                 .entry = entry,
                 .confirm = request.commit.confirm,
                 .answer = std::move(answered)});
}

void History::await(Generation generation, Duration within) {
  if (undone_early_.erase(generation) > 0) return;
  await_until(generation, Clock::now() + std::chrono::duration_cast<Clock::duration>(within));
}

void History::await_until(Generation generation, Deadline until) {
  const auto [at, made] = waiting_.try_emplace(
      generation, Waiting{.timer = boost::asio::steady_timer(parts_.io), .until = until});
  if (!made) return;
  at->second.timer.expires_at(until);
  at->second.timer.async_wait([this, generation](const boost::system::error_code& error) {
    if (error) return;
    waiting_.erase(generation);
    undo(generation);
  });
}

void History::undo(Generation generation) {
  spdlog::warn("generation {} was not confirmed; undoing it", generation);
  undoing_.insert(generation);
  undo_alone(generation);
}

void History::undo_alone(Generation generation) {
  struct Way {
    Result<state::Transaction, std::string> back;
    bool alone = false;
    std::vector<std::string> warnings;
  };
  const auto way = std::make_shared<Way>();
  auto make = [way](const state::State& state) {
    if (!way->alone || !state::is_as_left(state, *way->back)) return refused_by(state);
    return *way->back;
  };
  auto look_up = [=, this](Committer::Request&, const std::function<void()>& go) {
    parts_.journal.run(
        [way, generation, later = awaited_after(generation)](store::Store& store) {
          way->back = store.way_back_from(generation);
          if (!way->back) return;
          way->back->comment = "generation " + std::to_string(generation) + " was not confirmed";
          way->alone = !touched_by_any(store, later, *way->back);
          way->warnings = what_stays(store.from_file(generation, generation));
        },
        [=, this] {
          if (!undoing_.contains(generation)) way->alone = false;  // a rollback has undone it
          go();
        });
  };
  const store::HistoryEntry entry = entry_of_undo();
  parts_.submit({.make = std::move(make),
                 .look_up = std::move(look_up),
                 .entry = entry,
                 .settles = {generation},
                 .answer = [=, this](Committer::Outcome outcome) {
                   if (std::holds_alternative<state::Refusal>(outcome)) {
                     return undo_with_later(generation);
                   }
                   undone(generation, {generation}, way->warnings, std::move(outcome), entry);
                 }});
}

// Later commits changed the same: back to the state before it, without them.
void History::undo_with_later(Generation generation) {
  const auto back = std::make_shared<WayBack>();
  auto make = [=](const state::State& state) {
    state::Transaction transaction = back->lead(state, {});
    if (back->ways) {
      transaction.comment = "generation " + std::to_string(generation) +
                            " was not confirmed; undone with what was committed after it (" +
                            std::to_string(back->ways->size() - 1) + ")";
    }
    return transaction;
  };
  auto look_up = [=, this](Committer::Request& commit, const std::function<void()>& go) {
    parts_.journal.run(
        [back, generation](store::Store& store) {
          back->ways = store.ways_back_before(generation);
          back->begin_at(store, generation, generation);
        },
        [=, this, &commit] {
          back->settles = awaited_after(generation);
          back->settles.push_back(generation);
          commit.settles = back->settles;
          if (!undoing_.contains(generation)) back->ways = fail(std::string("it is undone"));
          go();
        });
  };
  const store::HistoryEntry entry = entry_of_undo();
  parts_.submit({.make = std::move(make),
                 .look_up = std::move(look_up),
                 .entry = entry,
                 .answer = [=, this](Committer::Outcome outcome) {
                   const bool is_done = std::holds_alternative<Committer::Done>(outcome);
                   if (!is_done && !undoing_.contains(generation))
                     return;  // a rollback has undone it
                   if (const auto* refused = std::get_if<state::Refusal>(&outcome)) {
                     if (!back->ways) {
                       if (!back->is_known) return give_up(generation, back->ways.error());
                       outcome = Committer::Failure{.what = back->ways.error()};
                     } else if (back->refusal) {
                       outcome = std::move(*back->refusal);
                     } else if (refused->is_stale()) {
                       outcome =
                           Committer::Failure{.what = "the history does not belong to this state"};
                     }
                   }
                   undone(generation, back->settles, back->warnings, std::move(outcome), entry);
                 }});
}

store::HistoryEntry History::entry_of_undo() const {
  return {.at = parts_.wall(),
          .uid = geteuid(),
          .pid = static_cast<uint32_t>(getpid()),
          .cause = store::Cause::Unconfirmed,
          .comment = {}};
}

// How that ended.
void History::undone(Generation generation, const std::vector<Generation>& settled,
                     const std::vector<std::string>& warnings, Committer::Outcome outcome,
                     const store::HistoryEntry& entry) {
  if (const auto* done = std::get_if<Committer::Done>(&outcome)) {
    for (const std::string& warning : warnings) spdlog::warn("{}", warning);
    if (done->changed) {
      forget(settled);
    } else {
      for (const Generation g : settled) {
        forget(g);
        spdlog::info("generation {}: nothing of it was left to undo", g);
        await_no_more(g);
      }
    }
  } else if (const auto* refused = std::get_if<state::Refusal>(&outcome)) {
    give_up(generation, state::describe(refused->conflicts.front()));
  } else {
    // It stays recorded as unconfirmed: the next start tries again, too.
    undoing_.erase(generation);
    spdlog::error("generation {} could not be undone; it is tried again soon: {}", generation,
                  std::get<Committer::Failure>(outcome).what);
    await(generation, parts_.undo_again_after);
  }
  (void)parts_.told(std::move(outcome), entry, false);
}

std::vector<Generation> History::awaited_after(Generation generation) const {
  std::vector<Generation> awaited(undoing_.upper_bound(generation), undoing_.end());
  for (auto at = waiting_.upper_bound(generation); at != waiting_.end(); ++at) {
    awaited.push_back(at->first);
  }
  const std::set<Generation>& coming = parts_.coming();
  awaited.insert(awaited.end(), coming.upper_bound(generation), coming.end());
  std::ranges::sort(awaited);
  return awaited;
}

void History::forget(const std::vector<Generation>& undone) {
  for (const Generation generation : undone) forget(generation);
}

void History::forget(Generation undone) {
  waiting_.erase(undone);
  undoing_.erase(undone);
  if (parts_.coming().contains(undone)) undone_early_.insert(undone);
}

// It stays, and is not tried again at the next start.
void History::give_up(Generation generation, const std::string& why) {
  spdlog::error("generation {} is not undone: {}", generation, why);
  await_no_more(generation);
}

void History::await_no_more(Generation generation) {
  undoing_.erase(generation);
  parts_.journal.post(store::Confirmed{.generation = generation}, 0,
                      [](const Result<void, std::string>&) {});
}

void History::confirm(std::optional<Generation> generation,
                      std::function<void(api::ConfirmAnswer)> answer) {
  struct Confirming {
    std::vector<Generation> generations;
    size_t written = 0;
    std::string error;  // of any
  };
  const auto confirming = std::make_shared<Confirming>();
  std::vector<Deadline> deadlines;
  for (const auto& [waiting, at] : waiting_) {
    if (generation && *generation != waiting) continue;
    confirming->generations.push_back(waiting);
    deadlines.push_back(at.until);
  }
  if (deadlines.empty()) {
    return answer(api::NotFound{.what = generation ? "generation " + std::to_string(*generation) +
                                                         " does not await confirmation"
                                                   : std::string("nothing awaits confirmation")});
  }
  // Stopped first: nothing is undone while the confirmation is on its way to the disk.
  for (const Generation g : confirming->generations) waiting_.erase(g);
  for (size_t i = 0; i < deadlines.size(); ++i) {
    const Generation g = confirming->generations[i];
    parts_.journal.post(store::Confirmed{.generation = g}, 0,
                        [=, this, until = deadlines[i]](const Result<void, std::string>& outcome) {
                          if (!outcome) {  // it awaits its confirmation still
                            confirming->error = outcome.error();
                            await_until(g, until);
                          }
                          if (++confirming->written < confirming->generations.size()) return;
                          if (!confirming->error.empty()) {
                            return answer(api::CommitFailure{.what = confirming->error});
                          }
                          answer(api::Confirmed{.generations = confirming->generations});
                        });
  }
}

}  // namespace turnpike::daemon

#include "control/daemon/history.h"

#include <unistd.h>

#include "control/daemon/log.h"
#include "control/state/rollback.h"

namespace turnpike::daemon {
namespace {

using gateway::Committer;

// Other commits may come between reading the history and the rollback's turn; then it is read anew.
constexpr int kAttemptsMax = 8;

}  // namespace

void History::list(std::function<void(api::HistoryAnswer)> answer) {
  auto read = std::make_shared<Result<std::vector<store::HistoryEntry>, std::string>>();
  parts_.journal.run([read](store::Store& store) { *read = store.history(); },
                     [this, read, answer = std::move(answer)] {
                       if (!*read)
                         return answer(api::CommitFailure{.what = std::move(read->error())});
                       api::History history{.generation = parts_.state.generation(),
                                            .commits = std::move(**read),
                                            .unconfirmed = {}};
                       const auto now = std::chrono::steady_clock::now();
                       for (const auto& [generation, waiting] : waiting_) {
                         const auto left =
                             std::chrono::ceil<std::chrono::seconds>(waiting.until - now).count();
                         history.unconfirmed.emplace_back(
                             generation, static_cast<uint64_t>(std::max<int64_t>(left, 0)));
                       }
                       answer(std::move(history));
                     });
}

void History::roll_back(Generation generation, api::ChangeRequest request,
                        std::function<void(api::RollbackAnswer)> answer) {
  try_roll_back(generation, std::move(request), kAttemptsMax, std::move(answer));
}

void History::try_roll_back(Generation generation, api::ChangeRequest request, int attempts,
                            std::function<void(api::RollbackAnswer)> answer) {
  using Ways = Result<std::vector<state::Transaction>, std::string>;
  const auto ways = std::make_shared<Ways>();
  // What is posted by now leads to this generation; the ways back begin there.
  const Generation from = parts_.state.generation();
  parts_.journal.run(
      [ways, generation](store::Store& store) { *ways = store.ways_back_to(generation); },
      [=, this, answer = std::move(answer)]() mutable {
        if (!*ways) return answer(api::NotFound{.what = std::move(ways->error())});
        const auto refusal = std::make_shared<std::optional<state::Refusal>>();
        store::HistoryEntry entry{.at = parts_.wall(),
                                  .uid = request.commit.caller.uid,
                                  .pid = static_cast<uint32_t>(request.commit.caller.pid),
                                  .cause = store::Cause::Rollback,
                                  .comment = {}};
        const bool asked = request.if_generation.has_value();
        auto make = [ways, refusal, from, request, generation](const state::State& state) {
          state::Transaction transaction;
          transaction.if_generation = request.if_generation.value_or(from);
          if (state.generation() == from) {
            auto made = state::rollback(state, **ways);
            if (made) {
              transaction.edits = std::move(made->edits);
            } else {
              *refusal = std::move(made.error());
              transaction.if_generation = state.generation() + 1;  // is refused
            }
          } else {
            transaction.if_generation = from;
          }
          transaction.comment = request.comment.empty()
                                    ? "rollback to generation " + std::to_string(generation)
                                    : request.comment;
          return transaction;
        };
        const bool large = (*ways)->size() > 1;
        Committer::Request commit{
            .make = std::move(make),
            .large = large,
            .dry_run = request.commit.dry_run,
            .entry = entry,
            .confirm = request.commit.confirm,
            .answer = [=, this, answer = std::move(answer)](Committer::Outcome outcome) mutable {
              if (auto* refused = std::get_if<state::Refusal>(&outcome)) {
                if (*refusal) {
                  *refused = std::move(**refusal);
                } else if (refused->is_stale() && !asked && attempts > 1) {
                  return try_roll_back(generation, std::move(request), attempts - 1,
                                       std::move(answer));
                }
              }
              const auto* done = std::get_if<Committer::Done>(&outcome);
              if (done != nullptr && done->changed && request.commit.confirm &&
                  !request.commit.dry_run) {
                await(done->generation, *request.commit.confirm);
              }
              answer(parts_.told(std::move(outcome), entry, request.commit.dry_run));
            }};
        parts_.submit(std::move(commit));
      });
}

void History::await(Generation generation, Duration within) {
  const auto until = std::chrono::steady_clock::now() +
                     std::chrono::duration_cast<std::chrono::steady_clock::duration>(within);
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
  const auto way = std::make_shared<Result<state::Transaction, std::string>>();
  parts_.journal.run(
      [way, generation](store::Store& store) { *way = store.way_back_from(generation); },
      [this, way, generation] {
        if (!*way) return give_up(generation, way->error());
        state::Transaction transaction = std::move(**way);
        transaction.comment = "generation " + std::to_string(generation) + " was not confirmed";
        const store::HistoryEntry entry{.at = parts_.wall(),
                                        .uid = geteuid(),
                                        .pid = static_cast<uint32_t>(getpid()),
                                        .cause = store::Cause::Unconfirmed,
                                        .comment = {}};
        parts_.submit({.make = [transaction = std::move(transaction)](
                                   const state::State&) { return transaction; },
                       .entry = entry,
                       .settles = generation,
                       .answer =
                           [this, generation, entry](Committer::Outcome outcome) {
                             if (const auto* done = std::get_if<Committer::Done>(&outcome)) {
                               if (!done->changed) give_up(generation, "it was undone already");
                             } else if (const auto* refused =
                                            std::get_if<state::Refusal>(&outcome)) {
                               give_up(generation, state::describe(refused->conflicts.front()));
                             } else {
                               // It stays recorded as unconfirmed: the next start tries again.
                               spdlog::error("generation {} could not be undone: {}", generation,
                                             std::get<Committer::Failure>(outcome).what);
                             }
                             (void)parts_.told(std::move(outcome), entry, false);
                           }});
      });
}

// It stays, and is not tried again at the next start.
void History::give_up(Generation generation, const std::string& why) {
  spdlog::error("generation {} is not undone: {}", generation, why);
  parts_.journal.post(store::Confirmed{.generation = generation}, 0,
                      [](const Result<void, std::string>&) {});
}

void History::confirm(std::optional<Generation> generation,
                      std::function<void(api::ConfirmAnswer)> answer) {
  std::vector<Generation> confirmed;
  for (const auto& [waiting, _] : waiting_) {
    if (!generation || *generation == waiting) confirmed.push_back(waiting);
  }
  if (confirmed.empty()) {
    return answer(api::NotFound{.what = generation ? "generation " + std::to_string(*generation) +
                                                         " does not await confirmation"
                                                   : std::string("nothing awaits confirmation")});
  }
  // Stopped first: nothing is undone while the confirmation is on its way to the disk.
  for (const Generation g : confirmed) waiting_.erase(g);
  for (const Generation g : confirmed) {
    const bool last = g == confirmed.back();
    parts_.journal.post(store::Confirmed{.generation = g}, 0,
                        [last, confirmed, answer](const Result<void, std::string>& outcome) {
                          if (!last) return;
                          if (!outcome) return answer(api::CommitFailure{.what = outcome.error()});
                          answer(api::Confirmed{.generations = confirmed});
                        });
  }
}

}  // namespace turnpike::daemon

#include "control/gateway/committer.h"

#include <utility>

#include "control/state/nested.h"
#include "control/state/plan.h"

namespace turnpike::gateway {
namespace {

constexpr size_t kNestedShownMax = 100;

}  // namespace

struct Committer::Job {
  Request request;
  state::Transaction transaction;
  state::Change change;
  bool publish = false;  // there is a change to make true, or there was one
  Outcome outcome;
};

size_t items_of(const state::State& state, const state::Transaction& transaction, size_t enough) {
  size_t items = 0;
  for (const state::Edit& edit : transaction.edits) {
    if (edit.op == state::Op::TunnelRemove) return enough + 1;  // with all its peers
    items += 1 + edit.prefixes.size();
    if (edit.op == state::Op::Replace || edit.op == state::Op::PeerSet ||
        edit.op == state::Op::PeerRemove) {
      const state::Tunnel* tunnel = state.find_tunnel(edit.tunnel);
      const uint32_t slot =
          tunnel == nullptr ? state::kNoSlot : state.select_peer(tunnel->index, edit.peer);
      if (slot != state::kNoSlot) items += state.peer(slot).claims;
    }
    if (items > enough) break;
  }
  return items;
}

void Committer::submit(Request request) {
  queue_.push_back(std::move(request));
  run_queue();
}

void Committer::when_ready(std::function<void()> run) {
  if (ready_) return run();
  waiting_.push_back(std::move(run));
}

void Committer::run_queue() {
  while (!running_ && !queue_.empty()) {
    running_ = true;
    const auto job = std::make_shared<Job>();
    job->request = std::move(queue_.front());
    queue_.pop_front();
    bool large = job->request.large;
    if (!large) {
      job->transaction = job->request.make(state_);
      // A dry run looks for nested prefixes among all that there are.
      large = job->request.dry_run || items_of(state_, job->transaction, kAtOnce) > kAtOnce;
    }
    if (!large) {
      judge(*job);
      if (job->publish) make_true(*job);
      conclude(*job);
      running_ = false;
      continue;
    }
    offload_(
        [this, job] {
          if (job->request.large) job->transaction = job->request.make(state_);
          judge(*job);
        },
        [this, job] { judged(job); });
  }
}

// The second half of a large one, if there is anything to change.
void Committer::judged(const std::shared_ptr<Job>& job) {
  const auto finish = [this, job] {
    ready_ = true;
    conclude(*job);
    // Large values are let go where that holds up nobody. The answer has gone already.
    offload_([job] { *job = Job{}; }, [] {});
    for (const auto& run : std::exchange(waiting_, {})) run();
    running_ = false;
    run_queue();
  };
  if (!job->publish) return finish();
  ready_ = false;
  offload_([this, job] { make_true(*job); }, finish);
}

// Reads the state only. Where there is nothing to make true, the outcome is known.
void Committer::judge(Job& job) const {
  auto change = state::plan(state_, job.transaction);
  if (!change) {
    job.outcome = std::move(change.error());
    return;
  }
  if (job.request.amend) job.request.amend(*change);
  Done done{.generation = state_.generation(),
            .changed = !change->empty(),
            .seen = {},
            .warnings = {},
            .comment = job.transaction.comment};
  if (job.request.dry_run) {
    for (const state::Nested& nested : nested_prefixes(state_, *change, kNestedShownMax)) {
      done.warnings.push_back(describe(nested));
    }
  }
  job.publish = done.changed && !job.request.dry_run;
  job.change = std::move(*change);
  job.outcome = std::move(done);
}

void Committer::make_true(Job& job) {
  if (auto prepared = gateway_.prepare(job.change); !prepared) {
    job.publish = false;
    job.outcome = Failure{.what = std::move(prepared.error())};
    return;
  }
  if (job.request.stage) {
    if (auto staged = job.request.stage(); !staged) {
      gateway_.abort();
      job.publish = false;
      job.outcome = Failure{.what = std::move(staged.error())};
      return;
    }
  }
  auto& done = std::get<Done>(job.outcome);
  done.generation = state_.apply(job.change);
  gateway_.seal(done.generation);
}

void Committer::conclude(Job& job) {
  auto answer = std::move(job.request.answer);
  if (!job.publish) return answer(std::move(job.outcome));
  gateway_.commit(now_(),
                  [answer = std::move(answer),
                   done = std::move(std::get<Done>(job.outcome))](const Acknowledgement& seen) {
                    Done acknowledged = done;
                    acknowledged.seen = seen;
                    answer(std::move(acknowledged));
                  });
}

}  // namespace turnpike::gateway

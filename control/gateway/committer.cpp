#include "control/gateway/committer.h"

#include <algorithm>
#include <span>
#include <utility>

#include "control/state/nested.h"
#include "control/state/plan.h"
#include "control/state/undo.h"
#include "dataplane/base/check.h"

namespace turnpike::gateway {
namespace {

constexpr size_t kNestedShownMax = 100;

}  // namespace

struct Committer::Job {
  Request request;
  state::Transaction transaction;
  std::shared_ptr<const state::Change> change;
  store::Buffer undo;
  state::Change inverse;  // of a small one, which is applied before it is durable
  Generation generation = 0;
  uint64_t chain = 0;  // in which it was made
  bool publish = false;  // there is a change to make true
  bool withdrawn = false;  // a large one: what was durable already is to be undone there
  bool settled = false;  // has its outcome
  Outcome outcome;

  [[nodiscard]] bool is_for_the_log() const {
    return !request.dry_run && std::holds_alternative<Done>(outcome) &&
           (publish || (request.file != nullptr && !request.file->empty()));
  }
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
  if (request.look_up) request.large = true;
  queue_.push_back(std::make_shared<Job>());
  queue_.back()->request = std::move(request);
  run_queue();
}

void Committer::when_ready(std::function<void()> run) {
  if (ready_) return run();
  waiting_.push_back(std::move(run));
}

void Committer::run_queue() {
  while (!running_ && next_large_ == nullptr && !queue_.empty() && withdrawals_ == 0 &&
         in_flight_.size() < kInFlightMax) {
    const JobPointer job = std::move(queue_.front());
    queue_.pop_front();
    job->chain = chain_;
    if (!diverged_.empty() && !job->request.dry_run) {
      job->request.answer(Failure{.what = diverged_});
      continue;
    }
    bool large = job->request.large;
    if (!large) {
      job->transaction = job->request.make(state_);
      // A dry run looks for nested prefixes among all that there are.
      large = job->request.dry_run || items_of(state_, job->transaction, kAtOnce) > kAtOnce;
    }
    if (large) {
      next_large_ = job;
    } else {
      run_small(job);
    }
  }
  // A large one is judged against what is durable.
  if (next_large_ != nullptr && !running_ && in_flight_.empty() && withdrawals_ == 0) {
    run_large(std::exchange(next_large_, nullptr));
  }
}

void Committer::run_small(const JobPointer& job) {
  judge(*job);
  if (log_ == nullptr) {
    if (!job->publish) return answer(*job);
    make_true(*job);
    return publish(*job);
  }
  in_flight_.push_back(job);
  if (!job->is_for_the_log()) {
    // It waits all the same: what it was judged on may not be durable yet.
    job->settled = true;
    return answer_settled();
  }
  if (job->publish) {
    job->inverse = inverse(state_, *job->change);
    job->generation = state_.apply(*job->change);
  }
  write(job, [this, job](const Result<void, std::string>& outcome) { written(job, outcome); });
}

void Committer::write(const JobPointer& job, store::Log::Done done) {
  store::Record record{.change = job->publish ? job->change : nullptr,
                       .entry = job->request.entry,
                       .undo = std::move(job->undo),
                       .file = job->request.file,
                       .unconfirmed = {},
                       .settled = job->request.settles};
  record.entry.generation = job->generation;
  record.entry.comment = std::get<Done>(job->outcome).comment;
  if (job->request.confirm && job->publish) {
    const Duration within = *job->request.confirm;
    record.unconfirmed = store::Unconfirmed{
        .generation = job->generation,
        .until = {record.entry.at.nanoseconds + static_cast<uint64_t>(within.count())},
        .within = within};
    to_be_confirmed_.insert(job->generation);
  }
  log_->post(std::move(record), chain_, std::move(done));
}

// Of a small one. The log answers in order: it is the oldest in flight.
void Committer::written(const JobPointer& job, const Result<void, std::string>& outcome) {
  if (job->settled) return;  // taken back meanwhile
  CHECK(in_flight_.front() == job && ready_);
  if (!outcome) {
    take_back(outcome.error() + "; nothing was changed");
  } else if (!job->publish) {
    job->settled = true;
  } else if (prepare(*job)) {
    in_flight_.pop_front();
    gateway_.seal(job->generation);
    publish(*job);
  } else {
    withdraw(std::get<Failure>(job->outcome).what);
  }
  answer_settled();
  run_queue();
}

void Committer::answer_settled() {
  while (!in_flight_.empty() && in_flight_.front()->settled) {
    const JobPointer job = std::move(in_flight_.front());
    in_flight_.pop_front();
    answer(*job);
  }
}

// Of one that is not published.
void Committer::answer(Job& job) {
  to_be_confirmed_.erase(job.generation);
  job.request.answer(std::move(job.outcome));
}

// All that is in flight, the newest first. The workers have seen none of it, and nobody its numbers.
void Committer::take_back(const std::string& why) {
  for (auto at = in_flight_.rbegin(); at != in_flight_.rend(); ++at) {
    Job& job = **at;
    if (job.publish) {
      job.inverse.base = state_.generation();
      state_.apply(job.inverse);
      to_be_confirmed_.erase(std::exchange(job.generation, 0));  // soon another's
    }
    job.settled = true;
    job.outcome = Failure{.what = why};
  }
  state_.renumber(committed_);
  ++chain_;
}

// The same when the oldest is durable, but the gateway has no memory for it: what is or will be on the disk is
// undone there, too.
void Committer::withdraw(const std::string& why) {
  for (auto at = in_flight_.rbegin(); at != in_flight_.rend(); ++at) {
    Job& job = **at;
    if (job.publish) {
      job.inverse.base = state_.generation();
      store::Buffer redo = store::encode(undo(state_, job.inverse));
      state_.apply(job.inverse);
      write_withdrawal(job, std::move(job.inverse), std::move(redo));
    }
    job.settled = true;
    job.outcome = Failure{.what = why};
  }
  // One that waits was made for a state that is no more.
  if (next_large_ != nullptr) next_large_->chain = 0;
}

void Committer::write_withdrawal(const Job& job, state::Change inverse, store::Buffer redo) {
  store::Record record{.change = std::make_shared<const state::Change>(std::move(inverse)),
                       .entry = job.request.entry,
                       .undo = std::move(redo),
                       .file = {},
                       .unconfirmed = {},
                       .settled = {job.generation}};
  record.entry.generation = state_.generation();
  record.entry.cause = store::Cause::Withdrawn;
  record.entry.comment = "generation " + std::to_string(job.generation) + " was never in force";
  ++withdrawals_;
  log_->post(std::move(record), chain_, [this](const Result<void, std::string>& outcome) {
    if (!outcome) {
      diverged_ = "the state on the disk is not the one that runs, and could not be mended (" +
                  outcome.error() + "); see to the disk, then restart turnpiked";
    }
    if (--withdrawals_ > 0) return;
    if (diverged_.empty()) {
      committed_ = state_.generation();
    } else {
      state_.renumber(committed_);  // what runs is that one; the next start may use these numbers
    }
    run_queue();
  });
}

void Committer::run_large(const JobPointer& job) {
  running_ = true;
  if (!diverged_.empty() && !job->request.dry_run) {
    job->outcome = Failure{.what = diverged_};
    return finish_large(job);
  }
  if (!job->request.large && job->chain != chain_) {
    job->outcome =
        Failure{.what = "a commit before this one could not be made; nothing was changed"};
    return finish_large(job);
  }
  if (!job->request.look_up) return judge_large(job);
  // The request may be let go before this returns.
  const auto look_up = std::move(job->request.look_up);
  look_up(job->request, [this, job] { judge_large(job); });
}

void Committer::judge_large(const JobPointer& job) {
  offload_(
      [this, job] {
        if (job->request.large) job->transaction = job->request.make(state_);
        judge(*job);
      },
      [this, job] { large_judged(job); });
}

void Committer::large_judged(const JobPointer& job) {
  if (log_ == nullptr || !job->is_for_the_log()) {
    return job->publish ? make_large_true(job) : finish_large(job);
  }
  if (job->publish) job->generation = state_.generation() + 1;
  write(job, [this, job](const Result<void, std::string>& outcome) {
    if (!outcome) {
      job->publish = false;
      job->outcome = Failure{.what = outcome.error() + "; nothing was changed"};
      ++chain_;
    }
    job->publish ? make_large_true(job) : finish_large(job);
  });
}

// Nobody may look meanwhile.
void Committer::make_large_true(const JobPointer& job) {
  ready_ = false;
  offload_([this, job] { make_true(*job); }, [this, job] { finish_large(job); });
}

void Committer::finish_large(const JobPointer& job) {
  ready_ = true;
  if (job->withdrawn) write_withdrawal(*job, std::move(job->inverse), std::move(job->undo));
  if (job->publish) {
    publish(*job);
  } else {
    answer(*job);
  }
  // Large values are let go where that holds up nobody. The answer has gone already.
  offload_([job] { *job = Job{}; }, [] {});
  for (const auto& run : std::exchange(waiting_, {})) run();
  running_ = false;
  run_queue();
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
    const auto all = nested_prefixes(state_, *change, kNestedShownMax + 1);
    for (const state::Nested& nested :
         std::span(all).first(std::min(all.size(), kNestedShownMax))) {
      done.warnings.push_back(describe(nested));
    }
    if (all.size() > kNestedShownMax) {
      done.warnings.push_back("more prefixes than these " + std::to_string(kNestedShownMax) +
                              " lie inside those of others");
    }
  }
  job.publish = done.changed && !job.request.dry_run;
  if (job.publish && log_ != nullptr) job.undo = store::encode(undo(state_, *change));
  job.change = std::make_shared<const state::Change>(std::move(*change));
  job.outcome = std::move(done);
}

bool Committer::prepare(Job& job) {
  auto prepared = gateway_.prepare(*job.change);
  if (prepared && job.request.stage) {
    prepared = job.request.stage();
    if (!prepared) gateway_.abort();
  }
  if (!prepared) job.outcome = Failure{.what = std::move(prepared.error())};
  return prepared.has_value();
}

// Of what was not applied before. Where the gateway says no, `publish` is false afterwards.
void Committer::make_true(Job& job) {
  if (prepare(job)) {
    job.generation = state_.apply(*job.change);
    gateway_.seal(job.generation);
    return;
  }
  job.publish = false;
  if (log_ == nullptr) return;
  // It is durable already. The state goes through it and back, so that its generation is ahead of the disk's.
  job.inverse = inverse(state_, *job.change);
  state_.apply(*job.change);
  job.undo = store::encode(undo(state_, job.inverse));
  state_.apply(job.inverse);
  job.withdrawn = true;
}

void Committer::publish(Job& job) {
  if (!job.publish) return answer(job);
  auto done = std::move(std::get<Done>(job.outcome));
  done.generation = committed_ = job.generation;
  gateway_.commit(now_(), [this, answer = std::move(job.request.answer),
                           done = std::move(done)](const Acknowledgement& seen) mutable {
    in_force_ = done.generation;
    to_be_confirmed_.erase(done.generation);
    done.seen = seen;
    answer(std::move(done));
  });
}

}  // namespace turnpike::gateway

#include "control/daemon/reloader.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "config/load.h"
#include "control/gateway/committer.h"
#include "control/gateway/file_diff.h"
#include "control/gateway/restart_keys.h"
#include "dataplane/crypto/x25519.h"

namespace turnpike::daemon {
namespace {

// What has no line comes last: how many more there are, among it.
void by_place(std::vector<config::ConfigError>& errors) {
  std::ranges::stable_sort(errors, {}, [](const config::ConfigError& error) {
    return std::tuple(error.line == 0, error.line, error.column);
  });
}

}  // namespace

// One file on its way. What stands above the line is made by the helper thread.
struct Reloader::Job {
  std::string path;
  api::FileOptions options;
  bool only_diff = false;
  Answer answer;
  std::function<void(api::DiffAnswer)> answer_diff;
  std::shared_ptr<const config::Config> started, before;
  std::vector<MacAddress> macs;

  std::shared_ptr<const config::Config> after;
  std::vector<config::ConfigError> mistakes;
  gateway::FileTransaction difference;
  std::shared_ptr<const store::FileRows> rows;
  gateway::Topology topology;
  std::optional<gateway::OverrideScan> overrides;
  // ----
  std::vector<config::ConfigError> notes;
  gateway::FileTransaction places;  // of edits, for conflicts
  gateway::FileDiff diff;
  api::Committed done;

  template <typename Outcome>
  void answer_with(Outcome outcome) const {
    only_diff ? answer_diff(std::move(outcome)) : answer(std::move(outcome));
  }
};

void Reloader::reload(api::FileOptions options, Answer answer) {
  auto job = std::make_shared<Job>();
  job->path = parts_.path;
  job->options = std::move(options);
  job->answer = std::move(answer);
  enqueue(std::move(job));
}

void Reloader::diff(std::string path, std::function<void(api::DiffAnswer)> answer) {
  auto job = std::make_shared<Job>();
  job->path = std::move(path);
  job->only_diff = true;
  job->answer_diff = std::move(answer);
  enqueue(std::move(job));
}

void Reloader::enqueue(std::shared_ptr<Job> job) {
  if (waiting_.size() >= kWaitingMax) {
    return job->answer_with(api::CommitFailure{.what = "other files are being read; try again"});
  }
  waiting_.push_back(std::move(job));
  if (waiting_.size() == 1) start_next();
}

void Reloader::start_next() {
  const auto& job = waiting_.front();
  job->started = parts_.started;
  job->before = parts_.applied;
  job->macs = parts_.macs;
  parts_.offload([this, job] { read(job); }, [this, job] { judge(job); });
}

// On the helper thread: touches the job, and nothing else that changes.
void Reloader::read(const std::shared_ptr<Job>& job) {
  auto loaded = config::load_config(job->path, crypto::public_key);
  if (!loaded) {
    job->mistakes = std::move(loaded.error());
    return;
  }
  job->mistakes = gateway::restart_keys(*job->started, *loaded);
  if (!job->mistakes.empty()) return;
  gateway::order_ports(*job->started, *loaded);
  job->notes = std::move(loaded->warnings);
  job->after = std::make_shared<const config::Config>(std::move(*loaded));
  job->difference = gateway::difference(*job->before, *job->after);
  job->topology = gateway::topology_of(*job->after, job->macs);
  job->rows = std::make_shared<const store::FileRows>(store::file_rows(*job->before, *job->after));
  job->overrides.emplace(job->before, job->after);
}

void Reloader::judge(const std::shared_ptr<Job>& job) {
  if (job->mistakes.empty()) return commit(job);
  job->answer_with(api::FileMistakes{std::move(job->mistakes)});
  finish(job);
}

void Reloader::commit(const std::shared_ptr<Job>& job) {
  FileCommit file{.make =
                      [job](const state::State& state) {
                        gateway::Adapted adapted =
                            gateway::adapt(std::move(job->difference), state);
                        std::ranges::move(adapted.notes, std::back_inserter(job->notes));
                        job->places.at = std::move(adapted.transaction.at);
                        job->places.file = std::move(adapted.transaction.file);
                        state::Transaction& transaction = adapted.transaction.transaction;
                        transaction.if_generation = job->options.if_generation;
                        transaction.comment = job->options.comment;
                        return std::move(transaction);
                      },
                  .judged = {},
                  .large = job->difference.transaction.edits.size() > gateway::kAtOnce,
                  .topology = job->topology,
                  .file = job->after,
                  .rows = job->rows};
  if (job->only_diff) {
    file.judged = [this, job](const state::State& state, const state::Change& change) {
      job->diff = gateway::diff_of(state, change, parts_.has_session);
    };
    job->options.commit.dry_run = true;
  }
  parts_.commit(std::move(file), job->options.commit,
                [this, job](api::CommitAnswer answer) { committed(job, std::move(answer)); });
}

void Reloader::committed(const std::shared_ptr<Job>& job, api::CommitAnswer answer) {
  if (auto* refusal = std::get_if<state::Refusal>(&answer)) {
    auto at = gateway::errors_of(*refusal, job->places, *job->after);
    job->answer_with(api::FileConflicts{std::move(*refusal), std::move(at)});
    return finish(job);
  }
  if (auto* failure = std::get_if<api::CommitFailure>(&answer)) {
    job->answer_with(std::move(*failure));
    return finish(job);
  }
  job->done = std::get<api::Committed>(std::move(answer));
  if (!job->options.commit.dry_run) parts_.applied = job->after;
  parts_.later([this, job](const state::State& state) { scan(job, state); });
}

// Overrides, some peers at a time.
void Reloader::scan(const std::shared_ptr<Job>& job, const state::State& state) {
  if (job->overrides->step(state, kPeersPerSlice)) {
    return parts_.later([this, job](const state::State& next) { scan(job, next); });
  }
  std::ranges::move(job->overrides->take(), std::back_inserter(job->notes));
  by_place(job->notes);
  if (job->only_diff) {
    job->diff.nested = std::move(job->done.warnings);
    job->diff.warnings = std::move(job->notes);
    job->answer_diff(std::move(job->diff));
  } else {
    for (const config::ConfigError& note : job->notes) {
      job->done.warnings.push_back(config::to_string(note));
    }
    job->answer(std::move(job->done));
  }
  finish(job);
}

void Reloader::finish(const std::shared_ptr<Job>& job) {
  // A file's values are many, and freeing them takes its time: where they were made.
  struct Spent {
    std::shared_ptr<const config::Config> before, after;
    gateway::FileTransaction difference;
    std::optional<gateway::OverrideScan> overrides;
  };
  auto spent = std::make_shared<std::unique_ptr<Spent>>(
      new Spent{std::move(job->before), std::move(job->after), std::move(job->difference),
                std::move(job->overrides)});
  job->overrides.reset();
  parts_.offload([spent] { spent->reset(); }, [] {});
  waiting_.pop_front();
  if (!waiting_.empty()) start_next();
}

}  // namespace turnpike::daemon

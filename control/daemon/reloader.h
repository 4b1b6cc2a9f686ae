// Configuration files while the gateway runs: reads them where that stalls nobody, works out the difference to
// the file applied last, and has it committed as one transaction.
//   Threads: control. Reading and comparing run through `offload`; what is long on the control thread comes in
//            slices through `later`, commits go on in between.
//   Bounds:  one file at a time, kWaitingMax wait; the next one is told that the gateway is busy.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/config.h"
#include "control/api/backend.h"
#include "control/api/request.h"
#include "control/gateway/file_overrides.h"
#include "control/gateway/file_transaction.h"
#include "control/gateway/topology.h"
#include "control/store/file_rows.h"

namespace turnpike::daemon {

// What a file asks to be committed.
struct FileCommit {
  // The transaction, for the state that it will be judged against; then what it was judged to do. Both may run
  // on another thread, while the state does not change.
  std::function<state::Transaction(const state::State&)> make;
  std::function<void(const state::State&, const state::Change&)> judged;  // may be empty
  bool large = false;  // make() takes long
  gateway::Topology topology;
  std::shared_ptr<const config::Config> file;  // is the one applied last, once this is committed
  std::shared_ptr<const store::FileRows> rows;  // what is different in it
};

class Reloader {
 public:
  static constexpr size_t kWaitingMax = 16;
  static constexpr size_t kPeersPerSlice = 32;

  struct Parts {
    std::string path;  // of the file that a reload reads
    // What the daemon was started with, and what was applied last: the same, unless the start was refused.
    std::shared_ptr<const config::Config> started, applied;
    std::vector<MacAddress> macs;  // of the ports, in the order of `started`
    std::function<bool(PeerId)> has_session;
    api::Offload offload;
    // Soon, on the control thread, when the state may be read.
    std::function<void(std::function<void(const state::State&)>)> later;
    // Commits, unless options say that it is a dry run. `answer` may come at once.
    std::function<void(FileCommit, const api::CommitOptions&,
                       std::function<void(api::CommitAnswer)>)>
        commit;
  };
  explicit Reloader(Parts parts) : parts_(std::move(parts)) {}

  using Answer = std::function<void(api::FileAnswer)>;
  // Of the file that the daemon was started with.
  void reload(api::FileOptions options, Answer answer);
  // What reload() would do with the file at `path`.
  void diff(std::string path, std::function<void(api::DiffAnswer)> answer);

  [[nodiscard]] const std::shared_ptr<const config::Config>& applied() const {
    return parts_.applied;
  }

 private:
  struct Job;
  void enqueue(std::shared_ptr<Job> job);
  void start_next();
  void read(const std::shared_ptr<Job>& job);
  void judge(const std::shared_ptr<Job>& job);
  void commit(const std::shared_ptr<Job>& job);
  void committed(const std::shared_ptr<Job>& job, api::CommitAnswer answer);
  void scan(const std::shared_ptr<Job>& job, const state::State& state);
  void finish(const std::shared_ptr<Job>& job);

  Parts parts_;
  std::deque<std::shared_ptr<Job>> waiting_;  // the first one runs
};

}  // namespace turnpike::daemon

// The one way of a transaction into the state, onto the disk and to the workers, in the order in which they were
// asked for: judged, made durable, then prepared and published. What is refused at any step leaves all three as they were.
//   Threads: control. What would hold it up, more than kAtOnce items, is worked out on a helper thread: first
//            judged, while control goes on reading the state; then made true, while nobody may look (ready() is
//            false). What is smaller is judged at once. Where something has to be looked up before, the queue stands
//            for that long, too.
//   Groups:  small transactions do not wait for the disk one by one: each is judged against the state with those
//            before it, and what is waiting shares one sync. Hence state() runs ahead of what is durable by the
//            time of a sync. If one cannot be written, it and those judged on it are taken back and refused.
//   Numbers: nobody outside hears of a generation before it is durable (generation()), so that what is taken back
//            gives its number back, and a restart goes on where it stopped.
//   Bounds:  kInFlightMax on their way to the disk; the next ones wait.
//   Life:    ends after the helper and the log have.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "control/gateway/gateway.h"
#include "control/state/refusal.h"
#include "control/state/state.h"
#include "control/state/transaction.h"
#include "control/store/journal.h"

namespace turnpike::gateway {

// Peers and prefixes that a transaction may touch to be judged and applied in one stretch: well below 100 µs.
inline constexpr size_t kAtOnce = 16;
inline constexpr size_t kInFlightMax = 1'024;

// Runs `work` on a helper thread, one after the other, then `done` on the control thread.
using Offload = std::function<void(std::function<void()> work, std::function<void()> done)>;

class Committer {
 public:
  struct Done {
    Generation generation = 0;  // of a dry run, and when nothing changed: the present one
    bool changed = true;
    Acknowledgement seen;
    std::vector<std::string> warnings;
    std::string comment;
  };
  // No memory, no slot, no room on the disk: nothing has changed.
  struct Failure {
    std::string what;
  };
  using Outcome = std::variant<Done, state::Refusal, Failure>;

  struct Request {
    // Gives the transaction, for the state that it will be judged against. May run on the helper.
    std::function<state::Transaction(const state::State&)> make;
    bool large = false;  // known to be: not even made on the control thread
    // What has to be read beforehand, of the very state that it will be judged against: asked in its turn, when all
    // before it is durable. Nothing else has its turn until `go`; `settles` may be filled in until then. What has this
    // is large.
    std::function<void(Request& request, std::function<void()> go)> look_up;
    bool dry_run = false;  // warns of nested prefixes, and changes nothing
    // Where more belongs to it than peers and prefixes: what it changes beside them, once it is judged, and
    // what the gateway has to know of it, after prepare(). An error of the latter undoes all. Either may be
    // empty and may run on the helper.
    std::function<void(state::Change&)> amend;
    std::function<Result<void, std::string>()> stage;
    // For the log: who, when, why. Generation, counts and comment are filled in.
    store::HistoryEntry entry;
    std::shared_ptr<const store::FileRows> file;  // to the file applied last
    std::optional<Duration> confirm;  // is undone unless confirmed within it
    std::vector<Generation> settles;  // undoes these, which await their confirmation
    std::function<void(Outcome)> answer;  // on the control thread, once
  };

  // Without a log nothing is durable.
  Committer(state::State& state, Gateway& gateway, Offload offload, std::function<Instant()> now,
            store::Log* log = nullptr)
      : state_(state),
        gateway_(gateway),
        offload_(std::move(offload)),
        now_(std::move(now)),
        log_(log),
        committed_(state.generation()),
        in_force_(committed_) {}
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  void submit(Request request);

  // Of those to be confirmed that are judged, but not answered yet, the generations. That of one which fails is among
  // them until then, too.
  [[nodiscard]] const std::set<Generation>& to_be_confirmed() const noexcept {
    return to_be_confirmed_;
  }

  // False while the helper changes the state and the gateway: neither may be read then.
  [[nodiscard]] bool ready() const noexcept { return ready_; }
  // Runs it at once when ready(), else as soon as that is so again.
  void when_ready(std::function<void()> run);
  // For all who ask: the newest that is durable, to be had by the workers now or in a moment. No other state has or will
  // have this number, over restarts too. What state() holds may be ahead of it by what is on its way to the disk.
  [[nodiscard]] Generation generation() const noexcept { return committed_; }
  // The newest that the workers were seen to have, but for one that did not come round within kVisibleWithin and will
  // find it when it does; at the beginning the state's, which is to be published already. Never goes back.
  // May be asked at any time, ready() or not: the state's own number is the helper's meanwhile, and runs ahead.
  [[nodiscard]] Generation in_force() const noexcept { return in_force_; }
  // Instead of the gateway's own.
  bool poll(Instant now) { return ready_ ? gateway_.poll(now) : true; }

 private:
  struct Job;
  using JobPointer = std::shared_ptr<Job>;

  void run_queue();
  void run_small(const JobPointer& job);
  void run_large(const JobPointer& job);
  void judge(Job& job) const;
  [[nodiscard]] bool prepare(Job& job);
  void make_true(Job& job);
  void publish(Job& job);
  void answer(Job& job);
  void write(const JobPointer& job, store::Log::Done done);
  void written(const JobPointer& job, const Result<void, std::string>& outcome);
  void answer_settled();
  void take_back(const std::string& why);
  void withdraw(const std::string& why);
  void write_withdrawal(const Job& job, state::Change inverse, store::Buffer redo);
  void judge_large(const JobPointer& job);
  void large_judged(const JobPointer& job);
  void make_large_true(const JobPointer& job);
  void finish_large(const JobPointer& job);

  state::State& state_;
  Gateway& gateway_;
  Offload offload_;
  std::function<Instant()> now_;
  store::Log* log_;
  Generation committed_;
  Generation in_force_;
  // On their way to the disk: nothing is judged until it is known what is there.
  size_t withdrawals_ = 0;
  std::deque<JobPointer> queue_;
  std::deque<JobPointer> in_flight_;  // small ones, in order
  JobPointer next_large_;  // waits until nothing is in flight
  uint64_t chain_ = 1;  // of records; a new one begins when some were taken back
  std::set<Generation> to_be_confirmed_;
  std::string diverged_;  // why the disk no longer has what runs: nothing more is committed
  bool running_ = false;  // a large one
  bool ready_ = true;
  std::vector<std::function<void()>> waiting_;
};

// How many peers and prefixes it touches, as far as that is seen without judging it; counts no further than a
// little beyond `enough`.
[[nodiscard]] size_t items_of(const state::State& state, const state::Transaction& transaction,
                              size_t enough);

}  // namespace turnpike::gateway

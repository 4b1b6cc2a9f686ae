// The one way of a transaction into the state and to the workers: judged, prepared, made true, published, one
// after the other, in the order in which they were asked for.
//   Threads: control. What would hold it up, more than kAtOnce items, is worked out on a helper thread: first
//            judged, while control goes on reading the state; then made true, while nobody may look (ready() is
//            false). What is smaller is done at once.
//   Life:    ends after the helper has.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "control/gateway/gateway.h"
#include "control/state/refusal.h"
#include "control/state/state.h"
#include "control/state/transaction.h"

namespace turnpike::gateway {

// Peers and prefixes that a transaction may touch to be judged and applied in one stretch: well below 100 µs.
inline constexpr size_t kAtOnce = 16;

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
  // No memory, no slot: nothing has changed.
  struct Failure {
    std::string what;
  };
  using Outcome = std::variant<Done, state::Refusal, Failure>;

  struct Request {
    // Gives the transaction, for the state that it will be judged against. May run on the helper.
    std::function<state::Transaction(const state::State&)> make;
    bool large = false;  // known to be: not even made on the control thread
    bool dry_run = false;  // warns of nested prefixes, and changes nothing
    // Where more belongs to it than peers and prefixes: what it changes beside them, once it is judged, and
    // what the gateway has to know of it, after prepare(). An error of the latter undoes all. Either may be
    // empty and may run on the helper.
    std::function<void(state::Change&)> amend;
    std::function<Result<void, std::string>()> stage;
    std::function<void(Outcome)> answer;  // on the control thread, once
  };

  Committer(state::State& state, Gateway& gateway, Offload offload, std::function<Instant()> now)
      : state_(state), gateway_(gateway), offload_(std::move(offload)), now_(std::move(now)) {}
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  void submit(Request request);

  // False while the helper changes the state and the gateway: neither may be read then.
  [[nodiscard]] bool ready() const noexcept { return ready_; }
  // Runs it at once when ready(), else as soon as that is so again.
  void when_ready(std::function<void()> run);
  // Instead of the gateway's own.
  bool poll(Instant now) { return ready_ ? gateway_.poll(now) : true; }

 private:
  struct Job;
  void run_queue();
  void judge(Job& job) const;
  void make_true(Job& job);
  // On the control thread, when everything has been worked out.
  void conclude(Job& job);
  void judged(const std::shared_ptr<Job>& job);

  state::State& state_;
  Gateway& gateway_;
  Offload offload_;
  std::function<Instant()> now_;
  std::deque<Request> queue_;
  bool running_ = false;  // one at a time
  bool ready_ = true;
  std::vector<std::function<void()>> waiting_;
};

// How many peers and prefixes it touches, as far as that is seen without judging it; counts no further than a
// little beyond `enough`.
[[nodiscard]] size_t items_of(const state::State& state, const state::Transaction& transaction,
                              size_t enough);

}  // namespace turnpike::gateway

// What is committed before anything runs: the durable state, then what is to be done to it. On the calling thread,
// each step durable before it is true.
//   Threads: control, while no worker runs; the session thread does.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "control/gateway/gateway.h"
#include "control/state/refusal.h"
#include "control/state/state.h"
#include "control/store/store.h"

namespace turnpike::daemon {

class Boot {
 public:
  Boot(store::Store& store, state::State& state, gateway::Gateway& gateway,
       std::function<Instant()> now)
      : store_(store), state_(state), gateway_(gateway), now_(std::move(now)) {}

  // Takes `loaded.content`. The state is new. The error is one line.
  [[nodiscard]] Result<void, std::string> restore(store::Loaded& loaded,
                                                  gateway::Topology topology);

  struct Commit {
    state::Transaction transaction;
    store::HistoryEntry entry;  // generation, counts and comment are filled in
    std::shared_ptr<const store::FileRows> file;
    std::optional<gateway::Topology> topology;  // with those tunnels that only the present one has
    std::vector<Generation> settles;
  };
  // A line for what is no conflict: no memory, a disk that cannot be written.
  using Refused = std::variant<state::Refusal, std::string>;
  // Nothing has changed where it says no.
  [[nodiscard]] Result<void, Refused> commit(Commit commit);

 private:
  void publish(Generation generation);

  store::Store& store_;
  state::State& state_;
  gateway::Gateway& gateway_;
  std::function<Instant()> now_;
};

}  // namespace turnpike::daemon

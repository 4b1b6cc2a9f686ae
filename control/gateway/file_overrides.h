// A file against a state that edits at run time have changed since (design, 7): what of its difference is
// still to be done, and which of its lines are overridden.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "control/gateway/file_transaction.h"
#include "control/state/state.h"

namespace turnpike::gateway {

inline constexpr size_t kOverridesShownMax = 1'000;

// Edits that the state has seen already are left out, and a peer that the file adds and the API had added is
// taken over. What the file gives up and somebody else owns by now stays that owner's; each such case is
// told in `notes`. What remains is judged by state::plan(), which names every conflict.
//   Cost: that of the difference.
struct Adapted {
  FileTransaction transaction;
  std::vector<config::ConfigError> notes;
};
[[nodiscard]] Adapted adapt(FileTransaction file, const state::State& state);

// Lines that stand in both files and that the state contradicts: whoever wrote them finds out that they have no
// effect. A walk in steps, since there may be very many.
//   Threads: made on any, for it costs what the files are long; step() where the state is.
class OverrideScan {
 public:
  OverrideScan(std::shared_ptr<const config::Config> before,
               std::shared_ptr<const config::Config> after);

  // Looks at some further peers, first at the tunnels; false when that were the last ones.
  [[nodiscard]] bool step(const state::State& state, size_t peers);
  // In order of place; at most kOverridesShownMax and one entry that counts the rest.
  [[nodiscard]] std::vector<config::ConfigError> take();

 private:
  struct Pair {
    const config::Tunnel* tunnel;
    const config::Peer* before;
    const config::Peer* after;
  };
  struct TunnelPair {
    const config::Tunnel* before;
    const config::Tunnel* after;
  };
  void look(const state::State& state, const Pair& pair);
  void look(const state::State& state, const TunnelPair& pair);
  void note(const config::Tunnel& tunnel, config::Location at, std::string what);

  std::shared_ptr<const config::Config> before_, after_;
  std::vector<TunnelPair> tunnels_;  // of both files, not looked at yet
  std::vector<Pair> pairs_;  // peers of both files
  size_t at_ = 0;
  size_t more_ = 0;
  std::vector<config::ConfigError> found_;
};

}  // namespace turnpike::gateway

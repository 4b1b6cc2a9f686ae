#include "control/daemon/exports.h"

#include <algorithm>
#include <utility>

namespace turnpike::daemon {

Exports::Exports(Parts parts)
    : parts_(std::move(parts)), offload_(std::make_shared<const api::Offload>(parts_.offload)) {}

void Exports::begin(const api::ExportRequest& request,
                    std::function<void(api::RunningAnswer)> answer) {
  std::erase_if(running_, [](const Running& running) { return running.config.expired(); });
  const bool reader = request.access != api::Access::All;
  const auto readers = std::ranges::count(running_, true, &Running::reader);
  if (running_.size() >= kAtATime || (reader && static_cast<size_t>(readers) >= kOfReaders)) {
    return answer(api::Busy{"other exports are being written; try again"});
  }
  if (request.with_keys) parts_.keys_given(request.caller);
  // An answer may be sent for longer than the daemon lives.
  const std::shared_ptr<gateway::RunningConfig> running(
      new gateway::RunningConfig,
      [offload = std::weak_ptr(offload_)](gateway::RunningConfig* made) {
        const auto owned = std::make_shared<std::unique_ptr<gateway::RunningConfig>>(made);
        if (const auto elsewhere = offload.lock()) (*elsewhere)([owned] { owned->reset(); }, [] {});
      });
  running_.push_back({.config = running, .reader = reader});
  parts_.submit({.make =
                     [running, &topology = parts_.topology, started = parts_.started,
                      applied = parts_.applied()](const state::State& state) {
                       *running = gateway::running_config(state, topology, *started, *applied);
                       return state::Transaction{};
                     },
                 .large = true,
                 .dry_run = true,
                 .amend = {},
                 .stage = {},
                 .entry = {},
                 .file = {},
                 .confirm = {},
                 .settles = {},
                 .answer =
                     [running, answer = std::move(answer)](gateway::Committer::Outcome outcome) {
                       if (auto* failure = std::get_if<gateway::Committer::Failure>(&outcome)) {
                         return answer(api::CommitFailure{.what = std::move(failure->what)});
                       }
                       answer(std::shared_ptr<const gateway::RunningConfig>(running));
                     }});
}

}  // namespace turnpike::daemon

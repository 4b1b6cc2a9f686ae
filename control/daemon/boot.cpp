#include "control/daemon/boot.h"

#include <thread>

#include "control/state/plan.h"
#include "control/state/undo.h"

namespace turnpike::daemon {
namespace {

// While the session thread takes over what is new.
constexpr std::chrono::microseconds kPollEvery{50};

}  // namespace

Result<void, std::string> Boot::restore(store::Loaded& loaded, gateway::Topology topology) {
  if (!gateway_.set_topology(std::move(topology))) {
    return fail(std::string("memory for the routes is short"));
  }
  if (loaded.generation == 0) return {};
  const state::Change content = std::move(loaded.content);
  if (auto prepared = gateway_.prepare(content); !prepared) return prepared;
  state_ = state::State(content.base, content.next_peer_id);
  if (content.empty()) {  // everything was removed again
    state_ = state::State(loaded.generation, content.next_peer_id);
  } else {
    state_.apply(content);
  }
  publish(loaded.generation);
  return {};
}

Result<void, Boot::Refused> Boot::commit(Commit commit) {
  auto planned = state::plan(state_, commit.transaction);
  if (!planned) return fail(Refused(std::move(planned.error())));
  state::Change& change = *planned;
  gateway::Topology topology;
  if (commit.topology) {
    topology = gateway::with_removed_tunnels(std::move(*commit.topology), gateway_.topology());
    change.topology = topology != gateway_.topology();
  }
  const bool changes = !change.empty();
  if (!changes && (commit.file == nullptr || commit.file->empty()) && commit.settles.empty())
    return {};

  store::Record record{.change = {},
                       .entry = std::move(commit.entry),
                       .undo = store::encode(state::undo(state_, change)),
                       .file = std::move(commit.file),
                       .unconfirmed = {},
                       .settled = std::move(commit.settles)};
  if (changes) {
    auto prepared = gateway_.prepare(change);
    if (prepared && change.topology && !gateway_.stage_topology(std::move(topology))) {
      gateway_.abort();
      prepared = fail(std::string("memory for the routes is short"));
    }
    if (!prepared) return fail(Refused(std::move(prepared.error())));
    record.entry.generation = state_.generation() + 1;
    record.entry.comment = commit.transaction.comment;
    record.change = std::make_shared<const state::Change>(change);
  }
  const store::Entry entry = std::move(record);
  if (auto written = store_.write({&entry, 1}); !written) {
    if (changes) gateway_.abort();
    return fail(Refused(std::move(written.error())));
  }
  if (changes) publish(state_.apply(change));
  return {};
}

void Boot::publish(Generation generation) {
  gateway_.seal(generation);
  gateway_.commit(now_(), {});
  while (gateway_.poll(now_())) std::this_thread::sleep_for(kPollEvery);
}

}  // namespace turnpike::daemon

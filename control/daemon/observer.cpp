#include "control/daemon/observer.h"

#include "dataplane/base/text.h"

namespace turnpike::daemon {
namespace {

// A burst of events is worked off in pieces; the next drain goes on.
constexpr size_t kEventsAtOnce = 64;

void add_caller(api::EventLine& line, const api::Caller& caller) {
  line.number("uid", caller.uid).number("pid", static_cast<uint64_t>(caller.pid));
}

const char* name_of(session::EventKind kind) {
  switch (kind) {
    case session::EventKind::HandshakeDone:
      return "handshake_done";
    case session::EventKind::PeerRoamed:
      return "peer_roamed";
    case session::EventKind::PeerSilent:
      return "peer_silent";
    case session::EventKind::UnknownKey:
      return "unknown_key";
  }
  return "";
}

}  // namespace

void Observer::committed(const gateway::Committer::Done& done, const api::Caller& caller,
                         WallTime at) {
  ++totals_.commits;
  if (!hub_.heard()) return;
  api::EventLine line("committed", at);
  line.number("generation", done.generation).boolean("visible", done.seen.visible);
  add_caller(line, caller);
  if (!done.comment.empty()) line.text("comment", done.comment);
  publish(line);
}

void Observer::refused(const state::Refusal& refusal, const api::Caller& caller, WallTime at) {
  ++totals_.refusals;
  if (!hub_.heard()) return;
  api::EventLine line("refused", at);
  line.number("generation", refusal.generation).number("conflicts", refusal.conflicts.size());
  line.text("detail", state::describe(refusal.conflicts.front()));
  add_caller(line, caller);
  publish(line);
}

void Observer::failed(const std::string& what, const api::Caller& caller, WallTime at) {
  ++totals_.commit_failures;
  if (!hub_.heard()) return;
  api::EventLine line("refused", at);
  line.number("conflicts", 0).text("detail", what);
  add_caller(line, caller);
  publish(line);
}

void Observer::reloaded(const api::FileAnswer& answer, WallTime at) {
  const auto* done = std::get_if<api::Committed>(&answer);
  totals_.last_reload_good = done != nullptr;
  ++(done != nullptr ? totals_.reloads : totals_.failed_reloads);
  if (done != nullptr) totals_.last_reload = at;
  if (!hub_.heard()) return;
  api::EventLine line("reload", at);
  line.boolean("applied", done != nullptr);
  if (done != nullptr) {
    line.boolean("changed", done->changed).number("generation", done->generation);
    line.number("warnings", done->warnings.size());
  } else if (const auto* mistakes = std::get_if<api::FileMistakes>(&answer)) {
    line.number("mistakes", mistakes->mistakes.size());
    line.text("detail", config::to_string(mistakes->mistakes.front()));
  } else if (const auto* conflicts = std::get_if<api::FileConflicts>(&answer)) {
    line.number("conflicts", conflicts->at.size());
    line.text("detail", config::to_string(conflicts->at.front()));
  } else {
    line.text("detail", std::get<api::CommitFailure>(answer).what);
  }
  publish(line);
}

void Observer::start_refused() {
  totals_.last_reload_good = false;
  ++totals_.failed_reloads;
  totals_.last_reload = {};
}

void Observer::rolled_back(Generation generation, std::string_view why, WallTime at) {
  if (!hub_.heard()) return;
  api::EventLine line("rollback", at);
  line.number("generation", generation).text("why", why);
  publish(line);
}

void Observer::port_changed(const std::string& port, bool up, WallTime at) {
  if (!hub_.heard()) return;
  api::EventLine line(up ? "port_up" : "port_down", at);
  line.text("port", port);
  publish(line);
}

void Observer::drain(session::EventQueue& queue, const std::function<std::string(PeerRef)>& label,
                     const std::function<std::string(TunnelIndex)>& tunnel) {
  totals_.events_lost = queue.lost();
  for (size_t i = 0; i < kEventsAtOnce; ++i) {
    const auto event = queue.pop();
    if (!event) return;
    if (!hub_.heard()) continue;
    const bool unknown = event->kind == session::EventKind::UnknownKey;
    const std::string peer = unknown ? "" : label(event->peer);
    if (!unknown && peer.empty()) continue;  // removed meanwhile
    api::EventLine line(name_of(event->kind), event->at);
    line.text("tunnel", tunnel(event->tunnel));
    if (unknown) {
      line.text("public_key", base::key_to_base64(event->key.bytes));
    } else {
      line.text("peer", peer);
    }
    if (!event->endpoint.is_none()) line.text("endpoint", to_string(event->endpoint));
    if (!event->before.is_none()) line.text("before", to_string(event->before));
    publish(line);
  }
}

}  // namespace turnpike::daemon

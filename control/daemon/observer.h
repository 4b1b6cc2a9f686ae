// What happens in the gateway, told to whoever listens and counted for metrics.
//   Threads: control.
#pragma once

#include <functional>
#include <string>

#include "control/api/backend.h"
#include "control/api/events.h"
#include "control/gateway/committer.h"
#include "control/session/events.h"

namespace turnpike::daemon {

class Observer {
 public:
  explicit Observer(WallTime started) { totals_.started = totals_.last_reload = started; }

  void committed(const gateway::Committer::Done& done, const api::Caller& caller, WallTime at);
  void refused(const state::Refusal& refusal, const api::Caller& caller, WallTime at);
  void failed(const std::string& what, const api::Caller& caller, WallTime at);
  void reloaded(const api::FileAnswer& answer, WallTime at);
  // At start, before anybody listens: the gateway runs without what was edited in the file.
  void start_refused();
  // A commit that takes another one back, beside committed().
  void rolled_back(Generation generation, std::string_view why, WallTime at);

  void port_changed(const std::string& port, bool up, WallTime at);

  // What the session thread said since. `label`: how the peer in a slot is called; empty: it has gone.
  void drain(session::EventQueue& queue, const std::function<std::string(PeerRef)>& label,
             const std::function<std::string(TunnelIndex)>& tunnel);

  [[nodiscard]] std::unique_ptr<api::BodySource> listen(api::Access access) {
    return hub_.listen(access);
  }
  [[nodiscard]] const api::Totals& totals() const noexcept { return totals_; }
  [[nodiscard]] uint64_t readers_cut_off() const noexcept { return hub_.cut_off(); }

 private:
  void publish(api::EventLine& line) { hub_.publish(line.take()); }

  api::EventHub hub_;
  api::Totals totals_;  // those that are counted here
};

}  // namespace turnpike::daemon

// The gateway's commands, carried out by the session thread.
//   Threads: control.
#pragma once

#include "control/gateway/session_link.h"
#include "control/session/session_thread.h"

namespace turnpike::daemon {

class ThreadSessionLink final : public gateway::SessionLink {
 public:
  explicit ThreadSessionLink(session::SessionThread& thread) : thread_(thread) {}
  [[nodiscard]] uint64_t post(std::vector<gateway::SessionCommand> commands) override;
  [[nodiscard]] bool done(uint64_t ticket) override;
  void publish(const publish::Snapshot* snapshot) override { thread_.publish(snapshot); }

 private:
  session::SessionThread& thread_;
};

}  // namespace turnpike::daemon

#include "control/daemon/thread_session_link.h"

#include <algorithm>
#include <memory>

namespace turnpike::daemon {
namespace {

// Between two steps the session thread looks after packets.
constexpr size_t kCommandsAtOnce = 16;

std::optional<Endpoint> endpoint_or_none(const Endpoint& endpoint) {
  if (endpoint.is_none()) return std::nullopt;
  return endpoint;
}

struct CarryOut {
  session::Session& session;

  void operator()(const gateway::SetTunnel& c) const {
    session.set_tunnel(c.tunnel, c.private_key);
  }
  void operator()(const gateway::RemoveTunnel& c) const { session.remove_tunnel(c.tunnel); }
  void operator()(const gateway::AddPeer& c) const {
    session.add_peer({.ref = c.settings.peer,
                      .tunnel = c.settings.tunnel,
                      .public_key = c.settings.public_key,
                      .preshared_key = c.settings.preshared_key,
                      .endpoint = endpoint_or_none(c.settings.endpoint),
                      .persistent_keepalive_seconds = c.settings.persistent_keepalive_seconds});
  }
  void operator()(const gateway::SetPeer& c) const {
    session.set_peer(c.peer, {.preshared_key = c.preshared_key,
                              .endpoint = c.endpoint,
                              .persistent_keepalive_seconds = c.persistent_keepalive_seconds});
  }
  void operator()(const gateway::RemovePeer& c) const { session.remove_peer(c.peer); }
};

}  // namespace

uint64_t ThreadSessionLink::post(std::vector<gateway::SessionCommand> commands) {
  auto all = std::make_shared<const std::vector<gateway::SessionCommand>>(std::move(commands));
  return thread_.post_steps([all, next = size_t{0}](session::Session& session) mutable {
    const size_t end = std::min(next + kCommandsAtOnce, all->size());
    for (; next < end; ++next) std::visit(CarryOut{session}, (*all)[next]);
    return next == all->size();
  });
}

bool ThreadSessionLink::done(uint64_t ticket) {
  thread_.pump();
  return thread_.completed() >= ticket;
}

}  // namespace turnpike::daemon

#include "control/daemon/thread_session_link.h"

#include <algorithm>

namespace turnpike::daemon {
namespace {

// Adding a peer costs the session thread one X25519 operation; between two chunks it looks after handshakes.
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
  uint64_t ticket = 0;
  for (size_t from = 0; from < commands.size(); from += kCommandsAtOnce) {
    const size_t to = std::min(from + kCommandsAtOnce, commands.size());
    std::vector<gateway::SessionCommand> chunk(
        std::make_move_iterator(commands.begin() + static_cast<std::ptrdiff_t>(from)),
        std::make_move_iterator(commands.begin() + static_cast<std::ptrdiff_t>(to)));
    ticket = thread_.post([chunk = std::move(chunk)](session::Session& session) {
      for (const gateway::SessionCommand& command : chunk) std::visit(CarryOut{session}, command);
    });
  }
  return ticket;
}

}  // namespace turnpike::daemon

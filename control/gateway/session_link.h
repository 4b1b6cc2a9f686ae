// What control asks of the session thread: commands in order, each acknowledged when it has been carried
// out. An interface, so that the gateway can be tested without a thread.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/keys.h"
#include "dataplane/publish/snapshot.h"

namespace turnpike::gateway {

struct SetTunnel {
  TunnelIndex tunnel = kNoTunnel;
  PrivateKey private_key;
};
struct RemoveTunnel {
  TunnelIndex tunnel = kNoTunnel;
};

struct PeerSettings {
  PeerRef peer;
  TunnelIndex tunnel = kNoTunnel;
  PublicKey public_key;
  PresharedKey preshared_key;  // zero: none
  Endpoint endpoint;  // none: the peer must speak first
  uint16_t persistent_keepalive_seconds = 0;
};
struct AddPeer {
  PeerSettings settings;
};
// What is set is changed.
struct SetPeer {
  PeerRef peer;
  std::optional<PresharedKey> preshared_key;
  std::optional<Endpoint> endpoint;
  std::optional<uint16_t> persistent_keepalive_seconds;
};
struct RemovePeer {
  PeerRef peer;
};

using SessionCommand = std::variant<SetTunnel, RemoveTunnel, AddPeer, SetPeer, RemovePeer>;

class SessionLink {
 public:
  virtual ~SessionLink() = default;
  // Carried out in order, soon, however many there are; the caller never waits. Returns a ticket for done().
  [[nodiscard]] virtual uint64_t post(std::vector<SessionCommand> commands) = 0;
  // All of it.
  [[nodiscard]] virtual bool done(uint64_t ticket) = 0;
  // The snapshot that the next turn uses. The caller retires the old one.
  virtual void publish(const publish::Snapshot* snapshot) = 0;
};

}  // namespace turnpike::gateway

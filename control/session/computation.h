// The parts of a handshake that take long, each some X25519, as values: what the session thread asks, and what comes
// out. Where a configuration has several session threads, the first keeps all state and the others work these out.
//   OpenInitiation -> CreateResponse             as responder
//   CreateInitiation ... ConsumeResponse         as initiator
//   Threads:   run() on whichever thread has it; everything else on the session thread.
//   Ownership: on the session thread itself a computation works on the peer's own handshake state; before it is handed
//              to another thread, detach() makes it work on a copy. What the copy has become is brought back only if
//              it still fits (session_computations.cpp). Secrets are wiped when it dies.
#pragma once

#include <memory>
#include <optional>
#include <variant>

#include "dataplane/base/ids.h"
#include "dataplane/base/random.h"
#include "dataplane/publish/rings.h"
#include "dataplane/wireguard/handshake.h"

namespace turnpike::session {

using Identity = std::shared_ptr<const wireguard::StaticIdentity>;

// A datagram of a handshake with where it came from; the worker sends the answer.
template <typename Datagram>
struct Received {
  WorkerIndex worker = 0;
  publish::PuntHeader header;
  Datagram datagram{};
};

// The state of a handshake, or a copy of it.
class HandshakeState {
 public:
  explicit HandshakeState(wireguard::PeerHandshake& own) noexcept : own_(&own) {}
  void detach() { copy_.emplace(*own_); }
  [[nodiscard]] bool detached() const noexcept { return copy_.has_value(); }
  [[nodiscard]] wireguard::PeerHandshake& operator*() noexcept { return copy_ ? *copy_ : *own_; }
  [[nodiscard]] wireguard::PeerHandshake* operator->() noexcept { return &**this; }

 private:
  wireguard::PeerHandshake* own_;  // once detached, another thread must not look at it
  std::optional<wireguard::PeerHandshake> copy_;
};

struct OpenInitiation {
  Identity identity;
  Received<wireguard::InitiationBytes> received;
  Result<wireguard::OpenedInitiation, wireguard::HandshakeRefusal> opened =
      fail(wireguard::HandshakeRefusal::Malformed);

  void detach() noexcept {}
  void run(RandomSource& random) noexcept;
};

struct CreateResponse {
  PeerRef peer;
  HandshakeState handshake;
  wireguard::AcceptedInitiation accepted;
  uint64_t acceptance = 0;  // Peer::acceptances then: only the newest is answered
  uint32_t local_index = 0;  // reserved
  Instant now;
  Result<wireguard::CreatedResponse, wireguard::HandshakeRefusal> created =
      fail(wireguard::HandshakeRefusal::Malformed);

  void detach() { handshake.detach(); }
  void run(RandomSource& random) noexcept;
};

struct CreateInitiation {
  PeerRef peer;
  HandshakeState handshake;
  Identity identity;
  uint64_t attempt = 0;  // Peer::attempts then
  uint32_t local_index = 0;  // reserved
  Now now;
  Result<wireguard::InitiationBytes, wireguard::HandshakeRefusal> datagram =
      fail(wireguard::HandshakeRefusal::Malformed);

  void detach() { handshake.detach(); }
  void run(RandomSource& random) noexcept;
};

struct ConsumeResponse {
  PeerRef peer;
  HandshakeState handshake;
  Identity identity;
  Received<wireguard::ResponseBytes> received;
  Result<wireguard::DerivedKeys, wireguard::HandshakeRefusal> keys =
      fail(wireguard::HandshakeRefusal::Malformed);

  void detach() { handshake.detach(); }
  void run(RandomSource& random) noexcept;
};

using Computation =
    std::variant<std::monostate, OpenInitiation, CreateResponse, CreateInitiation, ConsumeResponse>;

}  // namespace turnpike::session

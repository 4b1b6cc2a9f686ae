// The handshake as functions from (state, bytes, now, random) to (state, bytes to send, keys).
//   Initiator: create_initiation() ... consume_response().
//   Responder: check_mac1(), open_initiation(), look the peer up, accept_initiation(),
//   create_response(). Threads:   a PeerHandshake belongs to one thread (its session thread);
//   StaticIdentity is read-only. Ownership: values; what is secret is wiped when it dies. Failure:
//   a refusal leaves every state as it was.
#pragma once

#include <cstdint>

#include "dataplane/base/keys.h"
#include "dataplane/base/random.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"
#include "dataplane/wireguard/cookie.h"
#include "dataplane/wireguard/keypair.h"
#include "dataplane/wireguard/messages.h"
#include "dataplane/wireguard/noise.h"
#include "dataplane/wireguard/tai64n.h"

namespace turnpike::wireguard {

// One tunnel's own key with what is derived from it.
struct StaticIdentity {
  PrivateKey private_key;
  PublicKey public_key;
  PublicMacKeys mac_keys;

  [[nodiscard]] static StaticIdentity of(const PrivateKey& key) noexcept;
};

// All that the handshake with one peer remembers. When the tunnel's private key changes, it is
// built anew; `last_sent` and `latest_received` are carried over.
struct PeerHandshake {
  PublicKey remote_static;
  PresharedKey preshared_key;  // all zero: none; may be changed at any time
  // Half the cost of an initiation, hence computed once, by derive(). Nothing may be done with a peer
  // before that, or whose key is of low order or our own: `usable` is false, and every function below
  // refuses.
  SharedSecret static_static;
  bool derived = false;
  bool usable = false;
  CookieJar cookies;

  WallTime last_sent;  // timestamp of the newest initiation sent; may be set ahead
  Tai64n latest_received;  // of the newest accepted; older ones are replays
  Instant accepted_at;  // when that was

  // Our initiation that waits for its response.
  struct InFlight {
    bool active = false;
    uint32_t local_index = 0;
    PrivateKey ephemeral;
    NoiseState noise;
  } in_flight;

  // Without what needs X25519, so that a peer that never speaks costs none: many are added at once.
  [[nodiscard]] static PeerHandshake of(const PublicKey& remote,
                                        const PresharedKey& preshared_key) noexcept;
  // Derived already.
  [[nodiscard]] static PeerHandshake of(const StaticIdentity& identity, const PublicKey& remote,
                                        const PresharedKey& preshared_key) noexcept;
  // Once for each identity; returns `usable`.
  bool derive(const StaticIdentity& identity) noexcept;
  // Forgets the initiation in flight, its secrets wiped.
  void abandon() noexcept;
};

// The two keys of a session from one side's view.
struct DerivedKeys {
  SessionKey sending;
  SessionKey receiving;
  uint32_t local_index = 0;
  uint32_t remote_index = 0;
  Role role = Role::Initiator;
};

// A keypair fresh from its arena becomes this session's: the counters are at their start.
void assign_keys(Keypair& keypair, const DerivedKeys& keys, PeerRef peer, TunnelIndex tunnel,
                 Instant created_at) noexcept;

enum class HandshakeRefusal : uint8_t {
  Malformed,  // type or length
  NotAuthentic,  // a tag is wrong, or a key in the message is of low order
  UnusablePeer,  // the peer's static key is of low order, or our own
  WrongPeer,  // accept_initiation() was given somebody else
  Replayed,  // the timestamp is not after the latest accepted
  TooSoon,  // within kInitiationInterval of the last accepted
  NotAwaited,  // a response, but no initiation with this index is in flight
};
[[nodiscard]] std::string_view to_string(HandshakeRefusal refusal) noexcept;

// Overwrites an initiation in flight: only the newest can be answered. Signed with mac1, and mac2
// where a cookie is fresh. Refuses an unusable peer only.
[[nodiscard]] Result<InitiationBytes, HandshakeRefusal> create_initiation(
    const StaticIdentity& identity, PeerHandshake& peer, uint32_t local_index, const Now& now,
    RandomSource& random) noexcept;

// An initiation whose sender's static key is decrypted, but not yet known to be its sender.
struct OpenedInitiation {
  PublicKey remote_static;
  PublicKey remote_ephemeral;
  uint32_t remote_index = 0;
  std::array<uint8_t, kTimestampBytes + kTagBytes> encrypted_timestamp{};
  NoiseState noise;
};
[[nodiscard]] Result<OpenedInitiation, HandshakeRefusal> open_initiation(
    const StaticIdentity& identity, Bytes datagram) noexcept;

// An authentic initiation of a known peer, not replayed; it is to be answered.
struct AcceptedInitiation {
  PublicKey remote_ephemeral;
  uint32_t remote_index = 0;
  NoiseState noise;
};
// Remembers the timestamp in `peer`. Our own initiation in flight, if any, goes on.
[[nodiscard]] Result<AcceptedInitiation, HandshakeRefusal> accept_initiation(
    const OpenedInitiation& opened, PeerHandshake& peer, Instant now) noexcept;

struct CreatedResponse {
  ResponseBytes datagram;
  DerivedKeys keys;
};
// Changes only the cookie jar's memory of mac1.
[[nodiscard]] Result<CreatedResponse, HandshakeRefusal> create_response(
    const AcceptedInitiation& accepted, PeerHandshake& peer, uint32_t local_index, Instant now,
    RandomSource& random) noexcept;

// Ends the initiation in flight when the response is authentic.
[[nodiscard]] Result<DerivedKeys, HandshakeRefusal> consume_response(const StaticIdentity& identity,
                                                                     PeerHandshake& peer,
                                                                     Bytes datagram) noexcept;

}  // namespace turnpike::wireguard

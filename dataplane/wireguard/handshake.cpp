#include "dataplane/wireguard/handshake.h"

#include <cstring>
#include <string_view>

#include "dataplane/base/check.h"
#include "dataplane/crypto/x25519.h"

namespace turnpike::wireguard {
namespace {

constexpr std::string_view kIdentifier = "WireGuard v1 zx2c4 Jason@zx2c4.com";

Bytes identifier() noexcept {
  return {reinterpret_cast<const uint8_t*>(kIdentifier.data()), kIdentifier.size()};
}

Ephemeral make_ephemeral(RandomSource& random) noexcept {
  Ephemeral ephemeral;
  ephemeral.private_key = crypto::generate_private_key(random);
  ephemeral.public_key = crypto::public_key(ephemeral.private_key);
  return ephemeral;
}

}  // namespace

StaticIdentity StaticIdentity::of(const PrivateKey& key) noexcept {
  StaticIdentity identity;
  identity.private_key = key;
  identity.public_key = crypto::public_key(key);
  identity.mac_keys = derive_mac_keys(identity.public_key);
  return identity;
}

PeerHandshake PeerHandshake::of(const PublicKey& remote,
                                const PresharedKey& preshared_key) noexcept {
  PeerHandshake peer;
  peer.remote_static = remote;
  peer.preshared_key = preshared_key;
  peer.cookies = CookieJar(derive_mac_keys(remote));
  return peer;
}

PeerHandshake PeerHandshake::of(const StaticIdentity& identity, const PublicKey& remote,
                                const PresharedKey& preshared_key) noexcept {
  PeerHandshake peer = of(remote, preshared_key);
  peer.derive(identity);
  return peer;
}

bool PeerHandshake::derive(const StaticIdentity& identity) noexcept {
  if (!derived) {
    usable = remote_static != identity.public_key &&
             crypto::shared_secret(identity.private_key, remote_static, static_static);
    derived = true;
  }
  return usable;
}

void PeerHandshake::abandon() noexcept { in_flight = InFlight{}; }

void assign_keys(Keypair& keypair, const DerivedKeys& keys, PeerRef peer, TunnelIndex tunnel,
                 Instant created_at) noexcept {
  DCHECK(keypair.sending().counter.load(std::memory_order_relaxed) == 0);
  std::memcpy(keypair.sending().key.data(), keys.sending.bytes().data(), kKeyBytes);
  std::memcpy(keypair.receiving_key.data(), keys.receiving.bytes().data(), kKeyBytes);
  keypair.set_created_at(created_at);
  keypair.sending().remote_index = keys.remote_index;
  keypair.sending().role = keys.role;
  keypair.peer = peer;
  keypair.tunnel = tunnel;
  // The response that ended the handshake has shown the initiator that the responder has the key.
  keypair.confirmed.store(keys.role == Role::Initiator, std::memory_order_relaxed);
}

std::string_view to_string(HandshakeRefusal refusal) noexcept {
  switch (refusal) {
    case HandshakeRefusal::Malformed:
      return "malformed";
    case HandshakeRefusal::NotAuthentic:
      return "not authentic";
    case HandshakeRefusal::UnusablePeer:
      return "unusable peer";
    case HandshakeRefusal::WrongPeer:
      return "wrong peer";
    case HandshakeRefusal::Replayed:
      return "replayed";
    case HandshakeRefusal::TooSoon:
      return "too soon";
    case HandshakeRefusal::NotAwaited:
      return "not awaited";
  }
  return "";
}

Result<InitiationBytes, HandshakeRefusal> create_initiation(const StaticIdentity& identity,
                                                            PeerHandshake& peer,
                                                            uint32_t local_index, const Now& now,
                                                            RandomSource& random) noexcept {
  if (!peer.usable) return fail(HandshakeRefusal::UnusablePeer);
  const Ephemeral ephemeral = make_ephemeral(random);
  WallTime last_sent = peer.last_sent;
  const Tai64n timestamp = next_tai64n(now.wall, last_sent);
  Initiation message{.sender_index = local_index, .ephemeral = ephemeral.public_key};
  NoiseState noise = noise_begin(identifier(), peer.remote_static);
  if (!noise_write_first(noise, ephemeral, identity.public_key, peer.remote_static,
                         peer.static_static, timestamp.bytes, message.encrypted_static,
                         message.encrypted_timestamp)) {
    return fail(HandshakeRefusal::UnusablePeer);
  }
  InitiationBytes datagram = write_initiation(message);
  peer.cookies.write_macs(datagram, now.instant);
  peer.last_sent = last_sent;
  peer.in_flight = {.active = true,
                    .local_index = local_index,
                    .ephemeral = ephemeral.private_key,
                    .noise = noise};
  return datagram;
}

Result<OpenedInitiation, HandshakeRefusal> open_initiation(const StaticIdentity& identity,
                                                           Bytes datagram) noexcept {
  const auto message = parse_initiation(datagram);
  if (!message) return fail(HandshakeRefusal::Malformed);
  OpenedInitiation opened;
  opened.remote_ephemeral = message->ephemeral;
  opened.remote_index = message->sender_index;
  opened.encrypted_timestamp = message->encrypted_timestamp;
  opened.noise = noise_begin(identifier(), identity.public_key);
  const auto remote = noise_read_first_static(opened.noise, identity.private_key,
                                              message->ephemeral, message->encrypted_static);
  if (!remote) return fail(HandshakeRefusal::NotAuthentic);
  opened.remote_static = *remote;
  return opened;
}

Result<AcceptedInitiation, HandshakeRefusal> accept_initiation(const OpenedInitiation& opened,
                                                               PeerHandshake& peer,
                                                               Instant now) noexcept {
  if (opened.remote_static != peer.remote_static) return fail(HandshakeRefusal::WrongPeer);
  if (!peer.usable) return fail(HandshakeRefusal::UnusablePeer);
  AcceptedInitiation accepted{.remote_ephemeral = opened.remote_ephemeral,
                              .remote_index = opened.remote_index,
                              .noise = opened.noise};
  Tai64n timestamp;
  if (!noise_read_first_payload(accepted.noise, peer.static_static, opened.encrypted_timestamp,
                                timestamp.bytes)) {
    return fail(HandshakeRefusal::NotAuthentic);
  }
  if (timestamp <= peer.latest_received) return fail(HandshakeRefusal::Replayed);
  if (!peer.accepted_at.is_never() && now - peer.accepted_at < kInitiationInterval) {
    return fail(HandshakeRefusal::TooSoon);
  }
  peer.latest_received = timestamp;
  peer.accepted_at = now;
  return accepted;
}

Result<CreatedResponse, HandshakeRefusal> create_response(const AcceptedInitiation& accepted,
                                                          PeerHandshake& peer, uint32_t local_index,
                                                          Instant now,
                                                          RandomSource& random) noexcept {
  const Ephemeral ephemeral = make_ephemeral(random);
  Response message{.sender_index = local_index,
                   .receiver_index = accepted.remote_index,
                   .ephemeral = ephemeral.public_key};
  NoiseState noise = accepted.noise;
  if (!noise_write_second(noise, ephemeral, accepted.remote_ephemeral, peer.remote_static,
                          peer.preshared_key, {}, message.encrypted_nothing)) {
    return fail(HandshakeRefusal::UnusablePeer);
  }
  CreatedResponse created{.datagram = write_response(message)};
  peer.cookies.write_macs(created.datagram, now);
  const TransportKeys keys = noise_split(noise);
  created.keys = {.sending = keys.from_responder,
                  .receiving = keys.from_initiator,
                  .local_index = local_index,
                  .remote_index = accepted.remote_index,
                  .role = Role::Responder};
  return created;
}

Result<DerivedKeys, HandshakeRefusal> consume_response(const StaticIdentity& identity,
                                                       PeerHandshake& peer,
                                                       Bytes datagram) noexcept {
  const auto message = parse_response(datagram);
  if (!message) return fail(HandshakeRefusal::Malformed);
  if (!peer.in_flight.active || message->receiver_index != peer.in_flight.local_index) {
    return fail(HandshakeRefusal::NotAwaited);
  }
  NoiseState noise = peer.in_flight.noise;
  if (!noise_read_second(noise, peer.in_flight.ephemeral, identity.private_key, message->ephemeral,
                         peer.preshared_key, message->encrypted_nothing, {})) {
    return fail(HandshakeRefusal::NotAuthentic);
  }
  const TransportKeys keys = noise_split(noise);
  const DerivedKeys derived{.sending = keys.from_initiator,
                            .receiving = keys.from_responder,
                            .local_index = peer.in_flight.local_index,
                            .remote_index = message->sender_index,
                            .role = Role::Initiator};
  peer.abandon();
  return derived;
}

}  // namespace turnpike::wireguard

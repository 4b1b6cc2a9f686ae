// Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s: the two messages of the pattern over any payload, in the
// order of its tokens
//   <- s   ...   -> e, es, s, ss, payload   <- e, ee, se, psk, payload
// handshake.h puts WireGuard's messages around it.
//   Threads:   pure functions of the state, any thread.
//   Ownership: a state and what it derives are secrets, wiped when they die.
//   Failure:   a function that returns false leaves the state in the middle: work on a copy or drop
//   it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"
#include "dataplane/crypto/blake2s.h"

namespace turnpike::wireguard {

using SessionKey = SecretKey<struct SessionKeyTag>;
using ChainingKey = SecretKey<struct ChainingKeyTag>;

struct NoiseState {
  ChainingKey chaining_key;
  crypto::Hash hash{};
};

// An X25519 key pair that lives for one handshake.
struct Ephemeral {
  PrivateKey private_key;
  PublicKey public_key;
};

// The state before the first message. `prologue` is WireGuard's identifier; `responder` is the
// static key that the initiator knows beforehand.
[[nodiscard]] NoiseState noise_begin(Bytes prologue, const PublicKey& responder) noexcept;

using EncryptedStatic = std::span<uint8_t, kKeyBytes + 16>;

// First message, initiator: writes its encrypted static key and payload (16 bytes longer than
// `payload`). False when `responder` is of low order.
[[nodiscard]] bool noise_write_first(NoiseState& state, const Ephemeral& ephemeral,
                                     const PublicKey& initiator, const PublicKey& responder,
                                     const SharedSecret& static_static, Bytes payload,
                                     EncryptedStatic encrypted_static,
                                     MutableBytes encrypted_payload) noexcept;

// First message, responder, up to the initiator's static key; nothing when it is not authentic.
// Whom the key belongs to gives the static-static secret for the rest.
[[nodiscard]] std::optional<PublicKey> noise_read_first_static(
    NoiseState& state, const PrivateKey& responder, const PublicKey& initiator_ephemeral,
    std::span<const uint8_t, kKeyBytes + 16> encrypted_static) noexcept;
[[nodiscard]] bool noise_read_first_payload(NoiseState& state, const SharedSecret& static_static,
                                            Bytes encrypted_payload, MutableBytes payload) noexcept;

// Second message, responder. False when a key of the initiator is of low order.
[[nodiscard]] bool noise_write_second(NoiseState& state, const Ephemeral& ephemeral,
                                      const PublicKey& initiator_ephemeral,
                                      const PublicKey& initiator, const PresharedKey& preshared_key,
                                      Bytes payload, MutableBytes encrypted_payload) noexcept;
// Second message, initiator.
[[nodiscard]] bool noise_read_second(NoiseState& state, const PrivateKey& ephemeral,
                                     const PrivateKey& initiator,
                                     const PublicKey& responder_ephemeral,
                                     const PresharedKey& preshared_key, Bytes encrypted_payload,
                                     MutableBytes payload) noexcept;

// After both messages: the key of the initiator's packets, and that of the responder's.
struct TransportKeys {
  SessionKey from_initiator;
  SessionKey from_responder;
};
[[nodiscard]] TransportKeys noise_split(const NoiseState& state) noexcept;

}  // namespace turnpike::wireguard

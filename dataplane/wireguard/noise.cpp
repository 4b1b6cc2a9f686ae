#include "dataplane/wireguard/noise.h"

#include <string_view>

#include "dataplane/crypto/chacha20poly1305.h"
#include "dataplane/crypto/x25519.h"

namespace turnpike::wireguard {
namespace {

using HandshakeKey = SecretKey<struct HandshakeKeyTag>;

constexpr std::string_view kConstruction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";

Bytes bytes_of(std::string_view text) noexcept {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void mix_hash(NoiseState& state, Bytes data) noexcept {
  state.hash = crypto::blake2s({state.hash, data});
}

// The token "e" under a psk pattern: the key goes into the hash and the chaining key.
void mix_ephemeral(NoiseState& state, const PublicKey& ephemeral) noexcept {
  mix_hash(state, ephemeral.bytes);
  crypto::kdf1(state.chaining_key.bytes(), ephemeral.bytes, state.chaining_key.bytes());
}

// A Diffie-Hellman token that is followed by something encrypted: gives the key for that.
HandshakeKey mix_secret_for_key(NoiseState& state, const SharedSecret& secret) noexcept {
  HandshakeKey key;
  crypto::kdf2(state.chaining_key.bytes(), secret.bytes(), state.chaining_key.bytes(), key.bytes());
  return key;
}

// One that is not.
void mix_secret(NoiseState& state, const SharedSecret& secret) noexcept {
  crypto::kdf1(state.chaining_key.bytes(), secret.bytes(), state.chaining_key.bytes());
}

HandshakeKey mix_preshared_key(NoiseState& state, const PresharedKey& preshared_key) noexcept {
  HandshakeKey key;
  SecretKey<struct MixTag> into_hash;
  crypto::kdf3(state.chaining_key.bytes(), preshared_key.bytes(), state.chaining_key.bytes(),
               into_hash.bytes(), key.bytes());
  mix_hash(state, into_hash.bytes());
  return key;
}

// Every key of the handshake is used once, hence the counter 0.
void encrypt_and_hash(NoiseState& state, const HandshakeKey& key, Bytes text,
                      MutableBytes out) noexcept {
  crypto::chacha20poly1305_seal(key.bytes(), crypto::nonce_of(0), text, state.hash, out);
  mix_hash(state, out);
}

bool decrypt_and_hash(NoiseState& state, const HandshakeKey& key, Bytes sealed,
                      MutableBytes out) noexcept {
  if (!crypto::chacha20poly1305_open(key.bytes(), crypto::nonce_of(0), sealed, state.hash, out))
    return false;
  mix_hash(state, sealed);
  return true;
}

}  // namespace

NoiseState noise_begin(Bytes prologue, const PublicKey& responder) noexcept {
  NoiseState state;
  // The name is longer than a hash, so that it is hashed (Noise, 5.2).
  state.hash = crypto::blake2s({bytes_of(kConstruction)});
  state.chaining_key = ChainingKey(state.hash);
  mix_hash(state, prologue);
  mix_hash(state, responder.bytes);
  return state;
}

bool noise_write_first(NoiseState& state, const Ephemeral& ephemeral, const PublicKey& initiator,
                       const PublicKey& responder, const SharedSecret& static_static, Bytes payload,
                       EncryptedStatic encrypted_static, MutableBytes encrypted_payload) noexcept {
  mix_ephemeral(state, ephemeral.public_key);
  SharedSecret secret;
  if (!crypto::shared_secret(ephemeral.private_key, responder, secret)) return false;
  encrypt_and_hash(state, mix_secret_for_key(state, secret), initiator.bytes, encrypted_static);
  encrypt_and_hash(state, mix_secret_for_key(state, static_static), payload, encrypted_payload);
  return true;
}

std::optional<PublicKey> noise_read_first_static(
    NoiseState& state, const PrivateKey& responder, const PublicKey& initiator_ephemeral,
    std::span<const uint8_t, kKeyBytes + 16> encrypted_static) noexcept {
  mix_ephemeral(state, initiator_ephemeral);
  SharedSecret secret;
  if (!crypto::shared_secret(responder, initiator_ephemeral, secret)) return std::nullopt;
  PublicKey initiator;
  if (!decrypt_and_hash(state, mix_secret_for_key(state, secret), encrypted_static,
                        initiator.bytes)) {
    return std::nullopt;
  }
  return initiator;
}

bool noise_read_first_payload(NoiseState& state, const SharedSecret& static_static,
                              Bytes encrypted_payload, MutableBytes payload) noexcept {
  return decrypt_and_hash(state, mix_secret_for_key(state, static_static), encrypted_payload,
                          payload);
}

bool noise_write_second(NoiseState& state, const Ephemeral& ephemeral,
                        const PublicKey& initiator_ephemeral, const PublicKey& initiator,
                        const PresharedKey& preshared_key, Bytes payload,
                        MutableBytes encrypted_payload) noexcept {
  mix_ephemeral(state, ephemeral.public_key);
  SharedSecret secret;
  if (!crypto::shared_secret(ephemeral.private_key, initiator_ephemeral, secret)) return false;
  mix_secret(state, secret);
  if (!crypto::shared_secret(ephemeral.private_key, initiator, secret)) return false;
  mix_secret(state, secret);
  encrypt_and_hash(state, mix_preshared_key(state, preshared_key), payload, encrypted_payload);
  return true;
}

bool noise_read_second(NoiseState& state, const PrivateKey& ephemeral, const PrivateKey& initiator,
                       const PublicKey& responder_ephemeral, const PresharedKey& preshared_key,
                       Bytes encrypted_payload, MutableBytes payload) noexcept {
  mix_ephemeral(state, responder_ephemeral);
  SharedSecret secret;
  if (!crypto::shared_secret(ephemeral, responder_ephemeral, secret)) return false;
  mix_secret(state, secret);
  if (!crypto::shared_secret(initiator, responder_ephemeral, secret)) return false;
  mix_secret(state, secret);
  return decrypt_and_hash(state, mix_preshared_key(state, preshared_key), encrypted_payload,
                          payload);
}

TransportKeys noise_split(const NoiseState& state) noexcept {
  TransportKeys keys;
  crypto::kdf2(state.chaining_key.bytes(), {}, keys.from_initiator.bytes(),
               keys.from_responder.bytes());
  return keys;
}

}  // namespace turnpike::wireguard

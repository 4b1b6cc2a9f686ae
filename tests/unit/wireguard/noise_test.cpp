#include "dataplane/wireguard/noise.h"

#include <gtest/gtest.h>

#include <cstring>

#include "dataplane/crypto/chacha20poly1305.h"
#include "dataplane/crypto/x25519.h"
#include "tests/unit/crypto/vector_files.h"

namespace turnpike::wireguard {
namespace {

using turnpike::test::Blob;

template <typename Key>
Key secret(const Blob& bytes) {
  return Key(std::span<const uint8_t, kKeyBytes>(bytes.data(), kKeyBytes));
}

Ephemeral ephemeral_of(const Blob& bytes) {
  Ephemeral ephemeral;
  ephemeral.private_key = secret<PrivateKey>(bytes);
  ephemeral.public_key = crypto::public_key(ephemeral.private_key);
  return ephemeral;
}

// Of bytes on the wire: ephemeral, then what the pattern encrypts.
PublicKey key_at(const Blob& bytes, size_t at) {
  PublicKey key;
  std::memcpy(key.bytes.data(), &bytes[at], kKeyBytes);
  return key;
}

Blob joined(std::initializer_list<Bytes> parts) {
  Blob out;
  for (const Bytes part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

TEST(Noise, WritesAndReadsTheTranscriptOfCacophony) {
  const auto vector = turnpike::test::load_noise();
  ASSERT_EQ(vector.messages.size(), 6u);
  const auto initiator = secret<PrivateKey>(vector.initiator_static);
  const auto responder = secret<PrivateKey>(vector.responder_static);
  const PublicKey initiator_public = crypto::public_key(initiator);
  const PublicKey responder_public = crypto::public_key(responder);
  ASSERT_EQ(responder_public, key_at(vector.responder_public, 0));
  const auto preshared_key = secret<PresharedKey>(vector.preshared_key);
  SharedSecret static_static;
  ASSERT_TRUE(crypto::shared_secret(initiator, responder_public, static_static));

  NoiseState at_initiator = noise_begin(vector.prologue, responder_public);
  NoiseState at_responder = noise_begin(vector.prologue, responder_public);
  const Ephemeral first = ephemeral_of(vector.initiator_ephemeral);
  const Ephemeral second = ephemeral_of(vector.responder_ephemeral);

  // -> e, es, s, ss
  {
    const auto& message = vector.messages[0];
    std::array<uint8_t, kKeyBytes + 16> encrypted_static;
    Blob payload(message.payload.size() + 16);
    ASSERT_TRUE(noise_write_first(at_initiator, first, initiator_public, responder_public,
                                  static_static, message.payload, encrypted_static, payload));
    EXPECT_EQ(joined({first.public_key.bytes, encrypted_static, payload}), message.ciphertext);

    const auto read = noise_read_first_static(at_responder, responder,
                                              key_at(message.ciphertext, 0), encrypted_static);
    ASSERT_EQ(read, initiator_public);
    Blob opened(message.payload.size());
    ASSERT_TRUE(noise_read_first_payload(at_responder, static_static, payload, opened));
    EXPECT_EQ(opened, message.payload);
  }
  // <- e, ee, se, psk
  {
    const auto& message = vector.messages[1];
    Blob payload(message.payload.size() + 16);
    ASSERT_TRUE(noise_write_second(at_responder, second, first.public_key, initiator_public,
                                   preshared_key, message.payload, payload));
    EXPECT_EQ(joined({second.public_key.bytes, payload}), message.ciphertext);
    Blob opened(message.payload.size());
    ASSERT_TRUE(noise_read_second(at_initiator, first.private_key, initiator,
                                  key_at(message.ciphertext, 0), preshared_key, payload, opened));
    EXPECT_EQ(opened, message.payload);
  }
  EXPECT_EQ(Blob(at_initiator.hash.begin(), at_initiator.hash.end()), vector.handshake_hash);
  EXPECT_EQ(at_responder.hash, at_initiator.hash);
  EXPECT_EQ(at_responder.chaining_key, at_initiator.chaining_key);

  // Transport: the first message after the handshake is the initiator's.
  const TransportKeys keys = noise_split(at_initiator);
  for (size_t i = 2; i < vector.messages.size(); ++i) {
    const auto& message = vector.messages[i];
    Blob sealed(message.payload.size() + 16);
    crypto::chacha20poly1305_seal((i % 2 == 0 ? keys.from_initiator : keys.from_responder).bytes(),
                                  crypto::nonce_of(i / 2 - 1), message.payload, {}, sealed);
    EXPECT_EQ(sealed, message.ciphertext) << i;
  }
}

}  // namespace
}  // namespace turnpike::wireguard

// Reads the files of tests/vectors/. A file that is missing or has another shape ends the test
// program.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace turnpike::test {

using Blob = std::vector<uint8_t>;

[[nodiscard]] Blob unhex(const std::string& text);

struct AeadVector {
  int id;
  Blob key, nonce, associated, text, sealed, tag;
  bool valid;
};
// "chacha20_poly1305_test.json" and the like; only those with a nonce of `nonce_bytes`.
[[nodiscard]] std::vector<AeadVector> load_aead(const std::string& file, size_t nonce_bytes);

struct X25519Vector {
  int id;
  Blob public_key, private_key, shared;
};
[[nodiscard]] std::vector<X25519Vector> load_x25519();

struct Blake2sVector {
  Blob in, key, hash;
};
[[nodiscard]] std::vector<Blake2sVector> load_blake2s();

struct NoiseVector {
  Blob prologue, preshared_key, initiator_static, initiator_ephemeral, responder_static,
      responder_ephemeral, responder_public, handshake_hash;
  struct Message {
    Blob payload, ciphertext;
  };
  std::vector<Message> messages;
};
[[nodiscard]] NoiseVector load_noise();

}  // namespace turnpike::test

#include "tests/unit/crypto/vector_files.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "dataplane/base/check.h"
#include "dataplane/base/text.h"

namespace turnpike::test {
namespace {

using nlohmann::json;

std::ifstream open_vectors(const std::string& file) {
  std::ifstream in(std::string(TURNPIKE_VECTORS) + "/" + file);
  CHECK(in.good());
  return in;
}

}  // namespace

Blob unhex(const std::string& text) {
  Blob out(text.size() / 2);
  CHECK(base::from_hex(text, out));
  return out;
}

std::vector<AeadVector> load_aead(const std::string& file, size_t nonce_bytes) {
  auto in = open_vectors(file);
  std::vector<AeadVector> vectors;
  const json document = json::parse(in);
  for (const json& group : document.at("testGroups")) {
    if (group.at("ivSize") != nonce_bytes * 8) continue;
    for (const json& test : group.at("tests")) {
      vectors.push_back({.id = test.at("tcId"),
                         .key = unhex(test.at("key")),
                         .nonce = unhex(test.at("iv")),
                         .associated = unhex(test.at("aad")),
                         .text = unhex(test.at("msg")),
                         .sealed = unhex(test.at("ct")),
                         .tag = unhex(test.at("tag")),
                         .valid = test.at("result") == "valid"});
    }
  }
  return vectors;
}

std::vector<X25519Vector> load_x25519() {
  auto in = open_vectors("x25519_test.json");
  std::vector<X25519Vector> vectors;
  const json document = json::parse(in);
  for (const json& group : document.at("testGroups")) {
    for (const json& test : group.at("tests")) {
      vectors.push_back({.id = test.at("tcId"),
                         .public_key = unhex(test.at("public")),
                         .private_key = unhex(test.at("private")),
                         .shared = unhex(test.at("shared"))});
    }
  }
  return vectors;
}

std::vector<Blake2sVector> load_blake2s() {
  auto in = open_vectors("blake2s-kat.txt");
  std::vector<Blake2sVector> vectors;
  // Lines "in:", "key:", "hash:", each with a tab and hexadecimal digits; "hash:" ends a vector.
  Blake2sVector vector;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string name = line.substr(0, colon);
    const size_t value_at = line.find_first_not_of(" \t", colon + 1);
    const Blob value = value_at == std::string::npos ? Blob{} : unhex(line.substr(value_at));
    if (name == "in") vector.in = value;
    if (name == "key") vector.key = value;
    if (name == "hash") {
      vector.hash = value;
      vectors.push_back(vector);
    }
  }
  return vectors;
}

NoiseVector load_noise() {
  auto in = open_vectors("noise_ikpsk2_cacophony.json");
  const json vector = json::parse(in).at("vectors").at(0);
  CHECK(vector.at("protocol_name") == "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s");
  NoiseVector out{.prologue = unhex(vector.at("init_prologue")),
                  .preshared_key = unhex(vector.at("init_psks").at(0)),
                  .initiator_static = unhex(vector.at("init_static")),
                  .initiator_ephemeral = unhex(vector.at("init_ephemeral")),
                  .responder_static = unhex(vector.at("resp_static")),
                  .responder_ephemeral = unhex(vector.at("resp_ephemeral")),
                  .responder_public = unhex(vector.at("init_remote_static")),
                  .handshake_hash = unhex(vector.at("handshake_hash")),
                  .messages = {}};
  for (const json& message : vector.at("messages")) {
    out.messages.push_back(
        {.payload = unhex(message.at("payload")), .ciphertext = unhex(message.at("ciphertext"))});
  }
  return out;
}

}  // namespace turnpike::test

// What the simulation knows about every packet and every nonce, from the wire and from inside the ciphers,
// independently of the code under test.
//   An inner packet is written once for each way that it takes: sent by a host, sealed, opened, delivered.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "dataplane/base/bytes.h"
#include "dataplane/crypto/aead.h"

namespace turnpike::sim {

using GatewayNumber = size_t;

// The life of one inner packet.
struct InnerPacket {
  GatewayNumber from = 0;
  GatewayNumber to = 0;
  uint64_t sent_at = 0;  // nanoseconds of the virtual clock
  uint64_t delivered_at = 0;
  bool forged = false;  // its source is nobody's on the sending side: must not arrive
  uint32_t sealed = 0;
  uint32_t delivered = 0;
};

class Ledger {
 public:
  // The marker that begins every inner payload; it must never be seen outside.
  explicit Ledger(uint64_t seed);
  [[nodiscard]] Bytes marker() const noexcept { return marker_; }

  uint64_t new_packet(GatewayNumber from, GatewayNumber to, uint64_t now, bool forged);

  // From inside the ciphers.
  void note_sealed(const crypto::AeadJob& job);
  // True when the same message was opened before.
  bool note_opened(const crypto::AeadJob& job);
  // From the wires.
  void note_outside(GatewayNumber sender, Bytes frame);
  void note_delivered(GatewayNumber at, Bytes ip_packet, uint64_t now);

  // The payload of an inner packet, and whose it is.
  [[nodiscard]] std::vector<uint8_t> payload_of(uint64_t id, size_t bytes) const;
  [[nodiscard]] const InnerPacket* find(Bytes ip_packet, uint64_t* id = nullptr) const;

  std::vector<InnerPacket> packets;

  // Broken invariants, each a sentence.
  std::vector<std::string> broken;
  uint64_t nonces_used = 0;
  uint64_t nonces_reused = 0;
  uint64_t wire_counters_reused = 0;
  uint64_t highest_nonce = 0;
  uint64_t plaintext_outside = 0;
  uint64_t delivered = 0;
  uint64_t delivered_twice = 0;
  uint64_t delivered_astray = 0;  // to a host whose address it does not carry, or altered
  uint64_t forged_delivered = 0;

 private:
  void broke(std::string what);

  std::vector<uint8_t> marker_;
  using Nonces = std::unordered_map<std::string, std::unordered_set<uint64_t>>;  // by key
  Nonces sealed_;
  Nonces opened_;
  std::map<std::pair<GatewayNumber, uint32_t>, std::unordered_set<uint64_t>> wire_;
};

}  // namespace turnpike::sim

#include "tests/simulation/ledger.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wireguard/messages.h"
#include "tests/simulation/packets.h"
#include "tests/support/sim_random.h"

namespace turnpike::sim {
namespace {

constexpr size_t kMarkerBytes = 16;
constexpr size_t kBrokenKept = 20;  // enough to see what is wrong

std::string key_of(const crypto::AeadJob& job) {
  return {reinterpret_cast<const char*>(job.key), kKeyBytes};
}

// The inner payload begins after the IP header.
Bytes payload_in(Bytes ip_packet) {
  if (ip_packet.empty()) return {};
  const size_t header = ip_packet[0] >> 4 == 4 ? kIpv4Bytes : kIpv6Bytes;
  return ip_packet.size() <= header ? Bytes{} : ip_packet.subspan(header);
}

}  // namespace

Ledger::Ledger(uint64_t seed) : marker_(kMarkerBytes) { Random(seed ^ 0x6d61'726b).fill(marker_); }

void Ledger::broke(std::string what) {
  if (broken.size() < kBrokenKept) broken.push_back(std::move(what));
}

uint64_t Ledger::new_packet(GatewayNumber from, GatewayNumber to, uint64_t now, bool forged) {
  packets.push_back({.from = from, .to = to, .sent_at = now, .forged = forged});
  return packets.size() - 1;
}

std::vector<uint8_t> Ledger::payload_of(uint64_t id, size_t bytes) const {
  std::vector<uint8_t> payload(std::max(bytes, kMarkerBytes + sizeof(id)));
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = marker_[i % kMarkerBytes];
  store_le64(&payload[kMarkerBytes], id);
  return payload;
}

const InnerPacket* Ledger::find(Bytes ip_packet, uint64_t* id) const {
  const Bytes payload = payload_in(ip_packet);
  if (payload.size() < kMarkerBytes + sizeof(uint64_t) ||
      !std::equal(marker_.begin(), marker_.end(), payload.begin())) {
    return nullptr;
  }
  const uint64_t number = load_le64(&payload[kMarkerBytes]);
  if (number >= packets.size()) return nullptr;
  if (id != nullptr) *id = number;
  return &packets[number];
}

void Ledger::note_sealed(const crypto::AeadJob& job) {
  ++nonces_used;
  highest_nonce = std::max(highest_nonce, job.counter);
  if (!sealed_[key_of(job)].insert(job.counter).second) {
    ++nonces_reused;
    broke("nonce " + std::to_string(job.counter) + " used twice under one key");
  }
  uint64_t id;
  if (find({job.data, job.length_bytes}, &id) != nullptr) ++packets[id].sealed;
}

bool Ledger::note_opened(const crypto::AeadJob& job) {
  return !opened_[key_of(job)].insert(job.counter).second;
}

void Ledger::note_outside(GatewayNumber sender, Bytes frame) {
  if (std::ranges::search(frame, marker_).begin() != frame.end()) {
    ++plaintext_outside;
    broke("an inner payload in the clear on the outside wire");
  }
  const Bytes message = udp_payload_of(frame);
  if (wireguard::peek_type(message) != wireguard::MessageType::Data) return;
  const uint32_t receiver_index = load_le32(&message[4]);
  const uint64_t counter = load_le64(&message[8]);
  if (!wire_[{sender, receiver_index}].insert(counter).second) {
    ++wire_counters_reused;
    broke("counter " + std::to_string(counter) + " sent twice to one receiver index");
  }
}

void Ledger::note_delivered(GatewayNumber at, Bytes ip_packet, uint64_t now) {
  uint64_t id;
  if (find(ip_packet, &id) == nullptr) {
    ++delivered_astray;
    broke("a packet that no host sent was delivered");
    return;
  }
  InnerPacket& packet = packets[id];
  ++delivered;
  const Bytes payload = payload_in(ip_packet);
  const auto expected = payload_of(id, payload.size());
  if (packet.to != at || !std::ranges::equal(payload, expected)) {
    ++delivered_astray;
    broke("packet " + std::to_string(id) + " came to another host, or altered");
  }
  if (packet.forged) {
    ++forged_delivered;
    broke("packet " + std::to_string(id) + " with a source that is not its sender's was delivered");
  }
  if (packet.delivered++ != 0) {
    ++delivered_twice;
    broke("packet " + std::to_string(id) + " was delivered twice");
  }
  packet.delivered_at = now;
}

}  // namespace turnpike::sim

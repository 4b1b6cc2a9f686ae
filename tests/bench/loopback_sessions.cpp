#include "tests/bench/loopback_sessions.h"

#include <time.h>

#include "dataplane/crypto/x25519.h"
#include "dataplane/pipeline/headers.h"

namespace turnpike::bench {
namespace {

using wireguard::kDataHeaderBytes;

constexpr size_t kHandshakesAtOnce = 16;
constexpr int kAttempts = 8;
constexpr uint64_t kAnswerNs = 1'000'000'000;

uint64_t clock_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}
Now clock_now() { return {{clock_ns(CLOCK_MONOTONIC)}, {clock_ns(CLOCK_REALTIME)}}; }

// Secret from nobody: a benchmark's.
PrivateKey private_key_of(uint32_t peer) {
  std::array<uint8_t, kKeyBytes> bytes;
  for (size_t i = 0; i < kKeyBytes; ++i) bytes[i] = static_cast<uint8_t>(peer >> (8 * (i % 4)));
  bytes[16] = 0x5a;
  return crypto::clamp(PrivateKey(bytes));
}

}  // namespace

size_t write_outer(uint8_t* frame, uint32_t peer, size_t datagram_bytes) {
  using namespace pipeline;
  write_ethernet(frame, kGatewayOutsideMac, kOwnOutsideMac, kEtherTypeIpv4);
  uint8_t* ip = frame + kEthernetBytes;
  std::memset(ip, 0, kIpv4Bytes + kUdpBytes);
  ip[0] = 0x45;
  store_be16(ip + 2, static_cast<uint16_t>(kIpv4Bytes + kUdpBytes + datagram_bytes));
  ip[8] = 64;
  ip[9] = static_cast<uint8_t>(Protocol::Udp);
  store_be32(ip + 12, kRemoteNet + peer);
  store_be32(ip + 16, kGatewayOutside);
  store_le16(ip + 10, finish_checksum(sum_words(ip, kIpv4Bytes)));
  uint8_t* udp = ip + kIpv4Bytes;
  store_be16(udp, kRemotePort);
  store_be16(udp + 2, kListenPort);
  // Without a checksum of UDP, as a port that checks it has it.
  store_be16(udp + 4, static_cast<uint16_t>(kUdpBytes + datagram_bytes));
  return kEthernetBytes + kIpv4Bytes + kUdpBytes;
}

std::vector<PublicKey> Sessions::public_keys(uint32_t peers) {
  std::vector<PublicKey> keys;
  for (uint32_t i = 0; i < peers; ++i) keys.push_back(crypto::public_key(private_key_of(i)));
  return keys;
}

Sessions::Sessions(Link& link, const PublicKey& gateway, uint32_t peers)
    : link_(link), aead_(crypto::make_aead(crypto::AeadBackend::Auto)) {
  for (uint32_t i = 0; i < peers; ++i) {
    auto peer = std::make_unique<Peer>();
    peer->identity = wireguard::StaticIdentity::of(private_key_of(i));
    peer->handshake = wireguard::PeerHandshake::of(peer->identity, gateway, {});
    peers_.push_back(std::move(peer));
  }
}

void Sessions::send_initiation(uint32_t peer) {
  Peer& p = *peers_[peer];
  const auto message =
      wireguard::create_initiation(p.identity, p.handshake, peer, clock_now(), random_);
  CHECK(message);
  uint8_t frame[pipeline::kMaxOuterBytes + wireguard::kInitiationBytes];
  const size_t header = write_outer(frame, peer, message->size());
  std::memcpy(frame + header, message->data(), message->size());
  link_.send(Side::Outside, {frame, header + message->size()});
}

void Sessions::take_responses() {
  for (rte_mbuf* mbuf : link_.poll(Side::Outside)) {
    constexpr size_t kHeader =
        pipeline::kEthernetBytes + pipeline::kIpv4Bytes + pipeline::kUdpBytes;
    const auto* frame = rte_pktmbuf_mtod(mbuf, const uint8_t*);
    if (mbuf->data_len >= kHeader + wireguard::kResponseBytes) {
      const Bytes datagram{frame + kHeader, wireguard::kResponseBytes};
      const auto response = wireguard::parse_response(datagram);
      if (response && response->receiver_index < peers_.size()) {
        Peer& peer = *peers_[response->receiver_index];
        const auto keys = wireguard::consume_response(peer.identity, peer.handshake, datagram);
        if (keys) {
          peer.keys = *keys;
          peer.counter = 0;
          peer.established = true;
        }
      }
    }
    rte_pktmbuf_free(mbuf);
  }
  for (rte_mbuf* mbuf : link_.poll(Side::Inside)) rte_pktmbuf_free(mbuf);
}

bool Sessions::handshake() {
  for (const auto& peer : peers_) peer->established = false;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    size_t left = 0;
    for (uint32_t first = 0; first < count(); first += kHandshakesAtOnce) {
      const uint32_t end = std::min<uint32_t>(count(), first + kHandshakesAtOnce);
      const auto waiting = [&] {
        uint32_t n = 0;
        for (uint32_t i = first; i < end; ++i) n += peers_[i]->established ? 0 : 1;
        return n;
      };
      for (uint32_t i = first; i < end; ++i) {
        if (!peers_[i]->established) send_initiation(i);
      }
      const uint64_t until = clock_ns(CLOCK_MONOTONIC) + kAnswerNs;
      while (waiting() != 0 && clock_ns(CLOCK_MONOTONIC) < until) {
        take_responses();
        // The session thread may be on our CPU.
        sched_yield();
      }
      left += waiting();
    }
    if (left == 0) {
      keepalive();
      return true;
    }
  }
  return false;
}

void Sessions::keepalive() {
  for (uint32_t i = 0; i < count(); ++i) {
    uint8_t frame[pipeline::kMaxOuterBytes + wireguard::kDataOverheadBytes];
    const size_t length = seal(i, {}, frame);
    link_.send(Side::Outside, {frame, length});
    if (i % 64 == 63) take_responses();
  }
}

size_t Sessions::seal(uint32_t peer, std::span<const uint8_t> text, uint8_t* frame) {
  Peer& p = *peers_[peer];
  const size_t datagram = wireguard::kDataOverheadBytes + text.size();
  uint8_t* message = frame + write_outer(frame, peer, datagram);
  wireguard::write_data_header(std::span<uint8_t, kDataHeaderBytes>(message, kDataHeaderBytes),
                               {.receiver_index = p.keys.remote_index, .counter = p.counter});
  std::copy(text.begin(), text.end(), message + kDataHeaderBytes);
  const crypto::AeadJob job{.key = p.keys.sending.bytes().data(),
                            .counter = p.counter++,
                            .data = message + kDataHeaderBytes,
                            .length_bytes = static_cast<uint32_t>(text.size())};
  aead_->seal({&job, 1});
  return static_cast<size_t>(message - frame) + datagram;
}

std::span<const uint8_t> Sessions::open(std::span<uint8_t> message) {
  const auto header = wireguard::parse_data(message);
  if (!header || header->receiver_index >= peers_.size()) return {};
  const crypto::AeadJob job{
      .key = peers_[header->receiver_index]->keys.receiving.bytes().data(),
      .counter = header->counter,
      .data = message.data() + kDataHeaderBytes,
      .length_bytes = static_cast<uint32_t>(message.size() - wireguard::kDataOverheadBytes)};
  uint8_t authentic = 0;
  aead_->open({&job, 1}, {&authentic, 1});
  if (authentic == 0) return {};
  return {job.data, job.length_bytes};
}

}  // namespace turnpike::bench

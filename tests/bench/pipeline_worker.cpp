#include "tests/bench/pipeline_worker.h"

#include <atomic>
#include <cstring>

#include "dataplane/pipeline/headers.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::bench {
namespace {

// A buffer like an mbuf's: headroom, frame, room behind.
constexpr size_t kHeadroom = 128;
constexpr size_t kStride = 2176;

void write_ipv4(uint8_t* ip, uint16_t total, uint8_t protocol, uint32_t source,
                uint32_t destination) {
  std::memset(ip, 0, pipeline::kIpv4Bytes);
  ip[0] = 0x45;
  store_be16(ip + 2, total);
  ip[8] = 64;
  ip[9] = protocol;
  store_be32(ip + 12, source);
  store_be32(ip + 16, destination);
  store_le16(ip + 10, pipeline::finish_checksum(pipeline::sum_words(ip, pipeline::kIpv4Bytes)));
}

}  // namespace

Worker::Worker(World& world, size_t first)
    : door(world.epoch, world.pages, 2048),
      world_(world),
      aead_(crypto::make_aead(crypto::AeadBackend::Auto)),
      aead_name_(aead_->name()),
      pipeline_(world.shared(), door, *aead_),
      next_(first),
      random_(first + 1),
      memory_(kPassPackets * kStride, 0x5a),
      packets_(kPassPackets),
      jobs_(kPassPackets),
      output_(std::make_unique<pipeline::Output>()) {
  door.publish(&world.snapshot);
}

void Worker::make_inner(uint8_t* ip, uint16_t bytes, const Far& far, bool outbound) const {
  const uint32_t inside = kOwnInside + 1 + far.peer % kHosts;
  write_ipv4(ip, bytes, 17, outbound ? inside : far.address, outbound ? far.address : inside);
}

void Worker::fill_inbound(size_t i, uint16_t bytes, const Far& far) {
  uint8_t* frame = &memory_[i * kStride + kHeadroom];
  uint8_t* ip = frame + pipeline::kEthernetBytes;
  uint8_t* udp = ip + pipeline::kIpv4Bytes;
  uint8_t* message = udp + pipeline::kUdpBytes;
  uint8_t* text = message + wireguard::kDataHeaderBytes;
  const uint32_t padded = wireguard::padded_bytes(bytes, kTunnelMtu);
  World::Sealing& sealing = world_.sealing(far.peer);
  make_inner(text, bytes, far, false);
  std::memset(text + bytes, 0, padded - bytes);
  const uint64_t counter = std::atomic_ref(sealing.counter).fetch_add(1);
  wireguard::write_data_header(std::span<uint8_t, 16>(message, 16),
                               {.receiver_index = sealing.receiver_index, .counter = counter});
  const crypto::AeadJob job{
      .key = sealing.key.data(), .counter = counter, .data = text, .length_bytes = padded};
  aead_->seal({&job, 1});
  const auto udp_bytes =
      static_cast<uint16_t>(pipeline::kUdpBytes + wireguard::kDataOverheadBytes + padded);
  pipeline::write_ethernet(frame, kOutsideMac, kRouterMac, pipeline::kEtherTypeIpv4);
  write_ipv4(ip, static_cast<uint16_t>(pipeline::kIpv4Bytes + udp_bytes), 17, kRemoteNet + far.peer,
             kOwnOutside);
  store_be16(udp, kRemotePort);
  store_be16(udp + 2, kListenPort);
  store_be16(udp + 4, udp_bytes);
  store_le16(udp + 6, 0);
  store_le16(udp + 6, pipeline::finish_udp_checksum(pipeline::sum_pseudo_header(ip, udp_bytes) +
                                                    pipeline::sum_words(udp, udp_bytes)));
  packets_[i].length_bytes =
      static_cast<uint16_t>(pipeline::kEthernetBytes + pipeline::kIpv4Bytes + udp_bytes);
}

void Worker::fill(const Traffic& traffic) {
  const bool outbound = traffic.direction == Direction::Outbound;
  const auto verdict =
      traffic.software_checksum ? pipeline::RxChecksum::Unknown : pipeline::RxChecksum::Good;
  for (size_t i = 0; i < kPassPackets; ++i) {
    const uint16_t bytes = traffic.inner_bytes[i % traffic.inner_bytes.size()];
    const size_t place = next_++;
    const uint32_t peer = traffic.zipf ? world_.zipf_peer(random_) : world_.peer_at(place);
    const Far far{.peer = peer, .address = world_.address_of(peer, world_.round_at(place))};
    uint8_t* frame = &memory_[i * kStride + kHeadroom];
    packets_[i] = {.data = frame,
                   .length_bytes = static_cast<uint16_t>(pipeline::kEthernetBytes + bytes),
                   .headroom_bytes = kHeadroom,
                   .ipv4_checksum = verdict,
                   .l4_checksum = verdict,
                   .handle = frame};
    if (outbound) {
      pipeline::write_ethernet(frame, kInsideMac, kHostMac, pipeline::kEtherTypeIpv4);
      make_inner(frame + pipeline::kEthernetBytes, bytes, far, true);
    } else {
      fill_inbound(i, bytes, far);
    }
    packets_[i].tailroom_bytes =
        static_cast<uint16_t>(kStride - kHeadroom - packets_[i].length_bytes);
  }
  ++passes_;
}

void Worker::run(const Traffic& traffic, std::vector<uint64_t>& cycles) {
  const PortIndex port = traffic.direction == Direction::Outbound ? kInside : kOutside;
  const PortIndex to = traffic.direction == Direction::Outbound ? kOutside : kInside;
  const Instant now = world_.now() + passes_ * 1us;
  for (size_t burst = 0; burst < kBursts; ++burst) {
    output_->tx[to].count = 0;
    output_->done_count = 0;
    const uint64_t start = __rdtsc();
    const publish::Snapshot& snapshot = door.begin_burst();
    pipeline_.receive(snapshot, now, port, {&packets_[burst * kRxBurst], kRxBurst}, *output_);
    cycles.push_back(__rdtsc() - start);
    CHECK(output_->tx[to].count == kRxBurst);
  }
}

void Worker::run_aead(const Traffic& traffic, std::vector<uint64_t>& cycles) {
  const bool outbound = traffic.direction == Direction::Outbound;
  for (size_t i = 0; i < kPassPackets; ++i) {
    const uint16_t bytes = traffic.inner_bytes[i % traffic.inner_bytes.size()];
    uint8_t* text = &memory_[i * kStride + kHeadroom + pipeline::kEthernetBytes];
    jobs_[i] = {.key = world_.first_key(),
                .counter = i,
                .data = text,
                .length_bytes = wireguard::padded_bytes(bytes, kTunnelMtu)};
    if (!outbound) aead_->seal({&jobs_[i], 1});
  }
  std::array<uint8_t, kBurstMax> authentic{};
  for (size_t burst = 0; burst < kBursts; ++burst) {
    const std::span<const crypto::AeadJob> jobs{&jobs_[burst * kRxBurst], kRxBurst};
    const uint64_t start = __rdtsc();
    if (outbound) {
      aead_->seal(jobs);
    } else {
      aead_->open(jobs, authentic);
    }
    cycles.push_back(__rdtsc() - start);
    CHECK(outbound || authentic[kRxBurst - 1] == 1);
  }
}

}  // namespace turnpike::bench

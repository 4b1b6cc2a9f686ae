#include "tests/bench/pipeline_world.h"

#include <algorithm>
#include <cstring>

#include "dataplane/pipeline/headers.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::bench {
namespace {

using pipeline::Packet;

// A buffer like an mbuf's: headroom, frame, room behind.
constexpr size_t kHeadroom = 128;
constexpr size_t kStride = 2176;
constexpr uint16_t kListenPort = 51820;
constexpr uint16_t kRemotePort = 40'000;
constexpr uint32_t kOwnOutside = 0xc000'0201;   // 192.0.2.1
constexpr uint32_t kRouter = 0xc000'02fe;       // 192.0.2.254
constexpr uint32_t kOwnInside = 0x0a00'0001;    // 10.0.0.1
constexpr uint32_t kHosts = 64;                 // on the inside, from 10.0.0.2
constexpr uint32_t kPeerNet = 0x6440'0000;      // 100.64.0.0, one address for each peer
constexpr uint32_t kRemoteNet = 0x3200'0000;    // 50.0.0.0, where the peers are

const MacAddress kOutsideMac{{2, 0, 0, 0, 0, 1}}, kInsideMac{{2, 0, 0, 0, 0, 2}};
const MacAddress kRouterMac{{2, 0, 0, 0, 0, 3}}, kHostMac{{2, 0, 0, 0, 0, 4}};

void insert(lookup::WriterV4& writer, const std::vector<lookup::Edit>& edits) {
  CHECK(writer.prepare(edits));
  writer.reclaim(writer.commit());
}

[[nodiscard]] Prefix host(uint32_t address) { return Prefix::masked(IpAddress::v4(address), 32); }

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

World::World(uint32_t peers, bool software_checksum)
    : peers_count_(peers),
      peers_(pages_, std::max(peers, 64u)),
      receivers_(pages_, std::bit_ceil(std::max(4 * peers, 1024u))),
      neighbours_(epoch_, 1),
      allowed_(pages_),
      outside_routes_(pages_),
      inside_routes_(pages_),
      door_(std::make_unique<publish::Door>(epoch_, pages_, 2048)),
      aead_(crypto::make_aead(crypto::AeadBackend::Auto)),
      aead_name_(aead_->name()),
      memory_(kPassPackets * kStride, 0x5a),
      packets_(kPassPackets),
      jobs_(kPassPackets),
      output_(std::make_unique<pipeline::Output>()) {
  CHECK(peers_.valid() && receivers_.valid());
  make_routes();
  make_peers();
  const bool offload = !software_checksum;
  pipeline::Shared shared{.peers = peers_, .receivers = receivers_, .neighbours = neighbours_};
  for (pipeline::PortOffloads& o : shared.offloads)
    o = {.ipv4_checksum = offload, .udp_checksum = offload};
  pipeline_ = std::make_unique<pipeline::Pipeline>(shared, *door_, *aead_);
}

World::~World() { pages_.release(keypairs_, peers_count_ * sizeof(wireguard::Keypair)); }

void World::make_routes() {
  outside_hops_ = {{.kind = publish::NextHopKind::Local},
                   {.kind = publish::NextHopKind::OnLink},
                   {.kind = publish::NextHopKind::Via, .via = IpAddress::v4(kRouter)}};
  inside_hops_ = {{.kind = publish::NextHopKind::Local}, {.kind = publish::NextHopKind::OnLink}};
  insert(outside_routes_, {{host(kOwnOutside), 0},
                           {Prefix::masked(IpAddress::v4(kOwnOutside), 24), 1},
                           {Prefix::masked(IpAddress::v4(0), 0), 2}});
  insert(inside_routes_,
         {{host(kOwnInside), 0}, {Prefix::masked(IpAddress::v4(kOwnInside), 24), 1}});
  snapshot_.port_count = 2;
  snapshot_.tunnel_count = 1;
  snapshot_.ports[kOutside] = {.routes = {.v4 = outside_routes_.head(), .next_hops = outside_hops_},
                               .mac = kOutsideMac,
                               .outside_count = 1};
  snapshot_.ports[kInside] = {.routes = {.v4 = inside_routes_.head(), .next_hops = inside_hops_},
                              .mac = kInsideMac,
                              .inside_count = 1};
  const auto router = neighbours_.insert(kOutside, IpAddress::v4(kRouter));
  neighbours_.set_mac(router, kRouterMac);
  for (uint32_t i = 0; i < kHosts; ++i) {
    neighbours_.set_mac(neighbours_.insert(kInside, IpAddress::v4(kOwnInside + 1 + i)), kHostMac);
  }
}

void World::make_peers() {
  struct Random final : RandomSource {
    explicit Random(std::mt19937_64& engine) : engine_(engine) {}
    void fill(std::span<uint8_t> out) noexcept override {
      for (uint8_t& byte : out) byte = static_cast<uint8_t>(engine_());
    }
    std::mt19937_64& engine_;
  } source(random_);
  keypairs_ =
      static_cast<wireguard::Keypair*>(pages_.allocate(peers_count_ * sizeof(wireguard::Keypair)));
  CHECK(keypairs_ != nullptr);
  const auto router = neighbours_.find(kOutside, IpAddress::v4(kRouter));
  std::vector<lookup::Edit> edits;
  sealing_.reserve(peers_count_);
  order_.resize(peers_count_);
  double sum = 0;
  for (uint32_t i = 0; i < peers_count_; ++i) {
    order_[i] = i;
    zipf_sums_.push_back(sum += 1.0 / (i + 1));
    edits.push_back({host(kPeerNet + i), i});
    publish::PeerSlot& slot = peers_[i];
    slot.send.incarnation.store(1);
    slot.send.set_endpoint({.remote = {IpAddress::v4(kRemoteNet + i), kRemotePort},
                            .local = IpAddress::v4(kOwnOutside),
                            .first_hop = router});
    auto* keypair = new (&keypairs_[i]) wireguard::Keypair;
    source.fill(keypair->sending_key);
    source.fill(keypair->receiving_key);
    keypair->set_created_at(now_);
    keypair->remote_index = i;
    keypair->local_index = receivers_.reserve(source).value();
    keypair->peer = {.index = i, .incarnation = 1};
    keypair->tunnel = 0;
    keypair->confirmed = true;
    receivers_.install(keypair->local_index, keypair);
    sealing_.push_back({keypair->receiving_key, keypair->local_index, 0});
    slot.send.current.store(keypair);
  }
  std::shuffle(order_.begin(), order_.end(), random_);
  insert(allowed_, edits);
  snapshot_.tunnels[0] = {.allowed_v4 = allowed_.head(),
                          .outside = kOutside,
                          .inside = kInside,
                          .listen_port = kListenPort,
                          .mtu_bytes = 1420,
                          .active = true};
}

uint32_t World::next_peer(bool zipf) {
  if (!zipf) return order_[next_++ % peers_count_];
  std::uniform_real_distribution<double> place(0, zipf_sums_.back());
  const auto at = std::lower_bound(zipf_sums_.begin(), zipf_sums_.end(), place(random_));
  return order_[static_cast<size_t>(at - zipf_sums_.begin()) % peers_count_];
}

void World::make_inner(uint8_t* ip, uint16_t bytes, uint32_t peer, bool outbound) const {
  const uint32_t inside = kOwnInside + 1 + peer % kHosts;
  const uint32_t far = kPeerNet + peer;
  write_ipv4(ip, bytes, 17, outbound ? inside : far, outbound ? far : inside);
}

void World::fill_inbound(size_t i, uint16_t bytes, uint32_t peer) {
  uint8_t* frame = &memory_[i * kStride + kHeadroom];
  uint8_t* ip = frame + pipeline::kEthernetBytes;
  uint8_t* udp = ip + pipeline::kIpv4Bytes;
  uint8_t* message = udp + pipeline::kUdpBytes;
  uint8_t* text = message + wireguard::kDataHeaderBytes;
  const uint32_t padded = wireguard::padded_bytes(bytes, 1420);
  Sealing& sealing = sealing_[peer];
  make_inner(text, bytes, peer, false);
  std::memset(text + bytes, 0, padded - bytes);
  const uint64_t counter = sealing.counter++;
  wireguard::write_data_header(std::span<uint8_t, 16>(message, 16),
                               {.receiver_index = sealing.receiver_index, .counter = counter});
  const crypto::AeadJob job{
      .key = sealing.key.data(), .counter = counter, .data = text, .length_bytes = padded};
  aead_->seal({&job, 1});
  const auto udp_bytes =
      static_cast<uint16_t>(pipeline::kUdpBytes + wireguard::kDataOverheadBytes + padded);
  pipeline::write_ethernet(frame, kOutsideMac, kRouterMac, pipeline::kEtherTypeIpv4);
  write_ipv4(ip, static_cast<uint16_t>(pipeline::kIpv4Bytes + udp_bytes), 17, kRemoteNet + peer,
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

void World::fill(const Traffic& traffic) {
  const bool outbound = traffic.direction == Direction::Outbound;
  const auto verdict =
      traffic.software_checksum ? pipeline::RxChecksum::Unknown : pipeline::RxChecksum::Good;
  for (size_t i = 0; i < kPassPackets; ++i) {
    const uint16_t bytes = traffic.inner_bytes[i % traffic.inner_bytes.size()];
    const uint32_t peer = next_peer(traffic.zipf);
    uint8_t* frame = &memory_[i * kStride + kHeadroom];
    packets_[i] = {.data = frame,
                   .length_bytes = static_cast<uint16_t>(pipeline::kEthernetBytes + bytes),
                   .headroom_bytes = kHeadroom,
                   .ipv4_checksum = verdict,
                   .udp_checksum = verdict,
                   .handle = frame};
    if (outbound) {
      pipeline::write_ethernet(frame, kInsideMac, kHostMac, pipeline::kEtherTypeIpv4);
      make_inner(frame + pipeline::kEthernetBytes, bytes, peer, true);
    } else {
      fill_inbound(i, bytes, peer);
    }
    packets_[i].tailroom_bytes =
        static_cast<uint16_t>(kStride - kHeadroom - packets_[i].length_bytes);
  }
  now_ = now_ + 1us;
}

void World::run(const Traffic& traffic, std::vector<uint64_t>& cycles) {
  const PortIndex port = traffic.direction == Direction::Outbound ? kInside : kOutside;
  const PortIndex to = traffic.direction == Direction::Outbound ? kOutside : kInside;
  for (size_t burst = 0; burst < kBursts; ++burst) {
    output_->tx[to].count = 0;
    output_->done_count = 0;
    const uint64_t start = __rdtsc();
    pipeline_->receive(snapshot_, now_, port, {&packets_[burst * kRxBurst], kRxBurst}, *output_);
    cycles.push_back(__rdtsc() - start);
    CHECK(output_->tx[to].count == kRxBurst);
  }
}

void World::run_aead(const Traffic& traffic, std::vector<uint64_t>& cycles) {
  const bool outbound = traffic.direction == Direction::Outbound;
  const wireguard::Keypair& keypair = keypairs_[0];
  for (size_t i = 0; i < kPassPackets; ++i) {
    const uint16_t bytes = traffic.inner_bytes[i % traffic.inner_bytes.size()];
    uint8_t* text = &memory_[i * kStride + kHeadroom + pipeline::kEthernetBytes];
    jobs_[i] = {.key = keypair.sending_key.data(),
                .counter = i,
                .data = text,
                .length_bytes = wireguard::padded_bytes(bytes, 1420)};
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

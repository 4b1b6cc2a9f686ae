#include "tests/bench/pipeline_world.h"

#include <algorithm>

#include "dataplane/publish/door.h"

namespace turnpike::bench {
namespace {

void insert(lookup::WriterV4& writer, const std::vector<lookup::Edit>& edits) {
  CHECK(writer.prepare(edits));
  writer.reclaim(writer.commit());
}

[[nodiscard]] Prefix host(uint32_t address) { return Prefix::masked(IpAddress::v4(address), 32); }

// Edits of many places, far enough from each other, in an order that is no order of theirs.
constexpr uint32_t kEditedHosts = 1u << 18;
constexpr uint32_t kEditStep = 77'777;

}  // namespace

World::World(uint32_t peers, bool software_checksum, unsigned hosts_log2)
    : peers_count_(peers),
      hosts_log2_(hosts_log2),
      peers_(pages, std::max(peers, 64u), 1),
      keypairs_(pages, peers, random_),
      neighbours_(epoch, 1),
      allowed_(pages, lookup::Stamps::Kept),
      outside_routes_(pages),
      inside_routes_(pages) {
  CHECK(peers_.valid());
  make_routes();
  make_peers();
  const bool offload = !software_checksum;
  shared_ = std::make_unique<pipeline::Shared>(pipeline::Shared{
      .peers = peers_, .keypairs = keypairs_, .neighbours = neighbours_, .offloads = {}});
  for (pipeline::PortOffloads& o : shared_->offloads)
    o = {.ipv4_checksum = offload, .udp_checksum = offload};
}

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
  snapshot.port_count = 2;
  snapshot.tunnel_count = 1;
  snapshot.ports[kOutside] = {.routes = {.v4 = outside_routes_.head(), .next_hops = outside_hops_},
                              .mac = kOutsideMac,
                              .outside_count = 1};
  snapshot.ports[kInside] = {.routes = {.v4 = inside_routes_.head(), .next_hops = inside_hops_},
                             .mac = kInsideMac,
                             .inside_count = 1};
  const auto router = neighbours_.insert(kOutside, IpAddress::v4(kRouter));
  neighbours_.set_mac(router, kRouterMac);
  for (uint32_t i = 0; i < kHosts; ++i) {
    neighbours_.set_mac(neighbours_.insert(kInside, IpAddress::v4(kOwnInside + 1 + i)), kHostMac);
  }
}

void World::make_peers() {
  const auto router = neighbours_.find(kOutside, IpAddress::v4(kRouter));
  std::vector<lookup::Edit> edits;
  sealing_.reserve(peers_count_);
  order_.resize(peers_count_);
  double sum = 0;
  for (uint32_t i = 0; i < peers_count_; ++i) {
    order_[i] = i;
    zipf_sums_.push_back(sum += 1.0 / (i + 1));
    edits.push_back({Prefix::masked(IpAddress::v4(net_of(i)), 32 - hosts_log2_), i});
    publish::PeerSlot& slot = peers_[i];
    peers_.set_incarnation(i, 1);
    peers_.set_endpoint(i, {.remote = {IpAddress::v4(kRemoteNet + i), kRemotePort},
                            .local = IpAddress::v4(kOwnOutside),
                            .first_hop = router});
    wireguard::Keypair* keypair = &keypairs_.make(keypairs_.reserve().value());
    if (i == 0) first_keypair_ = keypair;
    random_.fill(keypair->sending().key);
    random_.fill(keypair->receiving_key);
    keypair->set_created_at(now_);
    keypair->sending().remote_index = i;
    keypair->peer = {.index = i, .incarnation = 1};
    keypair->tunnel = 0;
    keypair->confirmed = true;
    keypairs_.publish(*keypair);
    // Somewhere in the life of the session: what a window costs depends on where its counter stands.
    const uint64_t counter = 1 + random_.engine() % 10'000;
    CHECK(keypair->accept(counter - 1));
    sealing_.push_back({keypair->receiving_key, keypair->local_index, counter});
    slot.send.current.store(keypair);
  }
  std::shuffle(order_.begin(), order_.end(), random_.engine);
  insert(allowed_, edits);
  snapshot.tunnels[0] = {.allowed_v4 = allowed_.head(),
                         .outside = kOutside,
                         .inside = kInside,
                         .listen_port = kListenPort,
                         .mtu_bytes = kTunnelMtu,
                         .active = true};
}

uint32_t World::zipf_peer(std::mt19937_64& random) const {
  std::uniform_real_distribution<double> place(0, zipf_sums_.back());
  const auto at = std::lower_bound(zipf_sums_.begin(), zipf_sums_.end(), place(random));
  return order_[static_cast<size_t>(at - zipf_sums_.begin()) % peers_count_];
}

void World::publish_an_edit(std::span<publish::Door* const> doors) {
  const auto place = static_cast<uint32_t>(edits_ / 2 * kEditStep % kEditedHosts);
  const bool comes = edits_++ % 2 == 0;
  const lookup::Edit edit{host(net_of(peers_count_) + place), comes ? 0 : kNoPeer};
  CHECK(allowed_.prepare({&edit, 1}));
  publish::Snapshot& next = edited_[edits_ % 2];
  next = snapshot;
  next.generation = edits_;
  next.tunnels[0].allowed_v4 = allowed_.prepared();
  const lookup::Garbage garbage = allowed_.commit();
  for (publish::Door* door : doors) door->publish(&next);
  const uint64_t tag = epoch.retire();
  while (!epoch.passed(tag)) {
  }
  allowed_.reclaim(garbage);
}

}  // namespace turnpike::bench

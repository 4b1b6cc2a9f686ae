// The way to a peer: what stops a packet, what is asked of the session thread, and that no nonce is used
// twice.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <thread>
#include <utility>

#include "dataplane/base/bytes.h"
#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

using publish::PuntKind;
using wireguard::kRejectAfterMessages;

[[nodiscard]] uint64_t counter_of(const Blob& frame, Family outer) {
  return load_le64(&frame.at(14 + (outer == Family::V4 ? 20u : 40u) + 8 + 8));
}

class Outbound : public testing::Test {
 protected:
  Turn send(size_t packets = 1, size_t payload = 60) {
    return pair.a.receive(
        pair.inside,
        std::vector<Blob>(packets, pair.from_host_a(pair.a_to_b(Family::V4, payload))));
  }
  void expect_undeliverable(const Turn& turn, DropReason reason, const Blob& packet) {
    EXPECT_EQ(turn.drops_of(reason), 1u);
    EXPECT_EQ(turn.dropped(), 1u);
    ASSERT_EQ(turn.punts.size(), 1u);
    const publish::PuntHeader& header = turn.punts[0].header;
    EXPECT_EQ(header.kind, PuntKind::Undeliverable);
    EXPECT_EQ(header.detail, static_cast<uint8_t>(reason));
    EXPECT_EQ(header.port, pair.inside);
    EXPECT_EQ(header.tunnel, 0);
    EXPECT_EQ(header.peer.index, kNoPeer);
    EXPECT_EQ(turn.punts[0].bytes, packet);
  }
  Pair pair;
};

TEST_F(Outbound, NoAllowedIp) {
  const Blob packet = make_ip(ip("10.0.0.2"), ip("198.51.100.1"), Blob(20));
  expect_undeliverable(pair.a.receive(pair.inside, {pair.from_host_a(packet)}),
                       DropReason::NoAllowedIp, packet);
}

TEST_F(Outbound, TtlExceeded) {
  for (const Family family : {Family::V4, Family::V6}) {
    for (const uint8_t ttl : {0, 1}) {
      const Blob packet = pair.a_to_b(family, 10, {.ttl = ttl});
      expect_undeliverable(pair.a.receive(pair.inside, {pair.from_host_a(packet)}),
                           DropReason::TtlExceeded, packet);
    }
  }
}

TEST_F(Outbound, PacketTooBig) {
  for (const Family family : {Family::V4, Family::V6}) {
    const size_t header = family == Family::V4 ? 20 : 40;
    const Blob packet = pair.a_to_b(family, 1421 - header, {.dont_fragment = true});
    const Turn turn = pair.a.receive(pair.inside, {pair.from_host_a(packet)});
    expect_undeliverable(turn, DropReason::PacketTooBig, packet);
    EXPECT_EQ(turn.punts.at(0).header.mtu_bytes, 1420);
    const Blob fits = pair.a_to_b(family, 1420 - header, {.dont_fragment = true});
    EXPECT_EQ(pair.a.receive(pair.inside, {pair.from_host_a(fits)}).sent.size(), 1u);
  }
}

void expect_fragments_asked(const Turn& turn, const Blob& packet, uint16_t mtu_bytes) {
  EXPECT_EQ(turn.dropped(), 0u);
  ASSERT_EQ(turn.punts.size(), 1u);
  const publish::PuntHeader& header = turn.punts[0].header;
  EXPECT_EQ(header.kind, PuntKind::NeedsFragments);
  EXPECT_EQ(header.tunnel, 0);
  EXPECT_EQ(header.port, kNoPort);
  EXPECT_EQ(header.mtu_bytes, mtu_bytes);
  EXPECT_EQ(turn.punts[0].bytes, packet);
}

TEST_F(Outbound, APacketThatMayBeFragmentedGoesToTheSessionThread) {
  const Blob packet = pair.a_to_b(Family::V4, 1401);
  expect_fragments_asked(pair.a.receive(pair.inside, {pair.from_host_a(packet)}), after_hop(packet),
                         1420);
}

TEST_F(Outbound, APacketThatDoesNotFitTheOutsidePortIsTooBig) {
  // 60 bytes of outer IPv4, UDP and message leave 1240, and 1232 are padded to 16.
  pair.a.snapshot.ports[pair.outside].mtu_bytes = 1300;
  for (const size_t payload : {1213u, 1300u}) {
    const Blob fixed = pair.a_to_b(Family::V4, payload, {.dont_fragment = true});
    const Turn turn = pair.a.receive(pair.inside, {pair.from_host_a(fixed)});
    EXPECT_EQ(turn.drops_of(DropReason::PacketTooBig), 1u);
    ASSERT_EQ(turn.punts.size(), 1u);
    EXPECT_EQ(turn.punts[0].header.mtu_bytes, 1232);
    const Blob packet = pair.a_to_b(Family::V4, payload);
    expect_fragments_asked(pair.a.receive(pair.inside, {pair.from_host_a(packet)}),
                           after_hop(packet), 1232);
  }
  const Turn turn = send(1, 1212);
  ASSERT_EQ(turn.sent.size(), 1u);
  EXPECT_LE(turn.sent[0].frame.size(), 1300u + 14u);
}

TEST_F(Outbound, NoEndpoint) {
  pair.a.peers.set_endpoint(0, {});
  const Blob packet = pair.a_to_b(Family::V4, 10);
  expect_undeliverable(pair.a.receive(pair.inside, {pair.from_host_a(packet)}),
                       DropReason::NoEndpoint, after_hop(packet));
}

TEST_F(Outbound, NoHeadroom) {
  const Blob frame = pair.from_host_a(pair.a_to_b(Family::V4, 10));
  Turn turn = pair.a.receive(
      pair.inside, std::vector<FrameIn>{{.bytes = frame, .room = {.head = 60, .tail = 64}},
                                        {.bytes = frame, .room = {.head = 128, .tail = 31}},
                                        {.bytes = frame, .room = {.head = 64, .tail = 32}}});
  EXPECT_EQ(turn.drops_of(DropReason::NoHeadroom), 2u);
  EXPECT_EQ(turn.sent.size(), 1u);
}

TEST_F(Outbound, NeighbourUnknown) {
  pair.a.peers.set_endpoint(0, {.remote = {ip("192.0.2.2"), 51821}, .local = ip("192.0.2.1")});
  EXPECT_EQ(send().drops_of(DropReason::NeighbourUnknown), 1u);
}

TEST_F(Outbound, ASealedPacketWaitsForTheNeighbourWithTheSessionThread) {
  const auto index = pair.a.neighbours.find(pair.outside, ip("192.0.2.2"));
  pair.a.neighbours.clear_mac(index);
  pair.a.shared.offloads[pair.outside] = {.ipv4_checksum = true, .udp_checksum = true};
  pair.a.workers[0] =
      std::make_unique<Gateway::Worker>(pair.a, crypto::make_aead(crypto::AeadBackend::Auto));
  const Turn turn = send();
  EXPECT_EQ(turn.dropped(), 0u);
  ASSERT_EQ(turn.punts.size(), 1u);
  EXPECT_EQ(turn.punts[0].header.kind, PuntKind::NeedsNeighbour);
  EXPECT_EQ(turn.punts[0].header.port, pair.outside);
  EXPECT_EQ(turn.punts[0].header.next_hop, ip("192.0.2.2"));
  // Whole, checksums included, although the port would have made them.
  const Blob& packet = turn.punts[0].bytes;
  EXPECT_EQ(plain_sum(packet, 0, 20), 0xffffu);
  EXPECT_EQ(transport_sum(packet, 20, 17), 0xffffu);
  EXPECT_EQ(pair.b.receive(pair.outside, {make_frame(kOutsideB, kOutsideA, packet)}).sent.size(),
            1u);
}

TEST_F(Outbound, PacketsWithoutUsableKeyAreHeldByTheSessionThread) {
  const auto expect_held = [&](const Turn& turn) {
    EXPECT_EQ(turn.dropped(), 0u);
    EXPECT_TRUE(turn.sent.empty());
    ASSERT_EQ(turn.punts.size(), 2u);
    for (const Punted& punted : turn.punts) {
      EXPECT_EQ(punted.header.kind, PuntKind::NeedsHandshake);
      EXPECT_EQ(punted.header.peer, (PeerRef{.index = 0, .incarnation = 7}));
      EXPECT_EQ(punted.header.tunnel, 0);
      EXPECT_EQ(punted.bytes, after_hop(pair.a_to_b(Family::V4, 60)));
    }
  };
  pair.a.now = kStart + 179s;
  EXPECT_EQ(send(2).sent.size(), 2u);
  pair.a.now = kStart + 180s;
  expect_held(send(2));
  pair.a.now = kStart;
  pair.session.a->sending().counter.store(kRejectAfterMessages);
  expect_held(send(2));
  EXPECT_EQ(pair.session.a->sending().counter.load(), kRejectAfterMessages) << "nothing was added";
  pair.a.peers[0].send.current.store(nullptr);
  expect_held(send(2));
}

TEST_F(Outbound, NonceLimit) {
  pair.session.a->sending().counter.store(kRejectAfterMessages - 3);
  const Turn turn = send(5);
  EXPECT_EQ(turn.sent.size(), 3u);
  EXPECT_EQ(turn.drops_of(DropReason::NonceLimit), 2u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(counter_of(turn.sent[i].frame, Family::V4), kRejectAfterMessages - 3 + i);
  }
  EXPECT_EQ(send(5).punts.size(), 5u);
}

TEST_F(Outbound, AnAgedKeyIsReportedOnceByTheInitiator) {
  pair.a.now = pair.b.now = kStart + 119s;
  EXPECT_TRUE(send().events.empty());
  pair.a.now = pair.b.now = kStart + 120s;
  const Turn turn = send();
  EXPECT_EQ(turn.sent.size(), 1u);
  ASSERT_EQ(turn.events.size(), 1u);
  EXPECT_EQ(turn.events[0].header.kind, PuntKind::KeyAged);
  EXPECT_EQ(turn.events[0].header.peer, (PeerRef{.index = 0, .incarnation = 7}));
  EXPECT_EQ(turn.events[0].header.local_index, pair.session.a->local_index);
  EXPECT_TRUE(send().events.empty());
  const Turn back = pair.b.receive(pair.inside, {pair.from_host_b(pair.b_to_a(Family::V4, 5))});
  EXPECT_EQ(back.sent.size(), 1u);
  EXPECT_TRUE(back.events.empty()) << "the responder leaves it to the initiator";
}

TEST_F(Outbound, AKeyOfManyMessagesIsReportedByEitherRole) {
  pair.session.b->sending().counter.store(wireguard::kRekeyAfterMessages - 1);
  const auto back = [&] {
    return pair.b.receive(pair.inside, {pair.from_host_b(pair.b_to_a(Family::V4, 5))});
  };
  EXPECT_TRUE(back().events.empty());
  ASSERT_EQ(back().events.size(), 1u);
  EXPECT_TRUE(back().events.empty());
}

TEST_F(Outbound, AnEchoRequestForTheTunnelsOwnAddressIsAnsweredOnTheInside) {
  pair.a.add_own_address(0, "10.8.0.1");
  const Blob ping =
      pair.from_host_a(make_ip(ip("10.0.0.2"), ip("10.8.0.1"), Blob(8), {.protocol = 1}));
  const Turn turn = pair.a.receive(pair.inside, {ping});
  ASSERT_EQ(turn.punts.size(), 1u);
  EXPECT_EQ(turn.punts[0].header.kind, PuntKind::PortIcmp);
  EXPECT_EQ(turn.punts[0].bytes, ping);
  const Blob tcp =
      pair.from_host_a(make_ip(ip("10.0.0.2"), ip("10.8.0.1"), Blob(20), {.protocol = 6}));
  EXPECT_EQ(pair.a.receive(pair.inside, {tcp}).drops_of(DropReason::LocalUnwanted), 1u);
}

TEST_F(Outbound, EachTunnelOfAnInsidePortIsAskedInOrder) {
  const TunnelIndex second = pair.a.add_tunnel(pair.outside, pair.inside, 51900);
  const PeerIndex peer = pair.a.add_peer();
  pair.a.allow(second, "172.16.0.0/12", peer);
  pair.a.allow(second, "10.1.0.0/16", peer);  // the first tunnel has it, too
  pair.a.set_endpoint(peer, {ip("192.0.2.2"), 7}, ip("192.0.2.1"), pair.outside, ip("192.0.2.2"));
  Gateway other;
  other.add_port(kOutsideB, {"192.0.2.2/24"});
  other.add_port(kInsideB, {"172.16.0.1/24"});
  other.add_tunnel(0, 1, 7);
  connect(pair.a, second, peer, other, 0, other.add_peer());
  const Turn turn = pair.a.receive(
      pair.inside, {pair.from_host_a(make_ip(ip("10.0.0.2"), ip("172.16.0.9"), Blob(9))),
                    pair.from_host_a(make_ip(ip("10.0.0.2"), ip("10.1.0.2"), Blob(9))),
                    pair.from_host_a(make_ip(ip("10.0.0.2"), ip("203.0.113.1"), Blob(9)))});
  ASSERT_EQ(turn.sent.size(), 2u);
  std::set<unsigned> source_ports;
  for (const Sent& sent : turn.sent) source_ports.insert(get16(sent.frame, 34));
  EXPECT_EQ(source_ports, (std::set<unsigned>{51820, 51900}));
  EXPECT_EQ(turn.drops_of(DropReason::NoAllowedIp), 1u);
}

TEST_F(Outbound, ABurstToManyPeersIsGroupedAndKeepsTheOrderWithinEach) {
  constexpr size_t kPeers = 13;
  Gateway hub;
  hub.add_port(kOutsideA, {"192.0.2.1/24"});
  hub.add_port(kInsideA, {"10.0.0.1/24"});
  hub.add_tunnel(0, 1, 51820);
  hub.add_neighbour(0, ip("192.0.2.2"), &kOutsideB);
  Gateway other;
  other.add_port(kOutsideB, {"192.0.2.2/24"});
  other.add_port(kInsideB, {"172.16.0.1/24"});
  other.add_tunnel(0, 1, 7);
  std::map<uint32_t, size_t> peer_of_index;
  for (size_t i = 0; i < kPeers; ++i) {
    const PeerIndex peer = hub.add_peer();
    hub.allow(0, "10.9.0." + std::to_string(i) + "/32", peer);
    hub.set_endpoint(peer, {ip("192.0.2.2"), 7}, ip("192.0.2.1"), 0, ip("192.0.2.2"));
    peer_of_index[connect(hub, 0, peer, other, 0, other.add_peer()).b->local_index] = i;
  }
  std::vector<Blob> frames;
  std::vector<std::vector<size_t>> expected(kPeers);
  for (size_t i = 0; i < kBurstMax; ++i) {
    const size_t peer = hub.random() % kPeers;
    expected[peer].push_back(i);
    frames.push_back(
        make_frame(kInsideA, kHostA,
                   make_ip(ip("10.0.0.2"), ip("10.9.0." + std::to_string(peer)), Blob(16 * i))));
  }
  const Turn turn = hub.receive(1, frames);
  ASSERT_EQ(turn.sent.size(), kBurstMax);
  std::vector<std::vector<size_t>> got(kPeers);
  std::vector<uint64_t> next(kPeers, 0);
  for (const Sent& sent : turn.sent) {
    const size_t peer = peer_of_index.at(load_le32(&sent.frame.at(14 + 28 + 4)));
    EXPECT_EQ(counter_of(sent.frame, Family::V4), next[peer]++);
    got[peer].push_back((sent.frame.size() - 14 - 28 - 32 - 32) / 16);
  }
  EXPECT_EQ(got, expected);
}

// Packets of three peers in turn: two tunnels, of which one has a peer whose neighbour is not known, and one packet in
// the middle that has no room for headers.
TEST_F(Outbound, ABurstThatGoesDifferentWaysIsCountedForEachTunnelAndPeer) {
  const TunnelIndex second = pair.a.add_tunnel(pair.outside, pair.inside, 51900);
  pair.a.add_neighbour(pair.outside, ip("192.0.2.3"), nullptr);
  Gateway other;
  other.add_port(kOutsideB, {"192.0.2.2/24"});
  other.add_port(kInsideB, {"172.16.0.1/24"});
  other.add_tunnel(0, 1, 7);
  const auto add = [&](TunnelIndex tunnel, const char* host, const char* router) {
    const PeerIndex peer = pair.a.add_peer();
    pair.a.allow(tunnel, host, peer);
    pair.a.set_endpoint(peer, {ip("198.51.100.9"), 7}, ip("192.0.2.1"), pair.outside, ip(router));
    connect(pair.a, tunnel, peer, other, 0, other.add_peer());
    return peer;
  };
  const std::array<PeerIndex, 3> peers{add(0, "10.9.0.0/32", "192.0.2.2"),
                                       add(second, "10.9.0.1/32", "192.0.2.2"),
                                       add(0, "10.9.0.2/32", "192.0.2.3")};
  std::vector<FrameIn> frames;
  constexpr size_t kEach = 6, kWithoutRoom = 2;
  for (size_t i = 0; i < 3 * kEach; ++i) {
    const Blob inner =
        make_ip(ip("10.0.0.2"), ip("10.9.0." + std::to_string(i % 3)), Blob(16 * (1 + i / 3) - 4));
    frames.push_back({.bytes = pair.from_host_a(inner)});
  }
  frames[3 * kWithoutRoom].room.head = 60;  // of the first peer
  const Turn turn = pair.a.receive(pair.inside, frames);
  EXPECT_EQ(turn.drops_of(DropReason::NoHeadroom), 1u);
  EXPECT_EQ(turn.dropped(), 1u);
  // In order for each, with nonces that follow one another; inner packets are of 32, 48, ... 112 bytes.
  std::map<unsigned, std::vector<size_t>> texts;  // by source port
  std::map<unsigned, uint64_t> next;
  for (const Sent& sent : turn.sent) {
    const unsigned port = get16(sent.frame, 34);
    texts[port].push_back(sent.frame.size() - 14 - 28 - 32);
    EXPECT_EQ(counter_of(sent.frame, Family::V4), next[port]++);
  }
  const std::vector<size_t> all{32, 48, 64, 80, 96, 112};
  std::vector<size_t> but_one = all;
  but_one.erase(but_one.begin() + kWithoutRoom);
  EXPECT_EQ(texts[51820], but_one);
  EXPECT_EQ(texts[51900], all);
  ASSERT_EQ(turn.punts.size(), kEach);
  for (size_t i = 0; i < kEach; ++i) {
    EXPECT_EQ(turn.punts[i].header.kind, PuntKind::NeedsNeighbour);
    EXPECT_EQ(turn.punts[i].header.next_hop, ip("192.0.2.3"));
    EXPECT_EQ(turn.punts[i].bytes.size() - 28 - 32, all[i]);
  }
  const publish::Counters& counters = pair.a.workers[0]->door.counters;
  EXPECT_EQ(counters.tunnels[0].outbound_packets.value(), 2 * kEach - 1);
  EXPECT_EQ(counters.tunnels[0].outbound_bytes.value(), 2 * 432u - 64);
  EXPECT_EQ(counters.tunnels[second].outbound_packets.value(), kEach);
  EXPECT_EQ(counters.tunnels[second].outbound_bytes.value(), 432u);
  EXPECT_EQ(pair.a.peers[peers[0]].activity.tx_bytes.load(), 432u - 64 + 32 * (kEach - 1));
  EXPECT_EQ(pair.a.peers[peers[1]].activity.tx_bytes.load(), 432u + 32 * kEach);
  EXPECT_EQ(pair.a.peers[peers[2]].activity.tx_bytes.load(), 432u + 32 * kEach);
}

TEST_F(Outbound, PeersThatAreReachedDifferentWaysGetEachItsOwnOuterHeader) {
  constexpr size_t kPeers = kBurstMax;
  Gateway hub;
  hub.add_port(kOutsideA, {"192.0.2.1/24", "2001:db8::1/64"});
  hub.add_port(kInsideA, {"10.0.0.1/24"});
  hub.add_tunnel(0, 1, 51820);
  const MacAddress other_router{{2, 9, 9, 9, 9, 9}};
  hub.add_neighbour(0, ip("192.0.2.2"), &kOutsideB);
  hub.add_neighbour(0, ip("192.0.2.3"), &other_router);
  Gateway far;
  far.add_port(kOutsideB, {"192.0.2.2/24"});
  far.add_port(kInsideB, {"172.16.0.1/24"});
  far.add_tunnel(0, 1, 7);
  struct Expected {
    Endpoint remote;
    IpAddress local;
    MacAddress mac;
  };
  std::map<uint32_t, Expected> expected;  // by receiver index
  std::vector<Blob> frames;
  for (size_t i = 0; i < kPeers; ++i) {
    const PeerIndex peer = hub.add_peer();
    // Ways repeat, and change at each place of a batch: family, own address, router.
    const bool v4 = hub.random() % 4 != 0;
    const std::string number = std::to_string(i + 1);
    const bool first_router = hub.random() % 4 != 0;
    const Expected is{
        .remote = {ip(v4 ? "198.51.100." + number : "2001:db8:9::" + number),
                   static_cast<uint16_t>(1'000 + i)},
        .local = ip(v4 ? (hub.random() % 4 != 0 ? "192.0.2.1" : "192.0.2.9") : "2001:db8::1"),
        .mac = first_router ? kOutsideB : other_router};
    hub.allow(0, "10.9.0." + std::to_string(i) + "/32", peer);
    hub.set_endpoint(peer, is.remote, is.local, 0, ip(first_router ? "192.0.2.2" : "192.0.2.3"));
    expected[connect(hub, 0, peer, far, 0, far.add_peer()).b->local_index] = is;
    frames.push_back(make_frame(
        kInsideA, kHostA,
        make_ip(ip("10.0.0.2"), ip("10.9.0." + std::to_string(i)), Blob(hub.random() % 64))));
  }
  const Turn turn = hub.receive(1, frames);
  ASSERT_EQ(turn.sent.size(), kPeers);
  for (const Sent& sent : turn.sent) {
    const Blob packet = without_ethernet(sent.frame);
    const bool v4 = packet.at(0) >> 4 == 4;
    const size_t udp = v4 ? 20 : 40;
    const auto found = expected.find(load_le32(&packet.at(udp + 8 + 4)));
    ASSERT_NE(found, expected.end()) << "each peer once";
    const Expected& is = found->second;
    EXPECT_EQ(v4, is.remote.address.is_v4());
    EXPECT_EQ(Blob(sent.frame.begin(), sent.frame.begin() + 6),
              Blob(is.mac.bytes.begin(), is.mac.bytes.end()));
    Blob addresses;
    append_address(addresses, is.local);
    append_address(addresses, is.remote.address);
    const auto at = packet.begin() + (v4 ? 12 : 8);
    EXPECT_EQ(Blob(at, at + static_cast<long>(addresses.size())), addresses);
    EXPECT_EQ(get16(packet, udp + 2), is.remote.port);
    if (v4) {
      EXPECT_EQ(plain_sum(packet, 0, 20), 0xffffu);
    }
    EXPECT_EQ(transport_sum(packet, udp, 17), 0xffffu);
    expected.erase(found);
  }
}

// A device that fails each third job.
class FailingAead final : public crypto::Aead {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "failing"; }
  bool try_seal(std::span<const crypto::AeadJob> jobs,
                std::span<uint8_t> sealed) noexcept override {
    inner_->seal(jobs);
    for (size_t i = 0; i < jobs.size(); ++i) {
      sealed[i] = i % 3 != 0;
      if (sealed[i] == 0) std::memset(jobs[i].data, 0, jobs[i].length_bytes);
    }
    return false;
  }
  void open(std::span<const crypto::AeadJob> jobs, std::span<uint8_t> authentic) noexcept override {
    inner_->open(jobs, authentic);
  }

 private:
  std::unique_ptr<crypto::Aead> inner_ = crypto::make_aead(crypto::AeadBackend::Auto);
};

TEST_F(Outbound, SealFailed) {
  pair.a.workers[0] = std::make_unique<Gateway::Worker>(pair.a, std::make_unique<FailingAead>());
  const Turn turn = send(10);
  EXPECT_EQ(turn.drops_of(DropReason::SealFailed), 4u);
  EXPECT_EQ(turn.dropped(), 4u);
  ASSERT_EQ(turn.sent.size(), 6u);
  std::vector<Blob> frames;
  for (const Sent& sent : turn.sent) frames.push_back(sent.frame);
  const Turn there = pair.b.receive(pair.outside, frames);
  EXPECT_EQ(there.sent.size(), 6u);
  EXPECT_EQ(there.dropped(), 0u);
}

// Calls `meanwhile` once, while the first batch is being sealed.
class InterruptedAead final : public crypto::Aead {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "interrupted"; }
  bool try_seal(std::span<const crypto::AeadJob> jobs, std::span<uint8_t>) noexcept override {
    inner_->seal(jobs);
    if (meanwhile) std::exchange(meanwhile, {})();
    return true;
  }
  void open(std::span<const crypto::AeadJob> jobs, std::span<uint8_t> authentic) noexcept override {
    inner_->open(jobs, authentic);
  }
  std::function<void()> meanwhile;

 private:
  std::unique_ptr<crypto::Aead> inner_ = crypto::make_aead(crypto::AeadBackend::Auto);
};

// Three batches. When the session thread is at work the second one's slots have been read already, those of the third one
// have not: so what goes out is whole, as before or as afterwards, and the next burst goes by what was set.
TEST(OutboundSlots, ThatChangeWhileABatchIsSealedAreTakenWholeAndNoNonceComesTwice) {
  constexpr size_t kPeers = 24, kBatch = 8;
  enum : size_t { kRekeyed, kRemoved, kMoved, kWithoutKey };  // the first ones of either batch
  Gateway hub, far;
  hub.add_port(kOutsideA, {"192.0.2.1/24"});
  hub.add_port(kInsideA, {"10.0.0.1/24"});
  hub.add_tunnel(0, 1, 51820);
  hub.add_neighbour(0, ip("192.0.2.2"), &kOutsideB);
  far.add_port(kOutsideB, {"192.0.2.2/24"});
  far.add_port(kInsideB, {"172.16.0.1/24"});
  far.add_tunnel(0, 1, 7);
  const Endpoint there{ip("192.0.2.2"), 7}, elsewhere{ip("198.51.100.9"), 9};
  std::map<uint32_t, std::pair<size_t, int>> session_of;  // by receiver index: peer and number
  const auto begin_session = [&](size_t peer, int number) {
    const auto index = static_cast<PeerIndex>(peer);
    session_of[connect(hub, 0, index, far, 0, index).b->local_index] = {peer, number};
  };
  std::vector<Blob> frames;
  for (size_t peer = 0; peer < kPeers; ++peer) {
    const PeerIndex index = hub.add_peer();
    far.add_peer();
    const std::string host = "10.9.0." + std::to_string(peer);
    hub.allow(0, host + "/32", index);
    hub.set_endpoint(index, there, ip("192.0.2.1"), 0, ip("192.0.2.2"));
    begin_session(peer, 1);
    frames.push_back(make_frame(kInsideA, kHostA, make_ip(ip("10.0.0.2"), ip(host), Blob(16))));
  }
  auto aead = std::make_unique<InterruptedAead>();
  aead->meanwhile = [&] {
    for (const size_t batch : {kBatch, 2 * kBatch}) {
      begin_session(batch + kRekeyed, 2);
      const auto removed = static_cast<PeerIndex>(batch + kRemoved);
      hub.peers.set_incarnation(removed, 0);
      hub.peers[removed].send.current.store(nullptr);
      hub.peers.set_endpoint(removed, {});
      hub.set_endpoint(static_cast<PeerIndex>(batch + kMoved), elsewhere, ip("192.0.2.1"), 0,
                       ip("192.0.2.2"));
      hub.peers[static_cast<PeerIndex>(batch + kWithoutKey)].send.current.store(nullptr);
    }
  };
  hub.workers[0] = std::make_unique<Gateway::Worker>(hub, std::move(aead));
  std::set<std::pair<uint32_t, uint64_t>> nonces;
  std::vector<Blob> to_far;
  for (const int burst : {1, 2}) {
    SCOPED_TRACE(burst);
    const Turn turn = hub.receive(1, frames);
    const size_t changed = burst == 1 ? 1 : 2;  // batches
    EXPECT_EQ(turn.sent.size(), kPeers - 2 * changed);
    EXPECT_EQ(turn.drops_of(DropReason::NoEndpoint), changed);
    EXPECT_EQ(turn.dropped(), changed);
    EXPECT_EQ(std::ranges::count(turn.punts, PuntKind::NeedsHandshake,
                                 [](const Punted& punted) { return punted.header.kind; }),
              static_cast<long>(changed));
    for (const Sent& sent : turn.sent) {
      const uint32_t index = load_le32(&sent.frame.at(14 + 28 + 4));
      const auto [peer, number] = session_of.at(index);
      EXPECT_TRUE(nonces.emplace(index, counter_of(sent.frame, Family::V4)).second);
      const bool is_changed = peer >= (burst == 1 ? 2 : 1) * kBatch;
      EXPECT_EQ(number, is_changed && peer % kBatch == kRekeyed ? 2 : 1) << peer;
      const bool has_moved = is_changed && peer % kBatch == kMoved;
      EXPECT_EQ(get16(sent.frame, 14 + 20 + 2), (has_moved ? elsewhere : there).port) << peer;
      if (!has_moved) to_far.push_back(sent.frame);
    }
  }
  // Under the keys that their indexes stand for.
  const Turn turn = far.receive(0, to_far);
  EXPECT_EQ(turn.drops_of(DropReason::InnerSourceNotAllowed), to_far.size());
}

TEST(OutboundWorkers, NoNonceIsUsedTwiceByTwoWorkersThatShareAPeer) {
  for (const uint64_t first : {uint64_t{0}, kRejectAfterMessages - 10'000}) {
    Pair pair(Family::V4, 2);
    pair.session.a->sending().counter.store(first);
    constexpr size_t kBursts = 400;
    std::array<std::vector<uint64_t>, 2> counters;
    std::array<std::thread, 2> threads;
    const Blob frame = pair.from_host_a(pair.a_to_b(Family::V4, 20));
    for (size_t w = 0; w < 2; ++w) {
      threads[w] = std::thread([&, w] {
        for (size_t burst = 0; burst < kBursts; ++burst) {
          const Turn turn =
              pair.a.receive(pair.inside, std::vector<Blob>(1 + burst % 40, frame), w);
          for (const Sent& sent : turn.sent)
            counters[w].push_back(counter_of(sent.frame, Family::V4));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::set<uint64_t> all;
    for (const auto& of_worker : counters) {
      EXPECT_TRUE(std::is_sorted(of_worker.begin(), of_worker.end()));
      all.insert(of_worker.begin(), of_worker.end());
    }
    EXPECT_EQ(all.size(), counters[0].size() + counters[1].size());
    EXPECT_LT(*all.rbegin(), kRejectAfterMessages);
    if (first == 0) {
      EXPECT_EQ(*all.rbegin(), all.size() - 1);
    }
  }
}

}  // namespace
}  // namespace turnpike::pipeline::test

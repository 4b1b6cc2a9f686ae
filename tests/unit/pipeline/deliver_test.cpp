// Where decrypted packets go: own addresses, other peers, next hops inside; and what is injected.
#include <gtest/gtest.h>

#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

using publish::InjectKind;
using publish::PuntKind;

class Deliver : public testing::Test {
 protected:
  // From a host behind A through the tunnel to whatever address, as B sees it.
  Turn at_b(const char* destination, IpOptions options = {}, size_t payload = 8) {
    const IpAddress to = ip(destination);
    pair.a.allow(0, "0.0.0.0/0", 0);
    pair.a.allow(0, "::/0", 0);
    Blob packet = make_ip(ip(to.is_v4() ? "10.0.0.2" : "fd00:a::2"), to, Blob(payload), options);
    inner = after_hop(packet);
    return pair.b.receive(pair.outside, {pair.sealed_by_a(packet)});
  }
  // The same for what A itself would not let pass: sealed as an injected packet.
  Turn raw_at_b(const Blob& packet) {
    pair.a.allow(0, "0.0.0.0/0", 0);
    pair.a.allow(0, "::/0", 0);
    const Turn turn = pair.a.inject(
        {{.header = {.kind = InjectKind::InnerPacket, .tunnel = 0}, .bytes = packet}});
    CHECK(turn.sent.size() == 1);
    return pair.b.receive(pair.outside, {turn.sent[0].frame});
  }
  void expect_drop(DropReason reason, const Turn& turn) {
    EXPECT_EQ(turn.drops_of(reason), 1u) << to_string(reason);
    EXPECT_EQ(turn.dropped(), 1u);
    EXPECT_TRUE(turn.sent.empty());
  }
  void expect_undeliverable(DropReason reason, const Turn& turn) {
    expect_drop(reason, turn);
    ASSERT_EQ(turn.punts.size(), 1u);
    const publish::PuntHeader& header = turn.punts[0].header;
    EXPECT_EQ(header.kind, PuntKind::Undeliverable);
    EXPECT_EQ(header.detail, static_cast<uint8_t>(reason));
    EXPECT_EQ(header.tunnel, 0);
    EXPECT_EQ(header.port, kNoPort);
    EXPECT_EQ(header.peer, (PeerRef{.index = 0, .incarnation = 7}));
    EXPECT_EQ(turn.punts[0].bytes, inner);
  }
  Pair pair;
  Blob inner;  // of the last at_b(), as B decrypts it
};

TEST_F(Deliver, EchoRequestsForOwnAddressesGoToTheSessionThread) {
  pair.b.add_own_address(0, "10.8.0.1");
  pair.b.add_own_address(0, "fd00:8::1");
  for (const auto& [address, protocol] : {std::pair<const char*, uint8_t>{"10.8.0.1", 1},
                                          {"10.1.0.1", 1},
                                          {"fd00:8::1", 58},
                                          {"fd00:b::1", 58}}) {
    const Turn turn = at_b(address, {.protocol = protocol});
    EXPECT_EQ(turn.dropped(), 0u);
    ASSERT_EQ(turn.punts.size(), 1u);
    EXPECT_EQ(turn.punts[0].header.kind, PuntKind::TunnelLocal);
    EXPECT_EQ(turn.punts[0].header.tunnel, 0);
    EXPECT_EQ(turn.punts[0].header.peer, (PeerRef{.index = 0, .incarnation = 7}));
    EXPECT_EQ(turn.punts[0].bytes, inner);
    expect_drop(DropReason::LocalUnwanted, at_b(address, {.protocol = 6}));
  }
}

TEST_F(Deliver, InnerMulticast) {
  expect_drop(DropReason::InnerMulticast,
              raw_at_b(make_ip(ip("10.0.0.2"), ip("224.0.0.5"), Blob(8))));
  expect_drop(DropReason::InnerMulticast,
              raw_at_b(make_ip(ip("fd00:a::2"), ip("ff02::5"), Blob(8))));
}

TEST_F(Deliver, MartianDestination) {
  for (const char* to : {"127.0.0.1", "255.255.255.255", "10.1.0.255"}) {
    expect_drop(DropReason::MartianDestination, raw_at_b(make_ip(ip("10.0.0.2"), ip(to), Blob(8))));
  }
  expect_drop(DropReason::MartianDestination,
              raw_at_b(make_ip(ip("fd00:a::2"), ip("::1"), Blob(8))));
}

// A peer that owns everything still is on another link than the hosts inside (RFC 4291, 2.5.6).
TEST_F(Deliver, LinkLocalPacketsDoNotLeaveTheTunnel) {
  pair.b.allow(0, "0.0.0.0/0", 0);
  pair.b.allow(0, "::/0", 0);
  pair.b.add_route(pair.inside, "fe80::/64",
                   "fe80::77");  // as on every port: the link's own subnet
  for (const char* to : {"fe80::1", "fe80::ff:fe00:b1"}) {
    expect_drop(DropReason::NotForwarded, raw_at_b(make_ip(ip("fd00:a::2"), ip(to), Blob(8))));
  }
  expect_drop(DropReason::NotForwarded, raw_at_b(make_ip(ip("fe80::2"), ip("fd00:b::2"), Blob(8))));
}

TEST_F(Deliver, SourcesThatNoHostCanHaveAreNobodys) {
  pair.b.allow(0, "0.0.0.0/0", 0);
  pair.b.allow(0, "::/0", 0);
  for (const char* from : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"}) {
    expect_drop(DropReason::MartianSource, raw_at_b(make_ip(ip(from), ip("10.1.0.2"), Blob(8))));
  }
  for (const char* from : {"::", "::1", "ff02::1"}) {
    expect_drop(DropReason::MartianSource, raw_at_b(make_ip(ip(from), ip("fd00:b::2"), Blob(8))));
  }
}

TEST_F(Deliver, NoRoute) {
  expect_undeliverable(DropReason::NoRoute, at_b("198.51.100.1"));
  expect_undeliverable(DropReason::NoRoute, at_b("2001:db8:77::1"));
}

TEST_F(Deliver, ARouterInsideIsTheNextHop) {
  pair.b.add_route(pair.inside, "198.51.100.0/24", "10.1.0.254");
  pair.b.add_neighbour(pair.inside, ip("10.1.0.254"), &kHostB);
  const Turn turn = at_b("198.51.100.1");
  ASSERT_EQ(turn.sent.size(), 1u);
  EXPECT_EQ(turn.sent[0].frame, make_frame(kHostB, kInsideB, after_hop(inner)));
  const auto index = pair.b.neighbours.find(pair.inside, ip("10.1.0.254"));
  EXPECT_EQ(pair.b.neighbours[index].last_used.load(), kStart.nanoseconds);
}

TEST_F(Deliver, APacketWaitsForAnUnknownNeighbourWithTheSessionThread) {
  pair.b.add_neighbour(pair.inside, ip("10.1.0.78"), nullptr);
  for (const char* to : {"10.1.0.77", "10.1.0.78"}) {
    const Turn turn = at_b(to);
    EXPECT_EQ(turn.dropped(), 0u);
    ASSERT_EQ(turn.punts.size(), 1u);
    EXPECT_EQ(turn.punts[0].header.kind, PuntKind::NeedsNeighbour);
    EXPECT_EQ(turn.punts[0].header.port, pair.inside);
    EXPECT_EQ(turn.punts[0].header.next_hop, ip(to));
    EXPECT_EQ(turn.punts[0].bytes, after_hop(inner));
  }
}

TEST_F(Deliver, TtlExceeded) {
  expect_undeliverable(DropReason::TtlExceeded, at_b("10.1.0.2", {.ttl = 2}));
}

TEST_F(Deliver, PacketTooBig) {
  pair.b.snapshot.ports[pair.inside].mtu_bytes = 1000;
  const Turn turn = at_b("10.1.0.2", {.dont_fragment = true}, 981);
  expect_undeliverable(DropReason::PacketTooBig, turn);
  EXPECT_EQ(turn.punts.at(0).header.mtu_bytes, 1000);
  expect_undeliverable(DropReason::PacketTooBig, at_b("fd00:b::2", {}, 961));
  EXPECT_EQ(at_b("10.1.0.2", {.dont_fragment = true}, 980).sent.size(), 1u);
  EXPECT_EQ(at_b("fd00:b::2", {}, 960).sent.size(), 1u);
}

TEST_F(Deliver, APacketThatMayBeFragmentedGoesToTheSessionThreadWithItsNextHop) {
  pair.b.snapshot.ports[pair.inside].mtu_bytes = 1000;
  const Turn turn = at_b("10.1.0.2", {}, 981);
  EXPECT_EQ(turn.dropped(), 0u);
  ASSERT_EQ(turn.punts.size(), 1u);
  EXPECT_EQ(turn.punts[0].header.kind, PuntKind::NeedsFragments);
  EXPECT_EQ(turn.punts[0].header.port, pair.inside);
  EXPECT_EQ(turn.punts[0].header.next_hop, ip("10.1.0.2"));
  EXPECT_EQ(turn.punts[0].header.mtu_bytes, 1000);
  EXPECT_EQ(turn.punts[0].bytes, after_hop(inner));
}

TEST_F(Deliver, WhatWouldGoBackToItsPeerIsNotForwarded) {
  expect_drop(DropReason::NotForwarded, at_b("10.0.0.9"));
}

TEST_F(Deliver, APeerThatOwnsEverythingStillReachesTheNetworkInside) {
  pair.b.allow(0, "0.0.0.0/0", 0);
  pair.b.add_route(pair.inside, "198.51.100.0/24", "10.1.0.2");
  EXPECT_EQ(at_b("10.1.0.2").sent.size(), 1u);
  EXPECT_EQ(at_b("198.51.100.1").sent.size(), 1u);
  expect_drop(DropReason::NotForwarded, at_b("203.0.113.1"));
}

// B is the hub of A and of a second spoke, C.
class Hub : public Deliver {
 protected:
  Hub() {
    c.add_port(kOutsideC, {"192.0.2.3/24", "2001:db8::3/64"});
    c.add_port(kInsideC, {"10.2.0.1/24"});
    c.add_tunnel(0, 1, 51822);
    c.add_peer();
    c.allow(0, "10.0.0.0/8", 0);
    c.add_neighbour(1, ip("10.2.0.2"), &kHostB);
    spoke = pair.b.add_peer();
    pair.b.allow(0, "10.2.0.0/16", spoke);
    pair.b.add_neighbour(0, ip("2001:db8::3"), &kOutsideC);
    pair.b.set_endpoint(spoke, {ip("2001:db8::3"), 51822}, ip("2001:db8::2"), 0, ip("2001:db8::3"));
  }
  const MacAddress kOutsideC{{2, 0, 0, 0, 0, 0xc0}}, kInsideC{{2, 0, 0, 0, 0, 0xc1}};
  Gateway c;
  PeerIndex spoke = 0;
};

TEST_F(Hub, APacketForAnotherPeerIsSealedAgain) {
  connect(pair.b, 0, spoke, c, 0, 0);
  const Turn turn = at_b("10.2.0.2", {}, 333);
  ASSERT_EQ(turn.sent.size(), 1u);
  EXPECT_EQ(turn.sent[0].port, pair.outside);
  const Turn at_c = c.receive(0, {turn.sent[0].frame});
  ASSERT_EQ(at_c.sent.size(), 1u);
  EXPECT_EQ(at_c.sent[0].frame, make_frame(kHostB, kInsideC, after_hop(after_hop(inner))));
  EXPECT_EQ(pair.b.peers[spoke].activity.tx_bytes.load(), 32u + 368);
}

TEST_F(Hub, AMixedBurstGoesEachItsOwnWay) {
  connect(pair.b, 0, spoke, c, 0, 0);
  pair.a.allow(0, "0.0.0.0/0", 0);
  std::vector<Blob> wire;
  for (const char* to : {"10.2.0.2", "10.1.0.2", "10.2.0.2", "198.51.100.1", "10.1.0.1"}) {
    wire.push_back(pair.sealed_by_a(make_ip(ip("10.0.0.2"), ip(to), Blob(8), {.protocol = 1})));
  }
  const Turn turn = pair.b.receive(0, wire);
  EXPECT_EQ(turn.sent.size(), 3u);
  EXPECT_EQ(turn.drops_of(DropReason::NoRoute), 1u);
  EXPECT_EQ(turn.punts.size(), 2u);
}

TEST_F(Hub, PeerToPeerForbidden) {
  connect(pair.b, 0, spoke, c, 0, 0);
  pair.b.snapshot.tunnels[0].peer_to_peer = false;
  expect_drop(DropReason::PeerToPeerForbidden, at_b("10.2.0.2"));
}

TEST_F(Hub, APacketForAPeerWithoutSessionIsHeld) {
  const Turn turn = at_b("10.2.0.2");
  ASSERT_EQ(turn.punts.size(), 1u);
  EXPECT_EQ(turn.punts[0].header.kind, PuntKind::NeedsHandshake);
  EXPECT_EQ(turn.punts[0].header.peer, (PeerRef{.index = spoke, .incarnation = 7}));
  EXPECT_EQ(turn.punts[0].bytes, after_hop(inner));
}

class Inject : public testing::Test {
 protected:
  static publish::InjectHeader inner_header() {
    return {.kind = InjectKind::InnerPacket, .tunnel = 0};
  }
  Pair pair;
};

TEST_F(Inject, AFrameGoesToItsPortAsItIs) {
  const Blob frame(60, 0x33);
  const Turn turn =
      pair.a.inject({{.header = {.kind = InjectKind::Frame, .port = 1}, .bytes = frame}}, 3);
  ASSERT_EQ(turn.sent.size(), 1u);
  EXPECT_EQ(turn.sent[0].port, 1);
  EXPECT_EQ(turn.sent[0].frame, frame);
  EXPECT_EQ(turn.finished, 3u) << "blanks that were not needed";
  EXPECT_EQ(turn.dropped(), 0u);
}

TEST_F(Inject, AHeldPacketIsLookedUpAgainAndKeepsItsTtl) {
  for (const Family family : {Family::V4, Family::V6}) {
    const Blob packet = pair.a_to_b(family, 77, {.ttl = 1});
    const Turn turn = pair.a.inject({{.header = inner_header(), .bytes = packet}});
    ASSERT_EQ(turn.sent.size(), 1u);
    const Turn in = pair.b.receive(pair.outside, {turn.sent[0].frame});
    EXPECT_EQ(in.drops_of(DropReason::TtlExceeded), 1u);
    ASSERT_EQ(in.punts.size(), 1u);
    EXPECT_EQ(in.punts[0].bytes, packet);
  }
}

TEST_F(Inject, WhatCannotBeSentIsCountedAndAsksNobody) {
  const auto expect_drop = [&](DropReason reason, const Blob& packet) {
    const Turn turn = pair.a.inject({{.header = inner_header(), .bytes = packet}});
    EXPECT_EQ(turn.drops_of(reason), 1u) << to_string(reason);
    EXPECT_TRUE(turn.punts.empty());
  };
  expect_drop(DropReason::NoAllowedIp, make_ip(ip("10.0.0.2"), ip("198.51.100.1"), Blob(8)));
  expect_drop(DropReason::InnerInvalid, Blob(10, 0x45));
  expect_drop(DropReason::InnerInvalid, {});
  expect_drop(DropReason::NoHeadroom, pair.a_to_b(Family::V4, 1990));
  pair.a.snapshot.tunnels[0].active = false;
  expect_drop(DropReason::HeldPeerGone, pair.a_to_b(Family::V4, 8));
}

// The tunnel's MTU is another one than when it was held.
TEST_F(Inject, AHeldPacketThatIsTooBigByNowIsReportedOrFragmented) {
  const Blob v6 = pair.a_to_b(Family::V6, 1'400);
  const Turn told = pair.a.inject({{.header = inner_header(), .bytes = v6}});
  EXPECT_EQ(told.drops_of(DropReason::PacketTooBig), 1u);
  ASSERT_EQ(told.punts.size(), 1u);
  EXPECT_EQ(told.punts[0].header.kind, PuntKind::Undeliverable);
  EXPECT_EQ(told.punts[0].header.port, kNoPort);
  EXPECT_EQ(told.punts[0].header.peer.index, kNoPeer);
  EXPECT_EQ(told.punts[0].header.mtu_bytes, pair.a.snapshot.tunnels[0].mtu_bytes);
  EXPECT_EQ(told.punts[0].bytes, v6);
  const Blob v4 = pair.a_to_b(Family::V4, 1'401, {.ttl = 7});
  const Turn cut = pair.a.inject({{.header = inner_header(), .bytes = v4}});
  EXPECT_EQ(cut.dropped(), 0u);
  ASSERT_EQ(cut.punts.size(), 1u);
  EXPECT_EQ(cut.punts[0].header.kind, PuntKind::NeedsFragments);
  EXPECT_EQ(cut.punts[0].bytes, v4) << "its TTL was done when it was held";
}

TEST_F(Inject, WithoutAKeyAPacketIsHeldAgainAndAKeepaliveVanishes) {
  pair.a.peers[0].send.current.store(nullptr);
  const Blob packet = pair.a_to_b(Family::V4, 8);
  const Turn turn = pair.a.inject(
      {{.header = inner_header(), .bytes = packet},
       {.header = {
            .kind = InjectKind::Keepalive, .tunnel = 0, .peer = {.index = 0, .incarnation = 7}}}});
  ASSERT_EQ(turn.punts.size(), 1u);
  EXPECT_EQ(turn.punts[0].header.kind, PuntKind::NeedsHandshake);
  EXPECT_EQ(turn.punts[0].bytes, packet);
  EXPECT_EQ(turn.finished, 2u);
  EXPECT_EQ(turn.dropped(), 0u);
}

TEST_F(Inject, AKeepaliveForAnotherIncarnationIsStale) {
  const Turn turn = pair.a.inject({{.header = {
                                        .kind = InjectKind::Keepalive,
                                        .tunnel = 0,
                                        .peer = {.index = 0, .incarnation = 6},
                                    }}});
  EXPECT_EQ(turn.drops_of(DropReason::StalePeer), 1u);
}

TEST_F(Inject, AKeepaliveFindsItsTunnelByTheKey) {
  const Turn turn = pair.a.inject(
      {{.header = {.kind = InjectKind::Keepalive, .peer = {.index = 0, .incarnation = 7}}}});
  ASSERT_EQ(turn.sent.size(), 1u);
  EXPECT_EQ(pair.b.receive(pair.outside, {turn.sent[0].frame}).dropped(), 0u);
}

TEST_F(Inject, AFullBurstOfInjectionsIsOneCall) {
  std::vector<Gateway::Injection> entries(
      kBurstMax, {.header = inner_header(), .bytes = pair.a_to_b(Family::V4, 8)});
  EXPECT_EQ(pair.a.inject(entries).sent.size(), kBurstMax);
}

}  // namespace
}  // namespace turnpike::pipeline::test

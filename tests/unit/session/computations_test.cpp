// Several session threads: what the others compute, what stays with the first, and what has changed when a result
// comes back.
#include <gtest/gtest.h>

#include <thread>

#include "control/session/session_thread.h"
#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;
using publish::PuntKind;

class Computations : public ::testing::Test {
 protected:
  Computations() : world(21, {.computing = 1}) {
    world.settle();  // who is where on the link
    handed_over = {world.a.session->handed_over(), world.b.session->handed_over()};
  }

  // Up to where `gateway` has handed something over that does not come back.
  void settle_but(Gateway& gateway) {
    Gateway& other = &gateway == &world.a ? world.b : world.a;
    world.computing_stands_still = true;
    for (int round = 0; round < 16; ++round) {
      world.settle();
      (void)other.compute();
    }
  }
  void go_on() {
    world.computing_stands_still = false;
    world.settle();
  }
  // `gateway` has answered so many initiations, or tried to, when only `done` of its computations are worked out.
  void settle_with(Gateway& gateway, size_t done) {
    for (size_t i = 0; i < done; ++i) {
      settle_but(gateway);
      (void)gateway.compute(1);
    }
    settle_but(gateway);
  }
  size_t sent_by(bool a, wireguard::MessageType type) {
    return static_cast<size_t>(std::ranges::count(
        world.handshakes, std::pair(a, static_cast<uint8_t>(static_cast<uint32_t>(type)))));
  }

  World world;
  std::pair<uint64_t, uint64_t> handed_over;
};

TEST_F(Computations, OfAHandshakeAreTwoOnEachSide) {
  world.send(world.a, "x");
  world.settle();
  EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
  EXPECT_EQ(world.a.session->handed_over() - handed_over.first, 2u);
  EXPECT_EQ(world.b.session->handed_over() - handed_over.second, 2u);
  EXPECT_EQ(world.a.session->computing() + world.b.session->computing(), 0u);
  // And back, and through rekeys, in both roles.
  for (int i = 0; i < 4; ++i) {
    world.run_for(130s, 100ms);
    world.send(i % 2 == 0 ? world.a : world.b, "again");
    world.settle();
  }
  EXPECT_EQ(world.at_b.back(), "again");
  EXPECT_EQ(world.at_a.back(), "again");
}

TEST_F(Computations, WaitForNobodyElseAtRest) {
  Gateway gateway(5, 1);
  gateway.outside.add_interface("192.0.2.1/24");
  gateway.start({.instant = {1'000'000'000}}, 0);
  ComputationRing ring;
  ComputationRing* const rings[] = {&ring};
  gateway.session.emplace(SessionParts{.peers = gateway.slots,
                                       .keypairs = gateway.keypairs,
                                       .neighbours = gateway.neighbours,
                                       .epoch = gateway.epoch,
                                       .random = gateway.random,
                                       .doors = gateway.door_pointers,
                                       .computing = rings},
                          Instant{1'000'000'000});
  gateway.session->set_tunnel(0, gateway.key);
  const auto initiations = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) {
      wireguard::Initiation message{.sender_index = 1};
      gateway.random.fill(message.ephemeral.bytes);
      wireguard::InitiationBytes datagram = wireguard::write_initiation(message);
      wireguard::CookieJar(wireguard::derive_mac_keys(gateway.public_key))
          .write_macs(datagram, Instant{1'000'000'000});
      gateway.punt({.kind = PuntKind::Handshake,
                    .port = kOutside,
                    .tunnel = 0,
                    .remote = {ip("192.0.2.7"), 9},
                    .local = ip("192.0.2.1")},
                   datagram);
    }
    gateway.session->turn(gateway.snapshot, {.instant = {2'000'000'000}});
  };
  initiations(1);
  initiations(1);
  EXPECT_EQ(gateway.session->handed_over(), 0u);
  EXPECT_EQ(gateway.drops(DropReason::HandshakeInvalid), 2u);
  initiations(10);  // in one turn
  EXPECT_EQ(gateway.session->handed_over(), 10 - kKeptPerTurn);
  EXPECT_EQ(gateway.drops(DropReason::HandshakeInvalid), 2 + kKeptPerTurn);
}

// More than the ring takes: the session thread works out the rest itself, and nothing is dropped.
TEST(ManyPeersAtOnce, GetTheirSessionsAlthoughTheRingsAreFull) {
  constexpr uint32_t kPeers = 200;
  Gateway gateway(6, 1);
  Clock clock;
  gateway.outside.add_interface("192.0.2.1/24");
  gateway.start(clock.now, 2);
  std::vector<wireguard::StaticIdentity> identities;
  for (uint32_t i = 0; i < kPeers; ++i) {
    identities.push_back(
        wireguard::StaticIdentity::of(crypto::generate_private_key(gateway.random)));
    gateway.session->add_peer({.ref = {i, 1}, .tunnel = 0, .public_key = identities[i].public_key});
    auto far = wireguard::PeerHandshake::of(identities[i], gateway.public_key, {});
    const auto datagram =
        wireguard::create_initiation(identities[i], far, i, clock.now, gateway.random);
    gateway.punt({.kind = PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = {ip("192.0.2.7"), static_cast<uint16_t>(1'024 + i)},
                  .local = ip("192.0.2.1")},
                 *datagram);
  }
  // The others do nothing yet.
  while (gateway.session->turn(gateway.snapshot, clock.now) != 0) {
  }
  EXPECT_EQ(gateway.session->computing(), 2 * ComputationRing::kSlots);
  EXPECT_GT(gateway.session->keypairs_in_use(), 0u);  // of those that found no place
  for (int i = 0; i < 10; ++i) {
    (void)gateway.compute();
    while (gateway.session->turn(gateway.snapshot, clock.now) != 0) {
    }
  }
  EXPECT_EQ(gateway.session->computing(), 0u);
  EXPECT_EQ(gateway.session->keypairs_in_use(), kPeers);
  EXPECT_EQ(gateway.all_drops() - gateway.drops(DropReason::HeldNeighbour), 0u);
}

TEST_F(Computations, OfAPeerThatWasRemovedComeToNothing) {
  world.send(world.a, "x");
  settle_with(world.b, 1);  // opened, not answered
  ASSERT_EQ(world.b.session->computing(), 1u);
  world.b.session->remove_peer(World::kPeer);
  PeerSettings again = world.settings_for_b();
  again.ref.incarnation = 2;
  world.b.session->add_peer(again);
  go_on();
  EXPECT_EQ(world.b.drops(DropReason::StalePeer), 1u);
  EXPECT_EQ(world.b.session->keypairs_in_use(), 0u);
  EXPECT_EQ(sent_by(false, wireguard::MessageType::Response), 0u);
  // The one that came in its place is served when the next initiation comes.
  world.run_for(6s);
  EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
}

// The key was right when the message came.
TEST_F(Computations, UnderAPresharedKeyThatChangedMakeNoSession) {
  world.send(world.a, "x");
  settle_with(world.b, 1);
  ASSERT_EQ(world.b.session->computing(), 1u);
  PresharedKey key;
  key.bytes()[0] = 7;
  world.b.session->set_peer(World::kPeer, {.preshared_key = key});
  go_on();
  EXPECT_EQ(sent_by(false, wireguard::MessageType::Response), 0u);
  EXPECT_EQ(world.b.session->keypairs_in_use(), 0u);
  world.a.session->set_peer(World::kPeer, {.preshared_key = key});
  world.run_for(6s);
  EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
}

TEST_F(Computations, ForAPrivateKeyThatTheTunnelHasNoMoreAreDropped) {
  world.send(world.a, "x");
  settle_but(world.b);  // not even opened
  ASSERT_EQ(world.b.session->computing(), 1u);
  world.b.session->set_tunnel(0, crypto::generate_private_key(world.b.random));
  go_on();
  EXPECT_EQ(world.b.drops(DropReason::HandshakePeerUnknown), 1u);
  EXPECT_EQ(sent_by(false, wireguard::MessageType::Response), 0u);
}

// Whose sender waits for the answer to his last message only. With two threads the older one may end later.
TEST(AnOlderInitiation, IsNotAnsweredWhenANewerOneHasBeen) {
  World world(22, {.computing = 2});
  world.settle();
  world.computing_stands_still = true;
  const auto until_b_has = [&](size_t ring, size_t count) {
    for (int i = 0; i < 16 && world.b.rings[ring]->pending() < count; ++i) {
      world.settle();
      (void)world.a.compute();
    }
  };
  world.send(world.a, "x");
  until_b_has(1, 1);  // opening
  (void)world.b.compute();
  until_b_has(0, 1);  // answering: it stays
  ASSERT_EQ(world.b.rings[0]->pending(), 1u);
  for (int i = 0; i < 300 && world.b.rings[1]->pending() == 0; ++i) {
    world.clock.advance(20ms);
    until_b_has(1, 1);
  }
  (void)world.b.rings[1]->work(world.b.random, 1);
  // Its answer goes wherever there is room; only that one is worked out.
  world.settle();
  ASSERT_EQ(world.b.rings[0]->pending() + world.b.rings[1]->pending(), 2u);
  if (world.b.rings[1]->pending() == 1) {
    (void)world.b.rings[1]->work(world.b.random, 1);
    world.settle();
    EXPECT_EQ(world.b.session->keypairs_in_use(), 1u);
  }
  world.computing_stands_still = false;
  world.settle();
  EXPECT_EQ(world.b.drops(DropReason::HandshakeReplayed), 1u);
  EXPECT_EQ(world.b.session->keypairs_in_use(), 1u);
  EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
}

TEST_F(Computations, OfAResponseThatCameTwiceMakeOneSession) {
  world.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    if (from_a || !packet || packet->protocol != kProtocolUdp) return true;
    world.a.punt({.kind = PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = world.b_endpoint,
                  .local = world.a_endpoint.address},
                 packet->payload.subspan(kUdpHeaderBytes));
    return true;
  };
  world.send(world.a, "x");
  settle_with(world.a, 1);
  ASSERT_EQ(world.a.session->computing(), 2u);
  go_on();
  EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
  EXPECT_EQ(world.a.session->keypairs_in_use(), 1u);
  EXPECT_EQ(world.a.drops(DropReason::HandshakeInvalid), 1u);
}

// It would go to where the peer no longer is, and the index of the one that is sent would be the older one's.
TEST_F(Computations, OfAnInitiationThatWasGivenUpAreNotSent) {
  world.send(world.a, "x");
  settle_but(world.a);
  ASSERT_EQ(world.a.session->computing(), 1u);
  world.clock.advance(1s);
  world.a.session->set_peer(World::kPeer, {.endpoint = world.b_endpoint});
  settle_but(world.a);
  EXPECT_EQ(world.a.session->computing(), 2u);
  go_on();
  EXPECT_EQ(sent_by(true, wireguard::MessageType::Initiation), 1u);
  EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
}

// A cookie that came meanwhile is used; a reply to what was signed with the copy would find nobody.
TEST_F(Computations, AreSignedWhenTheyComeBack) {
  world.send(world.a, "x");
  settle_but(world.a);
  size_t cookies = 0;
  world.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    if (!from_a || !packet || packet->protocol != kProtocolUdp) return true;
    const Bytes datagram = packet->payload.subspan(kUdpHeaderBytes);
    if (wireguard::peek_type(datagram) != wireguard::MessageType::Initiation) return true;
    // As b would under load.
    wireguard::CookieChecker checker(wireguard::derive_mac_keys(world.b.public_key));
    const auto reply =
        checker.make_reply(datagram, world.a_endpoint, world.clock.now.instant, world.b.random);
    world.a.punt({.kind = PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = world.b_endpoint,
                  .local = world.a_endpoint.address},
                 reply);
    ++cookies;
    return true;
  };
  go_on();
  EXPECT_EQ(cookies, 1u);
  EXPECT_EQ(world.a.drops(DropReason::CookieInvalid), 0u);
}

// The real threads, as fast as they can, under whichever scheduler: every peer gets its session.
TEST(SeveralSessionThreads, ServeEveryPeer) {
  constexpr uint32_t kPeers = 192;
  constexpr int kRounds = 4;
  Gateway gateway(8, 1);
  gateway.outside.add_interface("192.0.2.1/24");
  gateway.snapshot.ports[kOutside].routes = gateway.outside.table();
  gateway.snapshot.ports[kInside].routes = gateway.inside.table();
  SeededRandom random(9);
  crypto::SystemRandom system_random;
  SessionThread thread({.peers = gateway.slots,
                        .keypairs = gateway.keypairs,
                        .neighbours = gateway.neighbours,
                        .epoch = gateway.epoch,
                        .random = system_random,
                        .doors = gateway.door_pointers},
                       std::nullopt, {0, 0});
  thread.publish(&gateway.snapshot);
  thread.start();
  std::vector<wireguard::StaticIdentity> identities;
  std::vector<wireguard::PeerHandshake> far;
  for (uint32_t i = 0; i < kPeers; ++i) {
    identities.push_back(wireguard::StaticIdentity::of(crypto::generate_private_key(random)));
    far.push_back(wireguard::PeerHandshake::of(identities[i], gateway.public_key, {}));
  }
  thread.post([&](Session& session) {
    session.set_tunnel(0, gateway.key);
    for (uint32_t i = 0; i < kPeers; ++i) {
      session.add_peer({.ref = {i, 1}, .tunnel = 0, .public_key = identities[i].public_key});
    }
  });
  ASSERT_TRUE(thread.flush(60s));
  // The peers are on the link, and say where when they are asked.
  const MacAddress mac{{2, 0, 0, 0, 9, 9}};
  const auto serve_link = [&](auto&& response) {
    for (const Injected& entry : gateway.take_injected()) {
      if (entry.header.kind != publish::InjectKind::Frame) continue;
      const EthernetView ethernet = *parse_ethernet(entry.bytes);
      if (ethernet.ether_type == kEtherTypeArp) {
        const Packet arp = write_arp({.operation = ArpOperation::Reply,
                                      .sender_mac = mac,
                                      .sender = ip("192.0.2.7"),
                                      .target_mac = gateway.outside_mac,
                                      .target = ip("192.0.2.1")});
        Packet frame(kEthernetHeaderBytes);
        write_ethernet(std::span<uint8_t, kEthernetHeaderBytes>(frame), gateway.outside_mac, mac,
                       kEtherTypeArp);
        frame.insert(frame.end(), arp.begin(), arp.end());
        gateway.punt({.kind = PuntKind::Arp, .port = kOutside}, frame);
        continue;
      }
      const auto packet = parse_ip_packet(ethernet.payload);
      if (packet && packet->protocol == kProtocolUdp) {
        response(packet->payload.subspan(kUdpHeaderBytes));
      }
    }
  };
  size_t sessions = 0;
  for (int round = 0; round < kRounds; ++round) {
    sessions = 0;
    std::this_thread::sleep_for(2 * wireguard::kInitiationInterval);
    const Instant end = SessionThread::read_clocks().instant + 60s;
    for (bool first = true; sessions < kPeers && SessionThread::read_clocks().instant < end;
         first = false) {
      const Now now = SessionThread::read_clocks();
      for (uint32_t i = 0; i < kPeers; ++i) {
        // Those whose answer found no room where the neighbour was awaited try again.
        if (!first && !far[i].in_flight.active) continue;
        const auto datagram = wireguard::create_initiation(identities[i], far[i], i, now, random);
        gateway.punt({.kind = PuntKind::Handshake,
                      .port = kOutside,
                      .tunnel = 0,
                      .remote = {ip("192.0.2.7"), static_cast<uint16_t>(1'024 + i)},
                      .local = ip("192.0.2.1")},
                     *datagram);
      }
      const Instant next = now.instant + 1s;
      while (sessions < kPeers && SessionThread::read_clocks().instant < next) {
        serve_link([&](Bytes datagram) {
          const uint32_t peer = load_le32(&datagram[8]);
          if (peer < kPeers && wireguard::consume_response(identities[peer], far[peer], datagram)) {
            ++sessions;
          }
        });
        std::this_thread::yield();
      }
    }
    EXPECT_EQ(sessions, kPeers) << "round " << round;
  }
  thread.stop();
  EXPECT_GT(thread.session().handed_over(), 0u);
}

}  // namespace
}  // namespace turnpike::session

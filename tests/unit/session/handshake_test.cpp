#include <gtest/gtest.h>

#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;
using ::testing::Test;

constexpr uint8_t kInitiation = 1;
constexpr uint8_t kResponse = 2;

size_t count(const World& world, bool from_a, uint8_t type) {
  return static_cast<size_t>(std::ranges::count(world.handshakes, std::pair(from_a, type)));
}

void expect_held_packet_brings_session_up(bool v6) {
  World world(1, {.v6 = v6});
  world.send(world.a, "first");
  world.settle();
  // The neighbour is asked for, answers, and the initiation follows.
  EXPECT_EQ(count(world, true, kInitiation), 1u);
  EXPECT_EQ(count(world, false, kResponse), 1u);
  EXPECT_EQ(world.at_b, std::vector<std::string>{"first"});
  ASSERT_TRUE(world.can_send(world.a));
  EXPECT_EQ(world.a.sending(0)->sending().role, wireguard::Role::Initiator);
  EXPECT_EQ(world.a.session->held_packets(), 0u);
  EXPECT_EQ(world.a.all_drops(), 0u);
  EXPECT_EQ(world.b.all_drops(), 0u);
  // The responder learnt where the initiator is, and from which of its own addresses to answer.
  const publish::PeerEndpoint endpoint = world.b.slots.endpoint(0);
  EXPECT_EQ(endpoint.remote, world.a_endpoint);
  EXPECT_EQ(endpoint.local, world.b_endpoint.address);
  EXPECT_NE(endpoint.first_hop, publish::kNoNeighbour);
  ASSERT_TRUE(world.can_send(world.b));
  world.send(world.b, "back");
  world.settle();
  EXPECT_EQ(world.at_a, std::vector<std::string>{"back"});
}

TEST(Handshake, IsMadeForTheFirstPacketWhichThenFollowsOverIpv4) {
  expect_held_packet_brings_session_up(false);
}
TEST(Handshake, IsMadeForTheFirstPacketWhichThenFollowsOverIpv6) {
  expect_held_packet_brings_session_up(true);
}

// On either side: the one that has no place for a keypair refuses, and nothing stays in the way of the next attempt.
TEST(Handshake, IsRefusedWhereNoPlaceForItsKeypairIsLeft) {
  for (const bool at_a : {true, false}) {
    SCOPED_TRACE(at_a ? "initiator" : "responder");
    World world(31);
    Gateway& full = at_a ? world.a : world.b;
    std::vector<uint32_t> taken;
    while (const auto index = full.keypairs.reserve()) taken.push_back(*index);
    world.send(world.a, "x");
    world.settle();
    EXPECT_EQ(full.drops(DropReason::HandshakeQueueFull), 1u);
    EXPECT_EQ(world.a.sending(0), nullptr);
    EXPECT_TRUE(world.at_b.empty());
    for (const uint32_t index : taken) full.keypairs.release(index);
    world.run_for(7s);
    EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
    EXPECT_EQ(full.keypairs.reserved(), 1u);
  }
}

TEST(Handshake, CountsItsBytesAndRemembersItsTimeForPeople) {
  World world(2);
  world.send(world.a, "x");
  world.settle();
  EXPECT_EQ(world.a.slots.tx_bytes(0), 148u);
  EXPECT_EQ(world.a.slots.rx_bytes(0), 92u);
  EXPECT_EQ(world.b.slots.tx_bytes(0), 92u);
  EXPECT_EQ(world.b.slots.rx_bytes(0), 148u);
  EXPECT_EQ(world.a.slots.record(0).last_handshake_wall.load(), world.clock.now.wall.nanoseconds);
  EXPECT_EQ(world.b.slots.record(0).last_handshake_wall.load(), world.clock.now.wall.nanoseconds);
}

TEST(Responder, DoesNotSendBeforeTheInitiatorUsedTheKey) {
  World world(3);
  world.data_lost = true;
  world.send(world.a, "lost");
  world.settle();
  ASSERT_TRUE(world.can_send(world.a));
  EXPECT_FALSE(world.can_send(world.b));
  EXPECT_EQ(world.b.slots.record(0).last_handshake_wall.load(), 0u);
  world.data_lost = false;
  world.send(world.b, "waits");
  world.settle();
  EXPECT_TRUE(world.at_a.empty());
  EXPECT_EQ(world.b.session->held_packets(), 1u);
  world.send(world.a, "confirms");
  world.settle();
  EXPECT_EQ(world.at_b, std::vector<std::string>{"confirms"});
  EXPECT_EQ(world.at_a, std::vector<std::string>{"waits"});
  EXPECT_EQ(count(world, false, kInitiation), 0u);
}

TEST(Responder, FindsOutAboutAConfirmationWhoseEventWasLost) {
  World world(4);
  world.data_lost = true;
  world.send(world.a, "lost");
  world.settle();
  world.data_lost = false;
  world.b.lose_events = true;
  world.send(world.b, "waits");
  world.settle();
  world.send(world.a, "confirms");
  world.run_for(1s);
  EXPECT_EQ(world.at_a, std::vector<std::string>{"waits"});
}

TEST(Initiator, SendsAKeepaliveWhenNothingWaits) {
  World world(5, {.a_keepalive = 25});
  world.run_for(100ms);
  EXPECT_EQ(world.at_b, std::vector<std::string>{""});
  EXPECT_TRUE(world.can_send(world.b));
}

TEST(Handshake, WithTheWrongPresharedKeyComesToNothingUntilBothHaveIt) {
  World world(6);
  PresharedKey psk;
  psk.bytes()[0] = 1;
  world.b.session->set_peer(World::kPeer, {.preshared_key = psk});
  world.send(world.a, "x");
  world.run_for(1s);
  EXPECT_FALSE(world.can_send(world.a));
  EXPECT_EQ(world.a.drops(DropReason::HandshakeInvalid), 1u);
  world.a.session->set_peer(World::kPeer, {.preshared_key = psk});
  world.run_for(1s);
  EXPECT_EQ(world.at_b, std::vector<std::string>{"x"});
}

TEST(ChangedKeys, RenewALiveSessionAtOnce) {
  World world(7);
  world.send(world.a, "1");
  world.settle();
  PresharedKey psk;
  psk.bytes()[31] = 9;
  const uint32_t before = world.a.sending(0)->local_index;
  world.b.session->set_peer(World::kPeer, {.preshared_key = psk});
  world.clock.advance(1s);
  world.a.session->set_peer(World::kPeer, {.preshared_key = psk});
  EXPECT_EQ(world.a.sending(0), nullptr);
  world.run_for(6s);
  ASSERT_NE(world.a.sending(0), nullptr);
  EXPECT_NE(world.a.sending(0)->local_index, before);

  // A new private key of the responder: what it has can no longer be used, and who does not know the new
  // public key is not answered.
  world.b.session->set_tunnel(0, crypto::generate_private_key(world.b.random));
  EXPECT_EQ(world.b.sending(0), nullptr);
  world.handshakes.clear();
  world.send(world.b, "2");
  world.run_for(6s);
  EXPECT_GE(count(world, false, kInitiation), 1u);
  EXPECT_EQ(count(world, true, kResponse), 0u);
  EXPECT_GE(world.a.drops(DropReason::HandshakePeerUnknown), 1u);
}

TEST(CrossingHandshakes, EndInOneSessionThatWorksBothWays) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    World world(seed, {.b_knows_a = true});
    world.run_for(100ms);  // neighbours
    world.send(world.a, "a");
    world.send(world.b, "b");
    world.settle();
    EXPECT_EQ(count(world, true, kInitiation), 1u);
    EXPECT_EQ(count(world, false, kInitiation), 1u);
    world.run_for(1s);
    EXPECT_EQ(std::ranges::count(world.at_b, "a"), 1);
    EXPECT_EQ(std::ranges::count(world.at_a, "b"), 1);
    world.send(world.a, "again");
    world.send(world.b, "again");
    world.settle();
    EXPECT_EQ(std::ranges::count(world.at_a, "again"), 1);
    EXPECT_EQ(std::ranges::count(world.at_b, "again"), 1);
    // Both sides' keypairs: never more than three.
    EXPECT_LE(world.a.session->keypairs_in_use(), 3u);
    EXPECT_LE(world.b.session->keypairs_in_use(), 3u);
  }
}

TEST(Rekey, IsTheInitiatorsByAgeAndLosesNothing) {
  World world(8);
  for (int i = 0; i < 700; ++i) {
    world.send(world.a, "ping " + std::to_string(i));
    world.send(world.b, "pong " + std::to_string(i));
    world.run_for(500ms, 100ms);
  }
  // One at the start, then one each two minutes.
  EXPECT_EQ(count(world, true, kInitiation), 3u);
  EXPECT_EQ(count(world, false, kInitiation), 0u);
  for (int i = 1; i < 700; ++i) {
    ASSERT_EQ(std::ranges::count(world.at_b, "ping " + std::to_string(i)), 1) << i;
    ASSERT_EQ(std::ranges::count(world.at_a, "pong " + std::to_string(i)), 1) << i;
  }
  EXPECT_LE(world.a.session->keypairs_in_use(), 2u);
  EXPECT_LE(world.b.session->keypairs_in_use(), 3u);
}

TEST(Retry, HasItsIntervalAndJitterAndGivesUpAfterNinetySeconds) {
  World world(9);
  world.filter = [](bool, const EthernetView& ethernet) {
    return ethernet.ether_type == kEtherTypeArp;
  };
  world.send(world.a, "never");
  std::vector<Instant> sent;
  for (int i = 0; i < 12'000; ++i) {
    const size_t before = count(world, true, kInitiation);
    world.run_for(10ms, 10ms);
    if (count(world, true, kInitiation) > before) sent.push_back(world.clock.now.instant);
  }
  // 90 s of attempts with 5 to 5.333 s between them; then silence.
  EXPECT_GE(sent.size(), 17u);
  EXPECT_LE(sent.size(), 19u);
  bool jitter = false;
  for (size_t i = 1; i < sent.size(); ++i) {
    EXPECT_GE(sent[i] - sent[i - 1], wireguard::kRekeyTimeout - 20ms);
    EXPECT_LE(sent[i] - sent[i - 1],
              wireguard::kRekeyTimeout + wireguard::kRekeyTimeoutJitterMax + 40ms);
    jitter = jitter || sent[i] - sent[i - 1] > wireguard::kRekeyTimeout + 50ms;
  }
  EXPECT_TRUE(jitter);
  EXPECT_EQ(world.a.drops(DropReason::HeldExpired), 1u);
  EXPECT_EQ(world.a.session->held_packets(), 0u);
  // The next packet begins anew.
  world.filter = nullptr;
  world.send(world.a, "now");
  world.run_for(1s);
  EXPECT_EQ(world.at_b, std::vector<std::string>{"now"});
}

TEST(HeldPackets, ComeOutInOrderAndTheOldestGiveWay) {
  World world(10);
  bool lose = true;
  world.filter = [&](bool, const EthernetView& e) {
    return !lose || e.ether_type == kEtherTypeArp;
  };
  for (int i = 0; i < 200; ++i) world.send(world.a, std::to_string(i));
  world.settle();
  EXPECT_EQ(world.a.session->held_packets(), kMaxHeldPerPeer);
  EXPECT_EQ(world.a.drops(DropReason::HeldQueueFull), 200 - kMaxHeldPerPeer);
  lose = false;
  world.run_for(7s);
  ASSERT_EQ(world.at_b.size(), kMaxHeldPerPeer);
  for (size_t i = 0; i < kMaxHeldPerPeer; ++i) {
    EXPECT_EQ(world.at_b[i], std::to_string(200 - kMaxHeldPerPeer + i));
  }
}

TEST(HeldPackets, DoNotWaitForAHandshakeThatNobodyCanMake) {
  World world(14);
  world.filter = [](bool, const EthernetView&) { return false; };
  world.send(world.a, "x");
  world.run_for(1s);
  ASSERT_EQ(world.a.session->held_packets(), 1u);
  world.a.session->set_tunnel(0, PrivateKey{});
  world.run_for(1s);
  EXPECT_EQ(world.a.session->held_packets(), 0u);
  EXPECT_EQ(world.a.drops(DropReason::HeldExpired), 1u);
  world.send(world.a, "y");
  world.run_for(1s);
  EXPECT_EQ(world.a.drops(DropReason::NoEndpoint), 1u);
  EXPECT_FALSE(world.a.session->status(0)->handshake_in_flight);
  // With the key back all is as before.
  world.filter = nullptr;
  world.a.session->set_tunnel(0, world.a.key);
  world.run_for(7s);
  world.send(world.a, "z");
  world.run_for(7s);
  EXPECT_EQ(world.at_b.back(), "z");
}

TEST(LossyLink, HealsAndLosesNoSessionForGood) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    World world(seed, {.b_knows_a = true});
    std::mt19937_64 random(seed);
    world.filter = [&](bool, const EthernetView&) { return random() % 3 != 0; };
    for (int second = 0; second < 600; ++second) {
      world.data_lost = random() % 3 == 0;
      if (random() % 2 == 0) world.send(world.a, "a");
      if (random() % 4 == 0) world.send(world.b, "b");
      world.run_for(1s, 250ms);
      // Previous, current and next, and the two that linger.
      ASSERT_LE(world.a.session->keypairs_in_use(), 5u);
      ASSERT_LE(world.b.session->keypairs_in_use(), 5u);
    }
    world.filter = nullptr;
    world.data_lost = false;
    world.run_for(20s, 250ms);
    world.at_a.clear();
    world.at_b.clear();
    world.send(world.a, "healed");
    world.send(world.b, "healed");
    world.run_for(20s, 250ms);
    EXPECT_LE(world.a.session->keypairs_in_use(), 3u);
    EXPECT_LE(world.b.session->keypairs_in_use(), 3u);
    EXPECT_EQ(std::ranges::count(world.at_a, "healed"), 1);
    EXPECT_EQ(std::ranges::count(world.at_b, "healed"), 1);
    EXPECT_EQ(world.a.session->held_packets() + world.b.session->held_packets(), 0u);
  }
}

TEST(Timers, EraseTheKeysOfASessionThatNobodyRenews) {
  World world(15);
  world.send(world.a, "x");
  world.settle();
  ASSERT_GT(world.a.session->keypairs_in_use(), 0u);
  world.filter = [](bool, const EthernetView&) { return false; };
  world.data_lost = true;
  world.run_for(wireguard::kKeyErasureTime - 10s, 1s);
  EXPECT_GT(world.a.session->keypairs_in_use(), 0u);
  world.run_for(20s, 1s);
  EXPECT_EQ(world.a.session->keypairs_in_use(), 0u);
  EXPECT_EQ(world.b.session->keypairs_in_use(), 0u);
  EXPECT_FALSE(world.can_send(world.a));
}

TEST(Timers, AnswerDataByAPassiveKeepaliveOnceAndAskWhenThePeerIsSilent) {
  World world(16);
  world.send(world.a, "x");
  world.run_for(1s);
  world.at_a.clear();
  world.run_for(wireguard::kKeepaliveTimeout + 1s);
  EXPECT_EQ(world.at_a, std::vector<std::string>{""});  // and no keepalive for a keepalive
  world.run_for(60s, 100ms);
  EXPECT_EQ(world.at_a.size(), 1u);
  world.handshakes.clear();
  world.data_lost = true;
  world.send(world.a, "into the void");
  world.run_for(wireguard::kNewHandshakeAfterSilence - 100ms);
  EXPECT_EQ(count(world, true, kInitiation), 0u);
  world.run_for(1s);
  EXPECT_EQ(count(world, true, kInitiation), 1u);
}

TEST(Timers, SendAPersistentKeepaliveOnlyWhenNothingElseWentEitherWay) {
  World world(17, {.a_keepalive = 25});
  world.run_for(1s);
  world.at_b.clear();
  world.run_for(51s, 50ms);
  EXPECT_EQ(world.at_b.size(), 2u);
  world.at_b.clear();
  for (int i = 0; i < 50; ++i) {  // up to the first rekey, whose keepalive is another matter
    world.send(world.b, "busy");
    world.send(world.a, "busy");
    world.run_for(1s, 50ms);
  }
  EXPECT_EQ(std::ranges::count(world.at_b, ""), 0);
}

TEST(RemovedPeer, GivesEverythingBackOnceEveryReaderHasPassed) {
  World world(11);
  publish::EpochReader& worker = world.a.epoch.add_reader();
  worker.online();
  world.send(world.a, "x");
  world.settle();
  world.a.needs_handshake(World::kPeer, Packet{1, 2, 3});
  world.clock.advance(200s);  // the key expired: the packet is held
  world.filter = [](bool, const EthernetView&) { return false; };
  world.settle();
  EXPECT_EQ(world.a.session->held_packets(), 1u);
  world.a.session->remove_peer(World::kPeer);
  EXPECT_EQ(world.a.drops(DropReason::HeldPeerGone), 1u);
  EXPECT_EQ(world.a.sending(0), nullptr);
  EXPECT_EQ(world.a.slots.incarnation(0), 0u);
  EXPECT_TRUE(world.a.slots.endpoint(0).remote.is_none());
  world.settle();
  EXPECT_GT(world.a.session->keypairs_in_use(), 0u);  // the worker may still hold it
  worker.begin();
  world.settle();
  EXPECT_EQ(world.a.session->keypairs_in_use(), 0u);
  EXPECT_FALSE(world.a.session->status(0));
  // What was under way for the old incarnation is dropped and counted.
  world.a.needs_handshake(World::kPeer, Packet{1});
  world.a.punt(
      {.kind = publish::PuntKind::PeerRoamed, .peer = World::kPeer, .remote = world.b_endpoint});
  world.settle();
  EXPECT_EQ(world.a.drops(DropReason::StalePeer), 2u);
  // The slot serves another incarnation as new.
  PeerSettings settings = world.settings_for_a();
  settings.ref.incarnation = 2;
  world.a.session->add_peer(settings);
  world.filter = nullptr;
  world.a.needs_handshake(World::kPeer, Packet{1});
  world.run_for(100ms);
  EXPECT_EQ(world.a.drops(DropReason::StalePeer), 3u);
  world.send(world.a, "new");
  world.run_for(100ms);
  EXPECT_EQ(world.at_b.back(), "new");
}

TEST(Roaming, AWorkersEventMovesTheEndpoint) {
  World world(12);
  world.send(world.a, "x");
  world.settle();
  const Endpoint moved{ip("192.0.2.77"), 1'234};
  world.b.punt({.kind = publish::PuntKind::PeerRoamed,
                .port = kOutside,
                .tunnel = 0,
                .peer = World::kPeer,
                .remote = moved,
                .local = world.b_endpoint.address});
  world.settle();
  EXPECT_EQ(world.b.slots.endpoint(0).remote, moved);
  EXPECT_EQ(world.b.session->status(0)->endpoint, moved);
  const auto hop = world.b.slots.endpoint(0).first_hop;
  EXPECT_EQ(world.b.neighbours[hop].address, moved.address);
}

TEST(HandshakeMessages, ThatAreNotAuthenticGetNoAnswerAndChangeNothing) {
  World world(13);
  Packet initiation;
  world.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    if (from_a && packet && packet->protocol == kProtocolUdp) {
      initiation.assign(packet->payload.begin() + 8, packet->payload.end());
      return false;
    }
    return true;
  };
  world.send(world.a, "x");
  world.settle();
  ASSERT_EQ(initiation.size(), wireguard::kInitiationBytes);
  const auto feed = [&](Bytes datagram) {
    world.b.punt({.kind = publish::PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = {ip("192.0.2.66"), 5},
                  .local = world.b_endpoint.address},
                 datagram);
    world.settle();
  };
  world.handshakes.clear();
  for (size_t at = 0; at < initiation.size(); ++at) {
    Packet changed = initiation;
    changed[at] ^= 1;
    // mac2 is not looked at while we are not under load.
    if (at >= initiation.size() - 16) continue;
    feed(changed);
  }
  for (size_t length = 0; length < initiation.size(); ++length) {
    feed(Bytes(initiation).first(length));
  }
  EXPECT_TRUE(world.handshakes.empty());
  EXPECT_EQ(world.b.session->keypairs_in_use(), 0u);
  EXPECT_TRUE(world.b.slots.endpoint(0).remote.is_none());
  EXPECT_EQ(world.b.all_drops(), 2 * initiation.size() - 16);
  feed(initiation);
  feed(initiation);
  EXPECT_EQ(world.handshakes.size(), 0u);  // the answer waits for 192.0.2.66, which nobody has
  EXPECT_EQ(world.b.session->keypairs_in_use(), 1u);
  EXPECT_EQ(world.b.drops(DropReason::HandshakeReplayed), 1u);
}

// A clock that was set back an hour while the gateway was down: the peer takes no initiation that is dated before
// the newest that it saw.
TEST(Restart, DatesGoOnAfterTheMarkThoughTheClockWentBack) {
  World world(40);
  world.send(world.a, "x");
  world.settle();
  ASSERT_TRUE(world.can_send(world.a));
  const WallTime sent = world.a.session->newest_sent();
  EXPECT_GE(sent.nanoseconds + 20'000'000, world.clock.now.wall.nanoseconds);
  const WallTime mark{sent.nanoseconds + 60'000'000'000};
  world.clock.now.wall.nanoseconds -= 3'600'000'000'000;
  world.a.session->set_sent_floor(mark);
  world.clock.now.instant = world.clock.now.instant + 200s;
  world.send(world.a, "again");
  world.settle();
  EXPECT_EQ(world.at_b.back(), "again");
  EXPECT_GT(world.a.session->newest_sent(), mark);
}

TEST(Restart, WhatAPeerSentBeforeIsNotTakenAgain) {
  World world(41);
  world.send(world.a, "x");
  world.settle();
  const auto received = world.b.session->take_received();
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].latest, wireguard::to_tai64n(world.a.session->newest_sent()));
  EXPECT_TRUE(world.b.session->take_received().empty()) << "told once";
  // After a restart of ours: as if everything that A sends for an hour had been seen.
  wireguard::Tai64n later =
      wireguard::to_tai64n({world.clock.now.wall.nanoseconds + 3'600'000'000'000});
  world.b.session->restore_received(received[0].peer, later);
  world.clock.now.instant = world.clock.now.instant + 200s;
  world.clock.now.wall.nanoseconds += 200'000'000'000;
  // B, which owes A a keepalive under a key that is too old, would begin a handshake of its own.
  world.filter = [](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    return from_a || !packet || packet->protocol != kProtocolUdp ||
           wireguard::peek_type(packet->payload.subspan(kUdpHeaderBytes)) !=
               wireguard::MessageType::Initiation;
  };
  const size_t before = world.at_b.size();
  world.send(world.a, "replayed");
  world.settle();
  EXPECT_EQ(world.at_b.size(), before);
  EXPECT_GT(world.b.drops(DropReason::HandshakeReplayed), 0u);
}

}  // namespace
}  // namespace turnpike::session

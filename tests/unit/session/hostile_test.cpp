// What strangers, hostile peers and hasty operators could do to the session thread. Each test is a bug that was.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "control/session/session_thread.h"
#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;
using publish::PuntKind;

// One transaction may remove a peer and add its key again; workers let go of the old one only afterwards.
TEST(APeerAddedAgain, BeforeItsPredecessorIsRemovedTakesItsPlace) {
  World world(1);
  world.send(world.a, "x");
  world.settle();
  const PeerStatus before = *world.b.session->status(0);
  PeerSettings again = world.settings_for_b();
  again.ref = {.index = 1, .incarnation = 1};
  world.b.session->add_peer(again);
  EXPECT_EQ(world.b.session->status(1)->latest_received, before.latest_received)
      << "an old initiation would be good again";
  world.b.session->remove_peer(World::kPeer);

  // A new handshake finds the successor.
  world.a.session->remove_peer(World::kPeer);
  PeerSettings settings = world.settings_for_a();
  settings.ref.incarnation = 2;
  world.a.session->add_peer(settings);
  world.clock.advance(1s);
  world.send(world.a, "y");
  world.settle();
  EXPECT_EQ(world.at_b, (std::vector<std::string>{"x", "y"}));
  ASSERT_NE(world.b.sending(1), nullptr);
  EXPECT_EQ(world.b.sending(1)->peer, again.ref);
  EXPECT_EQ(world.b.sending(0), nullptr);
}

// A gateway with 192.0.2.1/24 and 2001:db8::1/64 outside, 10.0.0.1/24 inside.
class Floods : public ::testing::Test {
 protected:
  Floods() : gateway(42, 1) {
    gateway.outside.add_interface("192.0.2.1/24");
    gateway.outside.add_interface("2001:db8::1/64");
    gateway.inside.add_interface("10.0.0.1/24");
    gateway.start(clock.now);
    turn();
  }
  void turn() {
    gateway.session->turn(gateway.snapshot, clock.now);
    (void)gateway.take_injected();
  }
  static IpAddress host(uint32_t number) {
    IpAddress address = ip("2001:db8::1:0:0");
    store_be32(&address.bytes[12], number);
    return address;
  }
  void wants(PortIndex port, const IpAddress& next_hop) {
    const uint8_t packet[] = {0x60};
    gateway.punt({.kind = PuntKind::NeedsNeighbour, .port = port, .next_hop = next_hop}, packet);
    turn();
  }

  Clock clock;
  Gateway gateway;
};

TEST_F(Floods, APeerThatClaimsToBeEverywhereLeavesRoomForOtherNeighbours) {
  PublicKey key;
  key.bytes[0] = 9;
  gateway.session->add_peer({.ref = World::kPeer, .tunnel = 0, .public_key = key});
  for (uint32_t i = 0; i < 2 * publish::kMaxNeighbours; ++i) {
    gateway.punt({.kind = PuntKind::PeerRoamed,
                  .port = kOutside,
                  .tunnel = 0,
                  .peer = World::kPeer,
                  .remote = {host(i), 51'820},
                  .local = ip("2001:db8::1")});
    turn();
  }
  EXPECT_EQ(gateway.neighbours.size(), 1u);
  EXPECT_EQ(gateway.slots.endpoint(0).remote.address, host(2 * publish::kMaxNeighbours - 1));
  EXPECT_NE(gateway.slots.endpoint(0).first_hop, publish::kNoNeighbour);
}

TEST_F(Floods, AScanOfOnePortLeavesRoomForNeighboursOfAnother) {
  for (uint32_t i = 0; i < publish::kMaxNeighbours; ++i) wants(kOutside, host(i));
  ASSERT_GT(gateway.drops(DropReason::NeighbourTableFull), 0u);
  wants(kInside, ip("10.0.0.7"));
  EXPECT_NE(gateway.neighbours.find(kInside, ip("10.0.0.7")), publish::kNoNeighbour);
}

// Each command may cost as much as many handshakes, so that turns must come between few of them.
TEST(AListOfCommands, DoesNotKeepPacketsWaitingUntilItsEnd) {
  Gateway gateway(7, 1);
  gateway.outside.add_interface("192.0.2.1/24");
  gateway.start(SessionThread::read_clocks());
  SessionThread thread({.peers = gateway.slots,
                        .keypairs = gateway.keypairs,
                        .neighbours = gateway.neighbours,
                        .epoch = gateway.epoch,
                        .random = gateway.random,
                        .doors = gateway.door_pointers},
                       std::nullopt);
  thread.publish(&gateway.snapshot);
  thread.start();
  std::atomic<bool> all_posted{false};
  thread.post([&](Session&) {
    while (!all_posted.load()) std::this_thread::yield();
  });
  std::multiset<uint64_t> turns;  // how many commands, turns included, were over when each one ran
  for (int i = 0; i < 64; ++i) {
    thread.post([&](Session&) { turns.insert(thread.completed()); });
  }
  all_posted.store(true);
  ASSERT_TRUE(thread.flush(60s));
  thread.stop();
  ASSERT_EQ(turns.size(), 64u);
  for (const uint64_t turn : turns) EXPECT_LE(turns.count(turn), 4u);
}

}  // namespace
}  // namespace turnpike::session

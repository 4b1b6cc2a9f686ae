// What the session thread tells control of its peers.
#include "control/session/events.h"

#include <gtest/gtest.h>

#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;
using ::testing::Test;

std::vector<Event> take(Gateway& gateway, EventKind kind) {
  std::vector<Event> events;
  while (const auto event = gateway.events.pop()) {
    if (event->kind == kind) events.push_back(*event);
  }
  return events;
}

TEST(Events, APeerThatAnswersNoHandshakeForNinetySecondsIsToldSilentOnce) {
  World world(1);
  world.send(world.a, "up");
  world.settle();
  const auto up = take(world.a, EventKind::HandshakeDone);
  ASSERT_EQ(up.size(), 1u);
  EXPECT_EQ(up[0].endpoint, world.b_endpoint);
  world.filter = [](bool from_a, const EthernetView&) { return from_a; };
  world.data_lost = true;
  world.send(world.a, "lost");
  // 15 s until it is missed, then handshakes for 90 s.
  world.run_for(100s);
  EXPECT_TRUE(take(world.a, EventKind::PeerSilent).empty());
  world.run_for(10s);
  const auto silent = take(world.a, EventKind::PeerSilent);
  ASSERT_EQ(silent.size(), 1u);
  EXPECT_EQ(silent[0].peer, World::kPeer);
  EXPECT_EQ(silent[0].endpoint, world.b_endpoint);
  world.run_for(30s);
  EXPECT_TRUE(take(world.a, EventKind::PeerSilent).empty());
}

// Each initiation is by a new incarnation of the peer, so that none waits for the one before.
void initiate(World& world, uint32_t& incarnation, int times) {
  for (int i = 0; i < times; ++i) {
    world.a.session->remove_peer({.index = 0, .incarnation = incarnation});
    PeerSettings settings = world.settings_for_a();
    settings.ref.incarnation = ++incarnation;
    world.a.slots.set_incarnation(0, incarnation);
    world.a.session->add_peer(settings);
    world.send(world.a, "hello");
    world.settle();
  }
}

TEST(Events, OfUnknownKeysABurstAndThenFiveASecondAreTold) {
  World world(1);
  world.b.session->remove_peer(World::kPeer);
  uint32_t incarnation = World::kPeer.incarnation;
  initiate(world, incarnation, 30);
  EXPECT_EQ(world.b.drops(DropReason::HandshakePeerUnknown), 30u);
  const auto told = take(world.b, EventKind::UnknownKey);
  EXPECT_EQ(told.size(), kUnknownKeysBurst);
  EXPECT_EQ(told.front().key, world.a.public_key);
  EXPECT_EQ(told.front().endpoint, world.a_endpoint);
  world.clock.advance(1s);
  initiate(world, incarnation, 10);
  EXPECT_EQ(take(world.b, EventKind::UnknownKey).size(), kUnknownKeysPerSecond);
}

}  // namespace
}  // namespace turnpike::session

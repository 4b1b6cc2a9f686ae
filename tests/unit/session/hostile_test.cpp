// What strangers, hostile peers and hasty operators could do to the session thread. Each test is a bug that was.
#include <gtest/gtest.h>

#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;

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

}  // namespace
}  // namespace turnpike::session

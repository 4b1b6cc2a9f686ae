#include "control/session/held_packets.h"

#include <gtest/gtest.h>

namespace turnpike::session {
namespace {

TEST(HeldPackets, KeepTheirOrderAndLoseTheOldestOfAFullPeer) {
  HeldPackets held;
  for (uint8_t i = 0; i < kMaxHeldPerPeer + 2; ++i) {
    const uint8_t packet[] = {i};
    const auto dropped = held.hold(1, packet);
    EXPECT_EQ(dropped.has_value(), i >= kMaxHeldPerPeer);
    if (dropped) {
      EXPECT_EQ(*dropped, DropReason::HeldQueueFull);
    }
  }
  const auto packets = held.take(1);
  ASSERT_EQ(packets.size(), kMaxHeldPerPeer);
  for (size_t i = 0; i < packets.size(); ++i) EXPECT_EQ(packets[i][0], i + 2);
  EXPECT_EQ(held.total(), 0u);
  EXPECT_TRUE(held.take(1).empty());
}

TEST(HeldPackets, RefuseANewOneWhenAllPeersTogetherHaveTooMany) {
  HeldPackets held;
  const uint8_t packet[] = {1};
  const PeerIndex peers = kMaxHeld / kMaxHeldPerPeer;
  for (PeerIndex peer = 0; peer < peers; ++peer) {
    for (size_t i = 0; i < kMaxHeldPerPeer; ++i) EXPECT_FALSE(held.hold(peer, packet));
  }
  EXPECT_EQ(held.hold(peers, packet), DropReason::HeldTotalFull);
  EXPECT_EQ(held.count(peers), 0u);
  // A full peer still trades its oldest for its newest.
  EXPECT_EQ(held.hold(0, packet), DropReason::HeldQueueFull);
  EXPECT_EQ(held.total(), kMaxHeld);
  (void)held.take(5);
  EXPECT_FALSE(held.hold(peers, packet));
}

}  // namespace
}  // namespace turnpike::session

// Two gateways and a bad network.
#include <gtest/gtest.h>

#include "tests/simulation/each_seed.h"

namespace turnpike::sim {
namespace {

TEST(TwoGateways, KeepTalkingThroughRekeysOverALossyLink) {
  for_each_seed(32, {.loss = 0.2, .duplicate = 0.05, .delay_max = 80ms}, [](World& world) {
    const auto [a, b] = world.two_gateways();
    world.run_for(11min, {{.from = a, .to = b, .every = 100ms, .length_bytes = 1'400}});
    EXPECT_GE(world.handshakes_completed(), 5u);         // one per kRekeyAfterTime
    EXPECT_GE(world.inner_packets_delivered(), 4'500u);  // of 6,600: loss is not amplified
    EXPECT_EQ(world.nonces_reused(), 0u);
    EXPECT_EQ(world.inner_packets_delivered_twice(), 0u);
  });
}

TEST(TwoGateways, TalkBothWaysInAnyMixOfFamiliesOverALossyLink) {
  for (const Family outer : {Family::V4, Family::V6}) {
    for (const Family inner : {Family::V4, Family::V6}) {
      for_each_seed(6, {.loss = 0.1, .duplicate = 0.1, .delay_max = 200ms, .outer = outer},
                    [&](World& world) {
                      const auto two = world.two_gateways();
                      world.run_for(6min, both_ways(two, {.every = 200ms, .family = inner}));
                      EXPECT_GE(world.handshakes_completed(), 2u);
                      EXPECT_GE(world.inner_packets_delivered(),
                                world.inner_packets_sent() * 8 / 10);
                    });
    }
  }
}

TEST(TwoGateways, DeliverEveryCopyOnceWhenTheLinkDoublesEveryFrame) {
  for_each_seed(8, {.duplicate = 1.0, .delay_max = 100ms}, [](World& world) {
    const auto two = world.two_gateways();
    world.run_for(5min, both_ways(two, {.every = 250ms, .burst = 4}));
    // Nothing is lost but what a second handshake overtook on its way.
    EXPECT_GE(world.inner_packets_delivered(), world.inner_packets_sent() * 99 / 100);
  });
}

TEST(TwoGateways, MeetOverALinkThatLosesHalfOfEverything) {
  for_each_seed(16, {.loss = 0.5, .delay_max = 300ms}, [](World& world) {
    const auto two = world.two_gateways();
    world.run_for(4min, both_ways(two, {.every = 500ms}));
    EXPECT_GE(world.handshakes_completed(), 1u);
    EXPECT_GE(world.inner_packets_delivered(), world.inner_packets_sent() / 4);
  });
}

TEST(TwoGateways, NeverDeliverAForgedSource) {
  for_each_seed(4, {.loss = 0.05, .delay_max = 50ms}, [](World& world) {
    const auto [a, b] = world.two_gateways();
    world.run_for(2min, {{.from = a, .to = b, .every = 300ms},
                         {.from = a, .to = b, .every = 300ms, .forged = true}});
    EXPECT_EQ(world.ledger().forged_delivered, 0u);
    EXPECT_GT(world.gateway(b).drops(DropReason::InnerSourceNotAllowed), 300u);
  });
}

TEST(TwoGateways, FallSilentWhenTheirHostsDo) {
  // No ping-pong of keepalives: after the last answer to data nobody has anything to say.
  for_each_seed(8, {.delay_max = 20ms}, [](World& world) {
    const auto two = world.two_gateways();
    world.run_for(30s, both_ways(two, {.every = 1s}));
    world.run_for(30s);
    const uint64_t nonces = world.ledger().nonces_used;
    const uint64_t handshakes = world.handshakes_completed();
    world.run_for(30min);
    EXPECT_EQ(world.ledger().nonces_used, nonces);
    EXPECT_EQ(world.handshakes_completed(), handshakes);
    // And the erased keys are no obstacle.
    const Instant later = world.now();
    world.run_for(10s, both_ways(two, {.every = 1s}));
    EXPECT_LE(world.first_delivery_after(later, two.a, two.b), 1s);
  });
}

}  // namespace
}  // namespace turnpike::sim

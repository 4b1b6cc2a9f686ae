// A gateway that loses all but its durable state, moves, or whose clock is set.
#include <gtest/gtest.h>

#include "tests/simulation/each_seed.h"

namespace turnpike::sim {
namespace {

// Silence is noticed after kNewHandshakeAfterSilence and its jitter; then an attempt or two.
constexpr Duration kNoticeBound = 28s;

TEST(Restart, ComesBackWhenTheRestartedSideHasTraffic) {
  for_each_seed(10, {.loss = 0.05, .delay_max = 50ms}, [](World& world) {
    const auto [a, b] = world.two_gateways();
    const std::vector<Traffic> traffic = {{.from = a, .to = b, .every = 200ms}};
    world.run_for(30s, traffic);
    world.restart(a);
    const Instant restarted = world.now();
    world.run_for(60s, traffic);
    EXPECT_LE(world.first_delivery_after(restarted, a, b), 12s);
  });
}

TEST(Restart, ComesBackWhenOnlyTheOtherSideHasTraffic) {
  for_each_seed(10, {.delay_max = 50ms}, [](World& world) {
    const auto [a, b] = world.two_gateways();
    const std::vector<Traffic> traffic = {{.from = b, .to = a, .every = 200ms}};
    world.run_for(30s, traffic);
    world.restart(a);
    const Instant restarted = world.now();
    world.run_for(60s, traffic);
    EXPECT_LE(world.first_delivery_after(restarted, b, a), kNoticeBound);
    EXPECT_GT(world.gateway(a).drops(DropReason::ReceiverIndexUnknown), 0u);
  });
}

TEST(Restart, OfBothSidesInTurnNeverReusesANonceNorDeliversTwice) {
  for_each_seed(10, {.loss = 0.05, .duplicate = 0.2, .delay_max = 150ms}, [](World& world) {
    const auto two = world.two_gateways();
    const auto traffic = both_ways(two, {.every = 50ms, .burst = 3});
    for (int round = 0; round < 6; ++round) {
      world.run_for(23s, traffic);
      world.restart(round % 2 == 0 ? two.a : two.b);
    }
    world.run_for(30s, traffic);
    EXPECT_EQ(world.nonces_reused(), 0u);
    EXPECT_EQ(world.inner_packets_delivered_twice(), 0u);
    EXPECT_GE(world.inner_packets_delivered(), world.inner_packets_sent() / 2);
  });
}

TEST(Restart, WithAWallClockThatWentBackIsStillBelieved) {
  for_each_seed(6, {.delay_max = 50ms}, [](World& world) {
    const auto [a, b] = world.two_gateways();
    const std::vector<Traffic> traffic = {{.from = a, .to = b, .every = 200ms}};
    world.run_for(30s, traffic);
    world.step_wall_clock(a, -std::chrono::hours(48));
    world.restart(a);
    const Instant restarted = world.now();
    world.run_for(30s, traffic);
    EXPECT_LE(world.first_delivery_after(restarted, a, b), 12s);
    EXPECT_EQ(world.gateway(b).drops(DropReason::HandshakeReplayed), 0u);
  });
}

TEST(WallClock, StepsInAnyDirectionDisturbNothing) {
  for_each_seed(6, {.delay_min = 1ms, .delay_max = 30ms}, [](World& world) {
    const auto two = world.two_gateways();
    const auto traffic = both_ways(two, {.every = 500ms});
    open_session(world, two);
    const Instant begin = world.now();
    for (const Duration step : {Duration(-1h), Duration(24h), Duration(-48h), Duration(-10min)}) {
      world.step_wall_clock(two.a, step);
      world.step_wall_clock(two.b, -step / 2);
      world.run_for(150s, traffic);
    }
    EXPECT_GE(world.handshakes_completed(), 5u);
    EXPECT_EQ(world.delivered_between(begin, world.now() - 1s),
              world.sent_between(begin, world.now() - 1s));
  });
}

TEST(Roaming, SideWithTrafficIsFollowedAtOnce) {
  for (const Family outer : {Family::V4, Family::V6}) {
    for_each_seed(6, {.delay_max = 40ms, .outer = outer}, [](World& world) {
      const auto two = world.two_gateways();
      const auto traffic = both_ways(two, {.every = 100ms});
      open_session(world, two);
      for (int times = 0; times < 3; ++times) {
        world.move(two.a);
        const Instant moved = world.now();
        world.run_for(40s, traffic);
        EXPECT_LE(world.first_delivery_after(moved, two.a, two.b), 3s);
        // Everything since b heard the first packet from there and knows its neighbour again.
        EXPECT_EQ(world.delivered_between(moved + 6s, moved + 39s),
                  world.sent_between(moved + 6s, moved + 39s));
      }
    });
  }
}

TEST(Roaming, SideWithoutTrafficIsFoundAgainByItsNextKeepalive) {
  for_each_seed(8, {.delay_max = 40ms}, [](World& world) {
    const auto [a, b] = world.two_gateways();
    const std::vector<Traffic> traffic = {{.from = b, .to = a, .every = 100ms}};
    world.gateway(a).session().set_peer(world.peer(a, b),
                                        {.persistent_keepalive_seconds = uint16_t{10}});
    world.run_for(20s, traffic);
    world.move(a);
    const Instant moved = world.now();
    world.run_for(60s, traffic);
    EXPECT_LE(world.first_delivery_after(moved, b, a), 16s);
  });
}

}  // namespace
}  // namespace turnpike::sim

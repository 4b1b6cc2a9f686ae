// The network goes away and comes back: traffic returns within a bound, whatever state the cut left.
#include <gtest/gtest.h>

#include "tests/simulation/each_seed.h"

namespace turnpike::sim {
namespace {

// One more attempt (kRekeyTimeout and its jitter) after a neighbour's hold-off and an ask.
constexpr Duration kReturnBound = 12s;

class Partition : public testing::TestWithParam<int> {};  // of so many seconds

TEST_P(Partition, TrafficReturnsWithinABoundOnceItHeals) {
  const Duration length = std::chrono::seconds(GetParam());
  for_each_seed(6, {.loss = 0.05, .delay_max = 60ms}, [&](World& world) {
    const auto two = world.two_gateways();
    const auto traffic = both_ways(two, {.every = 250ms});
    world.run_for(20s, traffic);
    world.cut(two.a, two.b);
    world.run_for(length, traffic);
    world.heal(two.a, two.b);
    world.set_network(0, 0, 1ms, 60ms);
    const Instant healed = world.now();
    world.run_for(60s, traffic);
    EXPECT_LE(world.first_delivery_after(healed, two.a, two.b), kReturnBound);
    EXPECT_LE(world.first_delivery_after(healed, two.b, two.a), kReturnBound);
    // And it stays.
    const Instant steady = healed + kReturnBound;
    EXPECT_EQ(world.delivered_between(steady, healed + 55s),
              world.sent_between(steady, healed + 55s));
  });
}

TEST_P(Partition, TrafficOfOneSideReturnsWithinABoundOnceItHeals) {
  const Duration length = std::chrono::seconds(GetParam());
  for_each_seed(6, {.delay_max = 60ms}, [&](World& world) {
    const auto [a, b] = world.two_gateways(true, false);  // b has learnt where a is
    const std::vector<Traffic> traffic = {{.from = b, .to = a, .every = 250ms}};
    world.run_for(5s, {{.from = a, .to = b, .every = 250ms}});
    world.run_for(20s, traffic);
    world.cut(a, b);
    world.run_for(length, traffic);
    world.heal(a, b);
    const Instant healed = world.now();
    world.run_for(60s, traffic);
    EXPECT_LE(world.first_delivery_after(healed, b, a), kReturnBound);
  });
}

INSTANTIATE_TEST_SUITE_P(Seconds, Partition, testing::Values(1, 12, 40, 110, 175, 300, 700),
                         testing::PrintToStringParamName());

TEST(Partition, TrafficThatBeginsAfterALongSilentOneIsThereAtOnce) {
  for_each_seed(6, {.delay_max = 60ms}, [&](World& world) {
    const auto two = world.two_gateways();
    world.run_for(20s, both_ways(two, {.every = 250ms}));
    world.cut(two.a, two.b);
    world.run_for(1h);
    world.heal(two.a, two.b);
    const Instant healed = world.now();
    world.run_for(20s, both_ways(two, {.every = 250ms}));
    EXPECT_LE(world.first_delivery_after(healed, two.a, two.b), kReturnBound);
    EXPECT_LE(world.first_delivery_after(healed, two.b, two.a), kReturnBound);
  });
}

TEST(Partition, PersistentKeepalivesBringTheSessionBackWithoutAnyTraffic) {
  for_each_seed(6, {.delay_max = 60ms}, [&](World& world) {
    const auto two = world.two_gateways();
    world.gateway(two.a).session().set_peer(world.peer(two.a, two.b),
                                            {.persistent_keepalive_seconds = uint16_t{25}});
    world.run_for(10min);
    EXPECT_GE(world.handshakes_completed(), 4u);
    world.cut(two.a, two.b);
    world.run_for(10min);
    world.heal(two.a, two.b);
    const uint64_t before = world.handshakes_completed();
    world.run_for(2min);
    EXPECT_GT(world.handshakes_completed(), before);
    // The passive side can use it.
    const Instant later = world.now();
    world.run_for(5s, {{.from = two.b, .to = two.a}});
    EXPECT_LE(world.first_delivery_after(later, two.b, two.a), 1s);
  });
}

}  // namespace
}  // namespace turnpike::sim

// A hub and its spokes, which reach each other through it.
#include <gtest/gtest.h>

#include "tests/simulation/each_seed.h"

namespace turnpike::sim {
namespace {

struct Star {
  GatewayNumber hub = 0;
  std::vector<GatewayNumber> spokes;
  std::vector<Traffic> traffic;  // of each spoke with the next one and with the hub
};

Star make_star(World& world, size_t spokes, Random& random) {
  Star star{.hub = world.add_gateway()};
  for (size_t i = 0; i < spokes; ++i) {
    star.spokes.push_back(world.add_gateway());
    world.connect_spoke(star.hub, star.spokes.back());
  }
  for (size_t i = 0; i < spokes; ++i) {
    const GatewayNumber one = star.spokes[i], next = star.spokes[(i + 1) % spokes];
    const auto family = [&] { return random.chance(0.5) ? Family::V4 : Family::V6; };
    star.traffic.push_back({.from = one, .to = next, .every = 400ms, .family = family()});
    star.traffic.push_back({.from = one, .to = star.hub, .every = 500ms, .family = family()});
    star.traffic.push_back({.from = star.hub, .to = one, .every = 600ms, .family = family()});
  }
  return star;
}

void expect_nothing_lost(World& world, Instant from, double share = 1) {
  const Instant until = world.now() - 1s;
  EXPECT_GE(static_cast<double>(world.delivered_between(from, until)),
            share * static_cast<double>(world.sent_between(from, until)));
}

// What goes from spoke to spoke is sealed twice, each time under keys that are renewed on their own.
TEST(Hub, CarriesItsSpokesThroughRekeysWithoutALoss) {
  for_each_seed(12, {.delay_min = 2ms, .delay_max = 30ms, .interleave = 0.5}, [](World& world) {
    Random random(world.seed() ^ 0x5b0e);
    const Star star = make_star(world, 4, random);
    world.run_for(12s, star.traffic);  // sessions begin on both sides at once
    const Instant steady = world.now();
    world.run_for(4min, star.traffic);
    EXPECT_GE(world.handshakes_completed(), 2 * star.spokes.size());
    expect_nothing_lost(world, steady);
  });
}

TEST(Hub, ThatRestartsIsFoundAgainByEverySpoke) {
  for_each_seed(24, {.delay_min = 2ms, .delay_max = 30ms}, [](World& world) {
    Random random(world.seed() ^ 0x4e57);
    const Star star = make_star(world, 4, random);
    world.run_for(12s, star.traffic);
    world.restart(star.hub);  // it knows no endpoint of theirs any more
    // 15 s of silence, the jitter, and a handshake; those that cross may need one more attempt.
    world.run_for(25s, star.traffic);
    const Instant back = world.now();
    world.run_for(20s, star.traffic);
    expect_nothing_lost(world, back);
  });
}

TEST(Hub, ASpokeThatIsRemovedOrMovesLeavesTheOthersAlone) {
  for_each_seed(24, {.delay_min = 2ms, .delay_max = 30ms, .interleave = 0.5}, [](World& world) {
    Random random(world.seed() ^ 0x3a11);
    const Star star = make_star(world, 4, random);
    world.run_for(12s, star.traffic);
    const GatewayNumber gone = star.spokes[random.below(2)], moves = star.spokes[2];
    std::vector<Traffic> others;
    for (const Traffic& one : star.traffic) {
      const auto touches = [&](GatewayNumber spoke) {
        return one.from == spoke || one.to == spoke;
      };
      if (!touches(gone) && !touches(moves)) others.push_back(one);
    }
    ASSERT_FALSE(others.empty());
    const Instant then = world.now();
    world.remove_peer(star.hub, gone);
    world.move(moves);
    world.run_for(20s, others);
    expect_nothing_lost(world, then);
    world.add_peer_again(star.hub, gone);
    world.run_for(40s, star.traffic);
    const Instant back = world.now();
    world.run_for(20s, star.traffic);
    expect_nothing_lost(world, back);
  });
}

// Everything at random, then peace.
TEST(Hub, AndSpokesEndInPeaceAfterChaos) {
  for_each_seed(24, {.duplicate = 0.05, .interleave = 0.5}, [](World& world) {
    Random random(world.seed() ^ 0xca05);
    const Star star = make_star(world, 4, random);
    for (int event = 0; event < 16; ++event) {
      const GatewayNumber spoke = star.spokes[random.below(star.spokes.size())];
      switch (random.below(7)) {
        case 0:
          world.cut(star.hub, spoke);
          break;
        case 1:
          world.heal(star.hub, spoke);
          break;
        case 2:
          world.restart(random.chance(0.3) ? star.hub : spoke);
          break;
        case 3:
          world.move(spoke);
          break;
        case 4:
          world.step_wall_clock(spoke, 1s * static_cast<int64_t>(random.below(7'200)) - 1h);
          break;
        case 5:
          world.set_network(0.3, 0.2, 1ms, 1ms * static_cast<int64_t>(1 + random.below(300)));
          break;
        default:
          if (world.has_peer(star.hub, spoke)) {
            world.remove_peer(star.hub, spoke);
          } else {
            world.add_peer_again(star.hub, spoke);
          }
      }
      world.run_for(1ms * static_cast<int64_t>(random.below(15'000)), star.traffic);
    }
    world.set_network(0, 0, 1ms, 20ms);
    for (const GatewayNumber spoke : star.spokes) {
      world.heal(star.hub, spoke);
      if (!world.has_peer(star.hub, spoke)) world.add_peer_again(star.hub, spoke);
    }
    world.run_for(35s, star.traffic);
    const Instant steady = world.now();
    world.run_for(20s, star.traffic);
    // Handshakes that cross may take what is under way at that moment.
    expect_nothing_lost(world, steady, 0.98);
  });
}

}  // namespace
}  // namespace turnpike::sim

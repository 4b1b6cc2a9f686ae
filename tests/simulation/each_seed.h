// Runs a world for each seed, with one session thread in each gateway and with several, and asks at its end for every
// broken invariant.
#pragma once

#include <gmock/gmock.h>

#include "tests/simulation/world.h"

namespace turnpike::sim {

// `run` makes of the world what the test is about; `settings.seed` is filled in.
template <typename Run>
void for_each_seed(size_t count, WorldSettings settings, Run&& run) {
  for (const uint64_t seed : seeds(count)) {
    for (const size_t session_threads : {1, 3}) {
      SCOPED_TRACE(testing::Message() << "replay with TURNPIKE_SEED=" << seed << ", "
                                      << session_threads << " session threads");
      settings.seed = seed;
      settings.session_threads = session_threads;
      World world(settings);
      run(world);
      EXPECT_THAT(world.finish(), testing::IsEmpty());
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << "drops: " << world.drops_text();
        return;  // one world is enough to look at
      }
    }
  }
}

// Traffic both ways between hosts behind two gateways.
[[nodiscard]] inline std::vector<Traffic> both_ways(World::Two two, Traffic traffic) {
  Traffic back = traffic;
  traffic.from = back.to = two.a;
  traffic.to = back.from = two.b;
  return {traffic, back};
}

// Neighbours known and a session up, made by `a` alone: where both begin at once their handshakes cross, and
// may cross again with each rekey.
inline void open_session(World& world, World::Two two) {
  world.run_for(3s, {{.from = two.a, .to = two.b, .every = 1s}});
  world.run_for(8s, both_ways(two, {.every = 1s}));
}

}  // namespace turnpike::sim

// Runs a world for each seed and asks at its end for every broken invariant. The gateways have one session thread, or
// several: both with each seed in the full run and where there are no other seeds, else in turns.
#pragma once

#include <gmock/gmock.h>

#include <vector>

#include "tests/simulation/world.h"

namespace turnpike::sim {

// `run` makes of the world what the test is about; `settings.seed` is filled in.
template <typename Run>
void for_each_seed(size_t count, WorldSettings settings, Run&& run) {
  const std::vector<uint64_t> all = seeds(count);
  for (const uint64_t seed : all) {
    for (const size_t session_threads : {1, 3}) {
      const bool its_turn = (seed % 2 == 1) == (session_threads == 1);
      if (!its_turn && all.size() > 1 && !full_run()) continue;
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

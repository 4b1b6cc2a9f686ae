// Prefixes that lie inside those of another peer: legitimate, by longest match, but worth a warning before
// a commit.
#pragma once

#include <string>
#include <vector>

#include "control/state/change.h"
#include "control/state/state.h"

namespace turnpike::state {

struct Nested {
  TunnelIndex tunnel = kNoTunnel;
  Prefix inner;
  std::string inner_owner;
  Prefix outer;  // the nearest one of another peer
  std::string outer_owner;
};

// Pairs that the change makes, at most `limit` of them. For dry runs: it looks at every prefix of the state
// once (about 0.1 s for a million).
[[nodiscard]] std::vector<Nested> nested_prefixes(const State& before, const Change& change,
                                                  size_t limit);
[[nodiscard]] std::string describe(const Nested& nested);

}  // namespace turnpike::state

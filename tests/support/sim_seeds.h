// The seeds of a random test. TURNPIKE_SEED=N in the environment replays one; TURNPIKE_TEST_FULL=1 gives
// twenty times as many.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace turnpike::sim {

[[nodiscard]] inline bool full_run() {
  const char* full = std::getenv("TURNPIKE_TEST_FULL");
  return full != nullptr && std::string_view(full) == "1";
}

[[nodiscard]] inline std::vector<uint64_t> seeds(size_t count) {
  if (const char* one = std::getenv("TURNPIKE_SEED")) return {std::strtoull(one, nullptr, 0)};
  if (full_run()) count *= 20;
  std::vector<uint64_t> all;
  for (size_t i = 1; i <= count; ++i) all.push_back(i);
  return all;
}

}  // namespace turnpike::sim

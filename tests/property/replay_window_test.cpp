// The replay window against a set of all counters ever accepted.
#include "dataplane/wireguard/replay_window.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/support/keypairs.h"

namespace turnpike::wireguard {
namespace {

class NaiveWindow {
 public:
  bool accept(uint64_t counter) {
    if (counter >= kRejectAfterMessages) return false;
    if (!seen_.empty() && *seen_.rbegin() > counter && *seen_.rbegin() - counter > kReplayWindow) {
      return false;
    }
    return seen_.insert(counter).second;
  }
  [[nodiscard]] uint64_t highest() const { return seen_.empty() ? 0 : *seen_.rbegin(); }

 private:
  std::set<uint64_t> seen_;
};

// A counter near something interesting: the top, the window's end, a repetition, a jump.
uint64_t next_counter(std::mt19937_64& random, const NaiveWindow& naive,
                      const std::vector<uint64_t>& history) {
  const uint64_t top = naive.highest();
  switch (random() % 8) {
    case 0:
    case 1:
      return top + 1;
    case 2:
      return top + random() % 200;
    case 3:
      return top - std::min(top, random() % (kReplayWindow + 200));
    case 4:  // around the window's end
      return top - std::min(top, kReplayWindow - 70 + random() % 140);
    case 5:
      return history.empty() ? 0 : history[random() % history.size()];
    case 6:  // around a jump by the whole bitmap
      return random() % 20 == 0 ? top + kReplayWindowBits - 70 + random() % 140 : top + 1;
    default:
      return random() % 50 == 0 ? random() : top - std::min(top, random() % 64);
  }
}

void compare(uint64_t seed, uint64_t start) {
  SCOPED_TRACE(testing::Message() << "seed " << seed << ", start " << start);
  std::mt19937_64 random(seed);
  test::WholeReplayWindow window;
  NaiveWindow naive;
  std::vector<uint64_t> history;
  if (start > 0) {
    ASSERT_TRUE(window.accept(start));
    ASSERT_TRUE(naive.accept(start));
  }
  for (int step = 0; step < 4000; ++step) {
    uint64_t counter = next_counter(random, naive, history);
    // Random jumps would end at the limit at once.
    const bool far = counter > start && counter - start > uint64_t{1} << 40;
    if (far && counter < kRejectAfterMessages) counter = start + 1;
    history.push_back(counter);
    ASSERT_EQ(window.accept(counter), naive.accept(counter)) << "step " << step << ", " << counter;
  }
}

TEST(ReplayWindow, AcceptsExactlyWhatASetOfAllCountersWould) {
  uint64_t first_seed = std::random_device{}();
  if (const char* given = std::getenv("TURNPIKE_SEED")) first_seed = std::stoull(given);
  std::printf("TURNPIKE_SEED=%llu\n", static_cast<unsigned long long>(first_seed));
  for (uint64_t seed = first_seed; seed < first_seed + 40; ++seed) {
    compare(seed, 0);
    compare(seed, seed % 100'000);
    compare(seed, (uint64_t{1} << 32) - 5000);
    compare(seed, kRejectAfterMessages - 6000);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace turnpike::wireguard

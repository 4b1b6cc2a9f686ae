#include "control/session/timing_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <ranges>

namespace turnpike::session {
namespace {

constexpr auto kTick = static_cast<uint64_t>(TimingWheel::kTick.count());

std::vector<uint32_t> expire(TimingWheel& wheel, Instant now, size_t budget = 1'000'000) {
  std::vector<uint32_t> fired;
  wheel.expire(now, budget, [&](uint32_t id) { fired.push_back(id); });
  return fired;
}

TEST(TimingWheel, FiresNeverEarlyAndAtMostATickLateAtEveryDistance) {
  for (const uint64_t start : {uint64_t{0}, 123 * kTick + 5, uint64_t{1} << 62}) {
    for (unsigned bit = 0; bit < 61; ++bit) {
      TimingWheel wheel({start});
      const Instant deadline{start + (uint64_t{1} << bit)};
      wheel.arm(0, deadline);
      EXPECT_TRUE(expire(wheel, {deadline.nanoseconds - 1}).empty()) << start << " " << bit;
      EXPECT_LE(wheel.next_deadline().nanoseconds, deadline.nanoseconds + kTick);
      EXPECT_EQ(expire(wheel, deadline + TimingWheel::kTick).size(), 1u) << start << " " << bit;
      EXPECT_EQ(wheel.size(), 0u);
    }
  }
}

TEST(TimingWheel, DoesAsANaiveListDoes) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    uint64_t now = random() >> 20;
    TimingWheel wheel({now});
    std::map<uint32_t, uint64_t> model;
    for (int step = 0; step < 3'000; ++step) {
      const auto id = static_cast<uint32_t>(random() % 50);
      switch (random() % 4) {
        case 0:
        case 1: {
          const uint64_t deadline = now + (random() >> (random() % 30 + 24));
          wheel.arm(id, {deadline});
          model[id] = deadline;
          break;
        }
        case 2:
          wheel.cancel(id);
          model.erase(id);
          break;
        case 3: {
          now += random() >> (random() % 34 + 28);
          auto fired = expire(wheel, {now});
          for (const uint32_t one : fired) {
            ASSERT_TRUE(model.contains(one));
            ASSERT_LE(model[one], now);
            model.erase(one);
          }
          for (const auto& [left, deadline] : model) ASSERT_GT(deadline + kTick, now) << left;
          break;
        }
      }
      ASSERT_EQ(wheel.size(), model.size());
      for (const auto& [armed, deadline] : model) {
        ASSERT_TRUE(wheel.armed(armed));
        ASSERT_LE(wheel.next_deadline().nanoseconds, deadline + kTick);
      }
    }
  }
}

TEST(TimingWheel, KeepsWhatIsAboveItsBudgetForTheNextCall) {
  TimingWheel wheel({0});
  for (uint32_t id = 0; id < 100; ++id) wheel.arm(id, {kTick * 3});
  std::vector<uint32_t> all = expire(wheel, {kTick * 3}, 30);
  EXPECT_EQ(all.size(), 30u);
  EXPECT_LE(wheel.next_deadline().nanoseconds, kTick * 3);
  // One that waits for its turn can still be taken back.
  const uint32_t waiting = *std::ranges::find_if(std::views::iota(0u, 100u),
                                                 [&](uint32_t id) { return wheel.armed(id); });
  wheel.cancel(waiting);
  for (const uint32_t id : expire(wheel, {kTick * 3})) all.push_back(id);
  EXPECT_EQ(all.size(), 99u);
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::unique(all).begin(), all.end());
  EXPECT_FALSE(std::ranges::binary_search(all, waiting));
}

TEST(TimingWheel, LetsATimerArmItselfAgainWhileItFires) {
  TimingWheel wheel({0});
  int fired = 0;
  wheel.arm(7, {1});
  for (uint64_t now = 0; now < 100 * kTick; now += kTick) {
    wheel.expire({now}, 10, [&](uint32_t id) {
      ++fired;
      wheel.arm(id, Instant{now} + TimingWheel::kTick * 10);
    });
  }
  EXPECT_EQ(fired, 10);
}

}  // namespace
}  // namespace turnpike::session

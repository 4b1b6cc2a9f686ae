#include "control/daemon/timestamps.h"

#include <gtest/gtest.h>

namespace turnpike::daemon {
namespace {

constexpr uint64_t kAhead = static_cast<uint64_t>(kSentMarkAhead.count());
constexpr uint64_t kHour = 3'600'000'000'000;
constexpr WallTime kNoon{1'790'000'000'000'000'000};

TEST(SentMark, IsAheadOfTheClock) {
  EXPECT_EQ(sent_mark(kNoon, {}).nanoseconds, kNoon.nanoseconds + kAhead);
  EXPECT_EQ(sent_mark(kNoon, {kNoon.nanoseconds - kHour}).nanoseconds, kNoon.nanoseconds + kAhead);
}

TEST(SentMark, IsAheadOfWhatWasSentBeforeTheClockWasSetBack) {
  const WallTime an_hour_ago{kNoon.nanoseconds - kHour};
  EXPECT_EQ(sent_mark(an_hour_ago, kNoon).nanoseconds, kNoon.nanoseconds + kAhead);
  // What is sent from here on goes on from there, in steps: the mark stays ahead of it.
  const WallTime next{kNoon.nanoseconds + 1};
  EXPECT_GT(sent_mark(an_hour_ago, next), sent_mark(an_hour_ago, kNoon));
}

}  // namespace
}  // namespace turnpike::daemon

#include "dataplane/io/rest.h"

#include <gtest/gtest.h>

namespace turnpike::io {
namespace {

constexpr RestRules kSleeps{}, kInterrupts{.interrupts = true}, kPolls{.idle = Idle::Poll};
constexpr uint32_t kLong = 1'000'000;

constexpr Rest sleep_of(long microseconds) {
  return {.kind = RestKind::Sleep, .nanoseconds = microseconds * 1'000};
}

TEST(RestAfter, WorksOnAtFirstAndLetsOthersRunNowAndThen) {
  for (const RestRules& rules : {kSleeps, kInterrupts, kPolls}) {
    for (uint32_t turns = 1; turns < kTurnsBeforeSleep; ++turns) {
      const RestKind expected = turns % kTurnsBeforeYield == 0 ? RestKind::Yield : RestKind::None;
      ASSERT_EQ(rest_after(turns, rules).kind, expected) << turns;
    }
  }
}

TEST(RestAfter, NeverSleepsWhereItMayNot) {
  RestRules rules = kPolls;
  rules.interrupts = true;
  for (uint32_t turns = 1; turns < kLong; ++turns) {
    const RestKind kind = rest_after(turns, rules).kind;
    ASSERT_TRUE(kind == RestKind::None || kind == RestKind::Yield) << turns;
  }
}

TEST(RestAfter, SleepsLongerTheLongerNothingComes) {
  EXPECT_EQ(rest_after(kTurnsBeforeSleep, kSleeps), sleep_of(50));
  EXPECT_EQ(rest_after(kTurnsBeforeSleep + kShortSleeps, kSleeps), sleep_of(200));
  EXPECT_EQ(rest_after(kTurnsBeforeSleep + kMediumSleeps, kSleeps), sleep_of(500));
  EXPECT_EQ(rest_after(kLong, kSleeps), sleep_of(500));
}

TEST(RestAfter, WaitsForInterruptsOnlyWhenItWouldSleepLongest) {
  const uint32_t first = kTurnsBeforeSleep + kMediumSleeps;
  for (uint32_t turns = 1; turns < first; ++turns) {
    ASSERT_EQ(rest_after(turns, kInterrupts), rest_after(turns, kSleeps)) << turns;
  }
  EXPECT_EQ(rest_after(first, kInterrupts).kind, RestKind::UntilInterrupt);
  EXPECT_EQ(rest_after(kLong, kInterrupts).kind, RestKind::UntilInterrupt);
}

TEST(RestAfter, KeepsNobodyWaitingWhoSendsThroughAWorkerThatIsNotWoken) {
  EXPECT_EQ(rest_after(kLong, {.serves_others = true}), sleep_of(50));
  EXPECT_EQ(rest_after(kLong, {.interrupts = true, .serves_others = true}).kind,
            RestKind::UntilInterrupt);
}

TEST(RestAfter, SleepsOnceBetweenANeedlessWakeAndTheNextWait) {
  uint32_t turns = kTurnsAfterNeedlessWake;
  EXPECT_EQ(rest_after(++turns, kInterrupts), sleep_of(200));
  EXPECT_EQ(rest_after(++turns, kInterrupts).kind, RestKind::UntilInterrupt);
}

TEST(InterruptTrust, EndsWhenPacketsComeAgainAndAgainWithoutAnInterrupt) {
  InterruptTrust trust;
  trust.note_found_late();
  trust.note_found_late();
  EXPECT_TRUE(trust.trusted());
  trust.note_found_late();
  EXPECT_FALSE(trust.trusted());
}

TEST(InterruptTrust, ForgivesWhatCameJustWhenAWaitWasOver) {
  InterruptTrust trust;
  for (int i = 0; i < 100; ++i) {
    trust.note_found_late();
    trust.note_found_late();
    trust.note_interrupt();
  }
  EXPECT_TRUE(trust.trusted());
}

}  // namespace
}  // namespace turnpike::io

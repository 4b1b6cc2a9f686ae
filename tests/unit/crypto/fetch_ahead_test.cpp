#include "dataplane/crypto/fetch_ahead.h"

#include <gtest/gtest.h>

namespace turnpike::crypto {
namespace {

constexpr size_t kBytes = 32 * 1'420;

// Bursts until the choice of this period is made and used; whether the last one fetched ahead.
bool run_a_period(FetchAhead& chooser, uint64_t without, uint64_t with) {
  bool last = false;
  for (uint32_t i = 0; i < FetchAhead::kPeriod; ++i) {
    last = chooser.wanted(kBytes);
    chooser.note(kBytes, last ? with : without);
  }
  return last;
}

TEST(FetchAhead, IsWantedWhereItIsCheaperAndAgainNotWhenItNoLongerIs) {
  FetchAhead chooser;
  EXPECT_TRUE(run_a_period(chooser, 57'000, 47'000));
  EXPECT_FALSE(run_a_period(chooser, 42'000, 43'000));
  EXPECT_TRUE(run_a_period(chooser, 57'000, 47'000));
}

TEST(FetchAhead, IsNotMovedByAFewDisturbedBursts) {
  FetchAhead chooser;
  uint64_t burst = 0;
  bool last = false;
  for (uint32_t i = 0; i < FetchAhead::kPeriod; ++i) {
    last = chooser.wanted(kBytes);
    // One in seven lost its core for a while.
    chooser.note(kBytes, burst++ % 7 == 1 ? 9'000'000 : last ? 47'000 : 57'000);
  }
  EXPECT_TRUE(last);
}

TEST(FetchAhead, CountsCostByByteSinceBurstsDiffer) {
  FetchAhead chooser;
  bool last = false;
  for (uint32_t i = 0; i < FetchAhead::kPeriod; ++i) {
    const size_t bytes = i % 2 == 0 ? 2 * kBytes : kBytes;
    last = chooser.wanted(bytes);
    chooser.note(bytes, bytes * (last ? 13 : 12));
  }
  EXPECT_FALSE(last);
}

TEST(FetchAhead, LeavesSmallBurstsAlone) {
  FetchAhead chooser;
  ASSERT_TRUE(run_a_period(chooser, 57'000, 47'000));
  for (uint32_t i = 0; i < 2 * FetchAhead::kPeriod; ++i) {
    ASSERT_FALSE(chooser.wanted(FetchAhead::kMinBytes - 1));
    chooser.note(FetchAhead::kMinBytes - 1, 1);
  }
  // They moved neither the choice nor the turn.
  EXPECT_TRUE(run_a_period(chooser, 57'000, 47'000));
}

}  // namespace
}  // namespace turnpike::crypto

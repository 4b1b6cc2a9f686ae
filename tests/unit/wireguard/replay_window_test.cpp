// The replay window at its edges: the cases of the kernel's counter self-test, by what each is about.
#include "dataplane/wireguard/replay_window.h"

#include <gtest/gtest.h>

#include "tests/support/keypairs.h"

namespace turnpike::wireguard {
namespace {

constexpr uint64_t kBeyond = kReplayWindow + 1;  // so far behind that it is too old

class Window : public testing::Test {
 protected:
  void takes(uint64_t counter) { EXPECT_TRUE(window.accept(counter)) << counter; }
  void refuses(uint64_t counter) { EXPECT_FALSE(window.accept(counter)) << counter; }
  void once(uint64_t counter) {
    takes(counter);
    refuses(counter);
  }
  test::WholeReplayWindow window;
};

TEST_F(Window, TheFirstCounterIsZeroOrAnyOther) {
  once(0);
  window = {};
  once(1);
  once(0);
  window = {};
  once(kRejectAfterMessages - 1);
}

TEST_F(Window, CountersOutOfOrderAreTakenOnceEach) {
  for (const uint64_t counter : {0u, 1u, 9u, 8u, 7u, 2u}) once(counter);
  for (const uint64_t counter : {0u, 1u, 9u, 8u, 7u, 2u}) refuses(counter);
}

TEST_F(Window, ItsEdgeIsExactly) {
  for (const uint64_t top :
       {kBeyond, kBeyond + 16, 4 * kBeyond, uint64_t{1} << 32, uint64_t{1} << 60}) {
    once(top);
    once(top - kReplayWindow + 1);
    once(top - kReplayWindow);
    refuses(top - kReplayWindow - 1);
    refuses(top - kReplayWindow - 2);
    once(top - 1);
    once(top + 1);
  }
  refuses(0);
}

TEST_F(Window, NothingIsTakenAtTheLimitAndWhatIsRefusedMovesNothing) {
  once(5);
  for (const uint64_t counter :
       {kRejectAfterMessages, kRejectAfterMessages + 1, kRejectAfterMessages + 2, ~uint64_t{0}}) {
    refuses(counter);
  }
  once(6);  // or it would be far out of the window by now
  once(kRejectAfterMessages - 1);
  refuses(kRejectAfterMessages);
  once(kRejectAfterMessages - 2);
  once(kRejectAfterMessages - 1 - kReplayWindow);
  refuses(kRejectAfterMessages - 2 - kReplayWindow);
  refuses(0);
}

TEST_F(Window, AWholeWindowUpwardsLeavesTheOldestInPlace) {
  // What came before the first one is taken as long as it is in the window.
  for (uint64_t counter = 1; counter <= kReplayWindow; ++counter) takes(counter);
  once(0);
  window = {};
  for (uint64_t counter = 2; counter <= kReplayWindow + 1; ++counter) takes(counter);
  once(1);
  refuses(0);
}

TEST_F(Window, AWholeWindowDownwardsIsTaken) {
  for (uint64_t counter = kReplayWindow + 1; counter-- > 0;) takes(counter);
  window = {};
  for (uint64_t counter = kReplayWindow + 2; counter-- > 1;) takes(counter);
  refuses(0);
  for (const bool zero_first : {false, true}) {
    window = {};
    for (uint64_t counter = kReplayWindow + 1; counter-- > 1;) takes(counter);
    if (zero_first) once(0);
    once(kReplayWindow + 1);
    refuses(0);
  }
}

TEST_F(Window, AJumpForgetsAllButTheWindow) {
  // By less than the bitmap, by all of it, by more: no bit of the old round may stand for a new counter.
  for (const uint64_t jump :
       {kReplayWindow - 1, kReplayWindow, kReplayWindowBits - 1, kReplayWindowBits,
        kReplayWindowBits + 1, 3 * kReplayWindowBits + 77}) {
    window = {};
    for (uint64_t counter = 0; counter < kReplayWindowBits; ++counter) takes(counter);
    const uint64_t top = kReplayWindowBits - 1 + jump;
    takes(top);
    for (uint64_t counter = top - kReplayWindow; counter < top; ++counter) {
      EXPECT_EQ(window.accept(counter), counter >= kReplayWindowBits) << counter << " of " << jump;
    }
  }
}

// A hint, but one that the speed of many peers rests on.
TEST(ReplayWindow, MessagesInOrderNeedTheBitmapOnceInThirtyTwo) {
  test::WholeReplayWindow window;
  constexpr uint64_t kCounters = 3 * kReplayWindowBits;
  uint64_t needed = 0;
  for (uint64_t counter = 0; counter < kCounters; ++counter) {
    needed += window.needs_bitmap(counter) ? 1 : 0;
    EXPECT_TRUE(window.accept(counter));
  }
  EXPECT_EQ(needed, kCounters / 32 - 1);
  EXPECT_FALSE(window.needs_bitmap(kCounters - 1));
  EXPECT_TRUE(window.needs_bitmap(kCounters - 33)) << "seen long ago";
}

}  // namespace
}  // namespace turnpike::wireguard

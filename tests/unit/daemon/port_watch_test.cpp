// Ports of which a test says whether they are up: what is told, and when one is taken from workers, closed, opened.
#include "control/daemon/port_watch.h"

#include <gtest/gtest.h>

#include <array>

#include "dataplane/base/result.h"

namespace turnpike::daemon {
namespace {

struct FakePort {
  struct Stats {
    bool up;
  };
  [[nodiscard]] Stats stats() const { return {.up = is_up && !closed}; }
  [[nodiscard]] bool must_be_reopened(bool) const { return must && !stats().up; }
  void withdraw() { serving = false; }
  void close() {
    EXPECT_FALSE(serving) << "closed under the workers";
    closed = true;
  }
  [[nodiscard]] Result<void, std::string> reopen() {
    EXPECT_TRUE(closed);
    ++tries;
    if (!can_be_opened) return fail(name + " cannot be opened");
    closed = false;
    serving = true;
    return {};
  }

  std::string name;
  bool must = true;  // be opened anew to come back
  bool is_up = true;
  bool can_be_opened = true;
  bool serving = true, closed = false;
  int tries = 0;
};

class PortWatchTest : public testing::Test {
 protected:
  PortWatchTest() { worker_.online(); }

  void look(int times = 1) {
    for (int i = 0; i < times; ++i) watch_.look();
  }
  // As many looks as it takes, at most, until the port has been tried once more.
  int looks_until_next_try(FakePort& port) {
    const int before = port.tries;
    for (int looks = 1; looks <= 20; ++looks) {
      worker_.begin();
      look();
      if (port.tries != before) return looks;
    }
    return -1;
  }

  publish::Epoch epoch_;
  publish::EpochReader& worker_ = epoch_.add_reader();
  std::array<FakePort, 2> ports_{FakePort{.name = "outside"}, FakePort{.name = "inside"}};
  FakePort& port_ = ports_[1];
  std::vector<std::string> told_;
  PortWatch<FakePort> watch_{ports_, epoch_,
                             [this](const FakePort& port, bool up) {
                               told_.push_back(port.name + (up ? " up" : " down"));
                             },
                             [this](const std::string& why) { told_.push_back(why); }};
};

using Told = std::vector<std::string>;

TEST_F(PortWatchTest, TellsOfEachChangeOnceAndNotOfPortsThatAreUpFromTheStart) {
  port_.must = false;
  look(3);
  EXPECT_EQ(told_, Told{});
  port_.is_up = false;
  look(3);
  EXPECT_EQ(told_, Told{"inside down"});
  port_.is_up = true;
  look(3);
  EXPECT_EQ(told_, (Told{"inside down", "inside up"}));
  EXPECT_TRUE(port_.serving);
  EXPECT_EQ(port_.tries, 0);
}

TEST_F(PortWatchTest, APortThatIsDownAtTheStartIsTold) {
  port_.is_up = port_.must = false;
  look();
  EXPECT_EQ(told_, Told{"inside down"});
}

TEST_F(PortWatchTest, APortIsClosedOnlyWhenEveryWorkerHasLeftIt) {
  port_.is_up = false;
  look();
  EXPECT_FALSE(port_.serving);
  look(5);
  EXPECT_FALSE(port_.closed) << "the worker may still poll it";
  EXPECT_EQ(port_.tries, 0);
  worker_.begin();
  look();
  EXPECT_EQ(port_.tries, 1);
  EXPECT_TRUE(port_.serving);
  EXPECT_TRUE(ports_[0].serving) << "the other one goes on";
  EXPECT_EQ(ports_[0].tries, 0);
}

TEST_F(PortWatchTest, APortIsNotClosedInTheLookThatSeesItDownEvenIfAllWorkersSleep) {
  worker_.offline();
  port_.is_up = false;
  look();
  EXPECT_FALSE(port_.closed);
  EXPECT_EQ(port_.tries, 0);
  look();
  EXPECT_EQ(port_.tries, 1);
}

TEST_F(PortWatchTest, OneThatCannotBeOpenedIsTriedMoreAndMoreSeldomAndToldOnce) {
  port_.is_up = port_.can_be_opened = false;
  Told pauses;
  for (int i = 0; i < 8; ++i) pauses.push_back(std::to_string(looks_until_next_try(port_)));
  EXPECT_EQ(pauses, (Told{"2", "2", "3", "4", "5", "6", "6", "6"}));
  EXPECT_EQ(told_, (Told{"inside down", "inside cannot be opened"}));
  port_.is_up = port_.can_be_opened = true;
  EXPECT_GT(looks_until_next_try(port_), 0);
  look();
  EXPECT_EQ(told_.back(), "inside up");
  // The next time it goes down all begins anew.
  port_.is_up = port_.can_be_opened = false;
  EXPECT_EQ(looks_until_next_try(port_), 2);
  EXPECT_EQ(told_.size(), 5u);
}

TEST_F(PortWatchTest, OneThatOpensWithoutItsOtherEndIsTriedUntilThatIsThere) {
  port_.is_up = false;
  EXPECT_EQ(looks_until_next_try(port_), 2);
  EXPECT_EQ(looks_until_next_try(port_),
            3);  // a pause, the look that takes it away, the one that opens it
  port_.is_up = true;
  const int tries = port_.tries;
  look(20);
  EXPECT_EQ(port_.tries, tries);
  EXPECT_EQ(told_, (Told{"inside down", "inside up"}));
}

}  // namespace
}  // namespace turnpike::daemon

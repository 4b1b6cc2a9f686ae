#include "dataplane/publish/epoch.h"

#include <gtest/gtest.h>

#include "tests/support/sim_threads.h"

namespace turnpike::publish {
namespace {

TEST(Epoch, ReaderInTheMiddleOfABurstHoldsBackWhatWasRetiredSince) {
  Epoch epoch;
  EpochReader& reader = epoch.add_reader();
  reader.online();
  const uint64_t tag = epoch.retire();
  EXPECT_FALSE(epoch.passed(tag));
  reader.begin();
  EXPECT_TRUE(epoch.passed(tag));
}

TEST(Epoch, EveryReaderMustPass) {
  Epoch epoch;
  EpochReader& first = epoch.add_reader();
  EpochReader& second = epoch.add_reader();
  first.online();
  second.online();
  const uint64_t tag = epoch.retire();
  first.begin();
  EXPECT_FALSE(epoch.passed(tag));
  second.begin();
  EXPECT_TRUE(epoch.passed(tag));
}

TEST(Epoch, OfflineReaderHoldsNothingBack) {
  Epoch epoch;
  EpochReader& reader = epoch.add_reader();
  EXPECT_TRUE(reader.is_offline());
  EXPECT_TRUE(epoch.passed(epoch.retire()));
  reader.online();
  const uint64_t tag = epoch.retire();
  EXPECT_FALSE(epoch.passed(tag));
  reader.offline();
  EXPECT_TRUE(epoch.passed(tag));
}

TEST(Epoch, ReaderThatComesBackReportsThePresentEpochAndHoldsBackLaterOnes) {
  Epoch epoch;
  EpochReader& reader = epoch.add_reader();
  const uint64_t before = epoch.retire();
  reader.online();
  EXPECT_GE(reader.reported(), before);
  EXPECT_TRUE(epoch.passed(before));
  EXPECT_FALSE(epoch.passed(epoch.retire()));
}

TEST(Epoch, BeginOfAnOfflineReaderBringsItOnline) {
  Epoch epoch;
  EpochReader& reader = epoch.add_reader();
  reader.begin();
  EXPECT_FALSE(reader.is_offline());
  EXPECT_FALSE(epoch.passed(epoch.retire()));
}

TEST(Epoch, TagsOnlyGrowAlsoWithSeveralThatRetire) {
  Epoch epoch;
  constexpr uint64_t kRounds = 20'000;
  const auto retire = [&epoch] {
    uint64_t last = 0;
    for (uint64_t i = 0; i < kRounds; ++i) {
      const uint64_t tag = epoch.retire();
      ASSERT_GT(tag, last);
      last = tag;
    }
  };
  const uint64_t start = epoch.now();
  sim::run_together(retire, retire);
  EXPECT_EQ(epoch.now(), start + 2 * kRounds);
}

// One published cell, freed cells are poisoned. `sleepy` readers go offline and come back in every turn,
// the others stay online.
class RacingReaders : public testing::TestWithParam<bool> {};

TEST_P(RacingReaders, NeverSeeACellThatWasFreed) {
  constexpr uint64_t kPoison = 0xdead;
  constexpr uint64_t kLive = 0x11fe;
  constexpr size_t kCells = 8;
  constexpr int kPublishes = 10'000;
  const bool sleepy = GetParam();

  Epoch epoch;
  std::array<EpochReader*, 2> readers = {&epoch.add_reader(), &epoch.add_reader()};
  std::array<uint64_t, kCells> cells;  // plain: ThreadSanitizer sees a reader that is too late
  cells.fill(kPoison);
  cells[0] = kLive;
  std::atomic<uint64_t*> published{&cells[0]};
  std::atomic<bool> done{false};

  const auto read = [&](EpochReader& reader) {
    uint64_t turns = 0;
    while (!done.load(std::memory_order_relaxed) || turns == 0) {
      if (sleepy)
        reader.online();
      else
        reader.begin();
      const uint64_t* cell = published.load(std::memory_order_acquire);
      for (int i = 0; i < 8; ++i) ASSERT_EQ(*static_cast<const volatile uint64_t*>(cell), kLive);
      if (sleepy) reader.offline();
      if (++turns % 16 == 0) std::this_thread::yield();
    }
    reader.offline();
  };
  const auto write = [&] {
    size_t at = 0;
    std::array<uint64_t, kCells> tags{};  // of the cell's last retirement
    for (int i = 0; i < kPublishes; ++i) {
      const size_t next = (at + 1) % kCells;
      while (!epoch.passed(tags[next])) std::this_thread::yield();
      cells[next] = kPoison;
      cells[next] = kLive;
      published.store(&cells[next], std::memory_order_release);
      tags[at] = epoch.retire();
      // What has passed is poisoned as early as may be.
      for (size_t c = 0; c < kCells; ++c) {
        if (c != next && tags[c] != 0 && epoch.passed(tags[c])) cells[c] = kPoison;
      }
      at = next;
    }
    done.store(true, std::memory_order_relaxed);
  };
  sim::run_together(write, [&] { read(*readers[0]); }, [&] { read(*readers[1]); });
}

INSTANTIATE_TEST_SUITE_P(Epoch, RacingReaders, testing::Values(false, true),
                         [](const auto& i) { return i.param ? "ThatSleep" : "AlwaysOnline"; });

}  // namespace
}  // namespace turnpike::publish

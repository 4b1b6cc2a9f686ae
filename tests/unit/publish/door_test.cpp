#include "dataplane/publish/door.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "dataplane/publish/retirement.h"
#include "tests/support/sim_threads.h"

namespace turnpike::publish {
namespace {

constexpr uint32_t kSlotBytes = 2'048;

// Every field that the test looks at comes from the generation.
void fill(Snapshot& snapshot, Generation generation) {
  snapshot.generation = generation;
  snapshot.tunnel_count = static_cast<uint16_t>(generation);
  for (TunnelView& tunnel : snapshot.tunnels) {
    tunnel.listen_port = static_cast<uint16_t>(generation);
    tunnel.allowed_v4.node = reinterpret_cast<const void*>(generation);
  }
  for (PortView& port : snapshot.ports) port.mtu_bytes = static_cast<uint16_t>(generation);
}

bool whole(const Snapshot& snapshot, Generation generation) {
  if (snapshot.generation != generation) return false;
  if (snapshot.tunnel_count != static_cast<uint16_t>(generation)) return false;
  for (const TunnelView& tunnel : snapshot.tunnels) {
    if (tunnel.listen_port != static_cast<uint16_t>(generation)) return false;
    if (tunnel.allowed_v4.node != reinterpret_cast<const void*>(generation)) return false;
  }
  for (const PortView& port : snapshot.ports) {
    if (port.mtu_bytes != static_cast<uint16_t>(generation)) return false;
  }
  return true;
}

TEST(Door, BurstSeesWhatWasPublishedBeforeIt) {
  SystemPages pages;
  Epoch epoch;
  Door door(epoch, pages, kSlotBytes);
  ASSERT_TRUE(door.punt.valid() && door.inject.valid());
  const auto first = std::make_unique<Snapshot>();
  const auto second = std::make_unique<Snapshot>();
  door.publish(first.get());
  door.wake();
  EXPECT_EQ(&door.begin_burst(), first.get());
  door.publish(second.get());
  EXPECT_EQ(&door.begin_burst(), second.get());
}

TEST(Door, CommitIsSeenByAWorkerOnlyAfterItsNextBurstOrSleep) {
  SystemPages pages;
  Epoch epoch;
  Door door(epoch, pages, kSlotBytes);
  const auto snapshot = std::make_unique<Snapshot>();
  door.publish(snapshot.get());
  (void)door.begin_burst();
  const uint64_t tag = epoch.retire();
  EXPECT_LT(door.reader().reported(), tag);
  door.sleep();
  EXPECT_GE(door.reader().reported(), tag);  // a sleeping worker sees it when it wakes
  door.wake();
  EXPECT_GE(door.reader().reported(), tag);
}

// A writer that publishes as fast as it can to two workers, one of which sleeps now and then. Freed
// snapshots are overwritten and used again.
TEST(Door, WorkersSeeEverySnapshotWholeAndNeverAFreedOne) {
  constexpr Generation kGenerations = 3'000;
  SystemPages pages;
  Epoch epoch;
  Door doors[2] = {{epoch, pages, kSlotBytes}, {epoch, pages, kSlotBytes}};
  std::atomic<bool> done{false};

  auto live = std::make_unique<Snapshot>();  // the last one stays until both workers have ended
  fill(*live, 1);
  for (Door& door : doors) {
    door.publish(live.get());
    door.wake();
  }

  const auto control = [&] {
    Retirement<std::unique_ptr<Snapshot>> retired(epoch);
    std::vector<std::unique_ptr<Snapshot>> free;
    for (Generation generation = 2; generation <= kGenerations; ++generation) {
      std::unique_ptr<Snapshot> next;
      if (free.empty()) {
        next = std::make_unique<Snapshot>();
      } else {
        next = std::move(free.back());
        free.pop_back();
      }
      fill(*next, generation);
      for (Door& door : doors) door.publish(next.get());
      retired.add(std::exchange(live, std::move(next)));
      retired.collect([&free](std::unique_ptr<Snapshot> old) {
        fill(*old, 0);
        free.push_back(std::move(old));
      });
      if (retired.size() > 64) std::this_thread::yield();
    }
    done.store(true, std::memory_order_relaxed);
    while (retired.collect([](std::unique_ptr<Snapshot> old) { fill(*old, 0); }) > 0) {
      std::this_thread::yield();
    }
  };
  const auto worker = [&](Door& door, bool sleepy) {
    Generation last = 0;
    for (uint64_t turn = 0; !done.load(std::memory_order_relaxed) || turn == 0; ++turn) {
      if (sleepy && turn % 4 == 0) {
        door.sleep();
        std::this_thread::yield();
        door.wake();
      }
      const Snapshot& snapshot = door.begin_burst();
      const Generation generation = snapshot.generation;
      ASSERT_GT(generation, 0u);
      ASSERT_GE(generation, last);
      ASSERT_TRUE(whole(snapshot, generation));
      last = generation;
    }
    door.sleep();
  };
  sim::run_together(control, [&] { worker(doors[0], false); }, [&] { worker(doors[1], true); });
}

TEST(Counters, SumOfOneWriterIsExactAndReadableFromElsewhere) {
  const auto counters = std::make_unique<Counters>();
  constexpr uint64_t kRounds = 50'000;
  std::atomic<bool> done{false};
  sim::run_together(
      [&] {
        for (uint64_t i = 0; i < kRounds; ++i) {
          counters->drop(DropReason::Fragment);
          counters->drop(DropReason::NoRoute, 3);
        }
        done.store(true, std::memory_order_release);
      },
      [&] {
        uint64_t last = 0;
        while (!done.load(std::memory_order_acquire)) {
          const uint64_t now = counters->drops[static_cast<size_t>(DropReason::Fragment)].value();
          ASSERT_GE(now, last);
          last = now;
        }
      });
  EXPECT_EQ(counters->drops[static_cast<size_t>(DropReason::Fragment)].value(), kRounds);
  EXPECT_EQ(counters->drops[static_cast<size_t>(DropReason::NoRoute)].value(), 3 * kRounds);
}

}  // namespace
}  // namespace turnpike::publish

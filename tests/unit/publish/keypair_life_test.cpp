// A keypair's life between the session thread and a worker: published in a peer's slot and under its receiver
// index, promoted, retired by epoch; and the one counter that all workers share.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "dataplane/publish/epoch.h"
#include "dataplane/publish/peer_slots.h"
#include "dataplane/publish/retirement.h"
#include "dataplane/wireguard/keypair_arena.h"
#include "tests/support/keypairs.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_seeds.h"
#include "tests/support/sim_threads.h"

namespace turnpike::publish {
namespace {

using wireguard::Keypair;
using wireguard::kRejectAfterMessages;
using wireguard::NonceRange;
using wireguard::reserve_nonces;

// Plain writes, as session code makes them: ThreadSanitizer sees a worker that still reads.
void set_keys(Keypair& keypair, uint32_t local_index, uint8_t byte) {
  keypair.sending().remote_index = ~local_index;
  keypair.sending().key.fill(byte);
  keypair.receiving_key.fill(byte);
}
uint8_t byte_of(uint32_t local_index) { return static_cast<uint8_t>(local_index % 251 + 1); }

bool whole(const Keypair& keypair) {
  const uint8_t byte = byte_of(~keypair.sending().remote_index);
  const auto is_byte = [byte](uint8_t b) { return b == byte; };
  return std::ranges::all_of(keypair.sending().key, is_byte) &&
         std::ranges::all_of(keypair.receiving_key, is_byte);
}

// Workers ask for live, stale and random indexes while the session thread makes keypairs in few slots and retires them.
TEST(KeypairLife, WorkersFindKeypairsWholeAndUnderTheirOwnIndexOnly) {
  constexpr int kKeypairs = 4'000;
  SystemPages pages;
  sim::Random random(1);
  wireguard::KeypairArena arena(pages, 128, random);
  Epoch epoch;
  const auto send = std::make_unique<PeerSend>();
  std::atomic<bool> done{false};
  // What came over the wire last, the oldest of it long retired.
  std::array<std::atomic<uint32_t>, 256> on_the_wire{};

  const auto session = [&] {
    Retirement<Keypair*> retired(epoch);
    std::deque<Keypair*> live;
    const auto free = [&](Keypair* old) { arena.release(arena.index_of(*old)); };
    const auto unpublish_oldest = [&] {
      arena.withdraw(*live.front());
      retired.add(live.front());
      live.pop_front();
    };
    for (int i = 0; i < kKeypairs; ++i) {
      const std::optional<uint32_t> index = arena.reserve();
      ASSERT_TRUE(index.has_value());
      if (i % 7 == 0) arena.release(*arena.reserve());  // a handshake that came to nothing
      Keypair& keypair = arena.make(*index);
      set_keys(keypair, *index, byte_of(*index));
      arena.publish(keypair);
      on_the_wire[static_cast<size_t>(i) % on_the_wire.size()].store(*index,
                                                                     std::memory_order_relaxed);
      send->current.store(&keypair, std::memory_order_release);
      live.push_back(&keypair);
      if (live.size() > 3) unpublish_oldest();  // previous, current and next
      retired.collect(free);
      while (retired.size() > 64) {
        std::this_thread::yield();
        retired.collect(free);
      }
    }
    send->current.store(nullptr, std::memory_order_release);
    while (!live.empty()) unpublish_oldest();
    done.store(true, std::memory_order_relaxed);
    while (retired.collect(free) > 0) std::this_thread::yield();
  };
  std::array<size_t, 2> found{};
  const auto worker = [&](EpochReader& reader, size_t number) {
    sim::Random own(100 + number);
    reader.online();
    while (!done.load(std::memory_order_relaxed)) {
      reader.begin();
      if (const Keypair* current = send->current.load(std::memory_order_acquire)) {
        ASSERT_TRUE(whole(*current));
      }
      for (size_t i = 0; i < 64; ++i) {
        // As a worker: where it would be first, whether it is there later.
        const uint32_t index =
            i % 4 == 3 ? own.next_u32()
                       : on_the_wire[(i / 4 * 17 + own.below(8)) % on_the_wire.size()].load(
                             std::memory_order_relaxed);
        Keypair* keypair = arena.locate(index);
        if (keypair == nullptr || !keypair->answers_to(index)) continue;
        ASSERT_EQ(keypair->sending().remote_index, ~index);
        ASSERT_TRUE(whole(*keypair));
        (void)keypair->bitmap();
        ++found[number];
      }
    }
    reader.offline();
  };
  EpochReader& one = epoch.add_reader();
  EpochReader& two = epoch.add_reader();
  sim::run_together(session, [&] { worker(one, 0); }, [&] { worker(two, 1); });
  EXPECT_GT(found[0] + found[1], 0u);
  EXPECT_EQ(arena.reserved(), 0u);
  EXPECT_EQ(arena.in_use(), 0u);
}

// A first look at a chunk that comes to be at that moment.
TEST(KeypairLife, MemoryThatGrowsUnderTheWorkersEyesIsWhole) {
  constexpr uint32_t kKeypairs = 3 * wireguard::KeypairChunk::kKeypairs / 2;
  SystemPages pages;
  sim::Random random(2);
  wireguard::KeypairArena arena(pages, kKeypairs, random);
  std::atomic<uint32_t> last{0};
  std::atomic<bool> done{false};
  sim::run_together(
      [&] {
        for (uint32_t i = 0; i < kKeypairs; ++i) {
          const uint32_t index = arena.reserve().value();
          if (i % 64 != 0) continue;
          Keypair& keypair = arena.make(index);
          set_keys(keypair, index, byte_of(index));
          arena.publish(keypair);
          last.store(index, std::memory_order_relaxed);
        }
        done.store(true, std::memory_order_relaxed);
      },
      [&] {
        sim::Random own(3);
        while (!done.load(std::memory_order_relaxed)) {
          for (int i = 0; i < 64; ++i) {
            const uint32_t index =
                i % 2 == 0 ? own.next_u32() : last.load(std::memory_order_relaxed);
            const Keypair* keypair = arena.find(index);
            if (keypair == nullptr) continue;
            ASSERT_EQ(keypair->sending().remote_index, ~index);
            ASSERT_TRUE(whole(*keypair));
          }
        }
      });
}

// The worker promotes `next` by compare-and-swap from what `next` replaces; the session thread meanwhile
// installs a current of its own (it completed a handshake as initiator). Whoever is second must know.
TEST(KeypairLife, PromotionAndANewCurrentNeverLoseOrRetireAKeypairTwice) {
  constexpr int kRounds = 8'000;
  Epoch epoch;
  EpochReader& worker_reader = epoch.add_reader();
  const auto send = std::make_unique<PeerSend>();
  std::atomic<Keypair*> next{nullptr};  // stands for its receiver index
  std::atomic<bool> done{false};
  int promoted_by_worker = 0;
  int promotions_seen_by_session = 0;

  const auto session = [&] {
    Retirement<test::KeypairPtr> retired(epoch);
    std::vector<test::KeypairPtr> free;
    const auto give_back = [&free](test::KeypairPtr old) {
      old->sending().replaces.store(nullptr, std::memory_order_relaxed);
      set_keys(*old, 0, 0);
      free.push_back(std::move(old));
    };
    uint32_t last_index = 0;
    const auto make = [&] {
      test::KeypairPtr keypair;
      if (free.empty()) {
        keypair = test::make_keypair();
      } else {
        keypair = std::move(free.back());
        free.pop_back();
      }
      ++last_index;
      set_keys(*keypair, last_index, byte_of(last_index));
      return keypair;
    };
    test::KeypairPtr current = make();
    send->current.store(current.get(), std::memory_order_release);
    for (int round = 0; round < kRounds; ++round) {
      // As responder: a `next` that waits for its first packet.
      test::KeypairPtr waiting = make();
      waiting->sending().replaces.store(current.get(), std::memory_order_relaxed);
      next.store(waiting.get(), std::memory_order_release);
      if (round % 3 == 0) std::this_thread::yield();
      // Now and then the worker is let to be first, however crowded the machine is.
      for (int i = 0; round % 512 == 0 && i < 10'000'000 &&
                      send->current.load(std::memory_order_relaxed) != waiting.get();
           ++i) {
        std::this_thread::yield();
      }
      // As initiator: a new current, at once. The exchange tells whether the worker was first.
      test::KeypairPtr mine = make();
      Keypair* displaced = send->current.exchange(mine.get(), std::memory_order_acq_rel);
      next.store(nullptr, std::memory_order_release);
      if (displaced == waiting.get()) {
        ++promotions_seen_by_session;
      } else {
        ASSERT_EQ(displaced, current.get());
      }
      retired.add(std::move(current));
      retired.add(std::move(waiting));
      current = std::move(mine);
      retired.collect(give_back);
      while (retired.size() > 64) {
        std::this_thread::yield();
        retired.collect(give_back);
      }
    }
    send->current.store(nullptr, std::memory_order_release);
    retired.add(std::move(current));
    done.store(true, std::memory_order_relaxed);
    while (retired.collect(give_back) > 0) std::this_thread::yield();
  };
  const auto worker = [&] {
    worker_reader.online();
    while (!done.load(std::memory_order_relaxed)) {
      worker_reader.begin();
      Keypair* candidate = next.load(std::memory_order_acquire);
      if (candidate != nullptr) {
        ASSERT_TRUE(whole(*candidate));
        Keypair* expected = candidate->sending().replaces.load(std::memory_order_relaxed);
        if (send->current.compare_exchange_strong(expected, candidate, std::memory_order_acq_rel,
                                                  std::memory_order_acquire)) {
          ++promoted_by_worker;
        }
      }
      if (Keypair* current = send->current.load(std::memory_order_acquire)) {
        ASSERT_TRUE(whole(*current));
        (void)reserve_nonces(*current, 1);
      }
      std::this_thread::yield();
    }
    worker_reader.offline();
  };
  sim::run_together(session, worker);
  EXPECT_EQ(promoted_by_worker, promotions_seen_by_session);
  EXPECT_GT(promoted_by_worker, 0);  // they did race
}

TEST(Nonces, GroupsOfOneThreadFollowEachOther) {
  const auto keypair = test::make_keypair();
  uint64_t expected = 0;
  for (const uint32_t wanted : {1u, 32u, 64u, 7u}) {
    const NonceRange range = reserve_nonces(*keypair, wanted);
    EXPECT_EQ(range.first, expected);
    EXPECT_EQ(range.count, wanted);
    expected += wanted;
  }
}

TEST(Nonces, GroupAcrossTheLimitIsCutAndNothingIsAddedBeyondIt) {
  const auto keypair = test::make_keypair();
  keypair->sending().counter = kRejectAfterMessages - 10;
  const NonceRange cut = reserve_nonces(*keypair, 64);
  EXPECT_EQ(cut.first, kRejectAfterMessages - 10);
  EXPECT_EQ(cut.count, 10u);
  const uint64_t after = keypair->sending().counter;
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(reserve_nonces(*keypair, 64).count, 0u);
  EXPECT_EQ(keypair->sending().counter, after);
}

TEST(Nonces, LastOneIsJustBelowTheLimit) {
  const auto keypair = test::make_keypair();
  keypair->sending().counter = kRejectAfterMessages - 1;
  const NonceRange last = reserve_nonces(*keypair, 1);
  EXPECT_EQ(last.first, kRejectAfterMessages - 1);
  EXPECT_EQ(last.count, 1u);
  EXPECT_EQ(reserve_nonces(*keypair, 1).count, 0u);
}

TEST(Nonces, SeveralWorkersNearTheLimitNeverShareOneAndNeverPassIt) {
  for (const uint64_t seed : sim::seeds(20)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const auto keypair = test::make_keypair();
    constexpr uint64_t kLeft = 5'000;
    keypair->sending().counter = kRejectAfterMessages - kLeft;
    std::array<std::vector<NonceRange>, 4> taken;
    const auto worker = [&](size_t number) {
      sim::Random random(seed * 4 + number);
      int refused = 0;
      while (refused < 100) {  // and keeps asking beyond the end
        const auto wanted = static_cast<uint32_t>(1 + random.below(kBurstMax));
        const NonceRange range = reserve_nonces(*keypair, wanted);
        ASSERT_LE(range.count, wanted);
        if (range.count == 0)
          ++refused;
        else
          taken[number].push_back(range);
      }
    };
    sim::run_together([&] { worker(0); }, [&] { worker(1); }, [&] { worker(2); },
                      [&] { worker(3); });
    std::vector<NonceRange> all;
    for (const auto& ranges : taken) all.insert(all.end(), ranges.begin(), ranges.end());
    std::ranges::sort(all, {}, &NonceRange::first);
    // Together they are all that was left: no gap, no overlap, nothing above.
    uint64_t expected = kRejectAfterMessages - kLeft;
    for (const NonceRange& range : all) {
      ASSERT_EQ(range.first, expected);
      expected += range.count;
    }
    EXPECT_EQ(expected, kRejectAfterMessages);
    EXPECT_LT(keypair->sending().counter, kRejectAfterMessages + 4 * kBurstMax);
  }
}

}  // namespace
}  // namespace turnpike::publish

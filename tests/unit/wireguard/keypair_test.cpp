#include "dataplane/wireguard/keypair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/support/keypairs.h"

namespace turnpike::wireguard {
namespace {

TEST(ReserveNonces, GivesConsecutiveRangesFromZero) {
  const test::KeypairPtr owned = test::make_keypair();
  Keypair& keypair = *owned;
  const NonceRange first = reserve_nonces(keypair, 32);
  const NonceRange second = reserve_nonces(keypair, 1);
  EXPECT_EQ(first.first, 0u);
  EXPECT_EQ(first.count, 32u);
  EXPECT_EQ(second.first, 32u);
  EXPECT_EQ(second.count, 1u);
}

TEST(ReserveNonces, CutsTheRangeAtTheLimitAndGivesNothingBeyond) {
  const test::KeypairPtr owned = test::make_keypair();
  Keypair& keypair = *owned;
  keypair.sending().counter = kRejectAfterMessages - 10;
  const NonceRange last = reserve_nonces(keypair, 64);
  EXPECT_EQ(last.first, kRejectAfterMessages - 10);
  EXPECT_EQ(last.count, 10u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(reserve_nonces(keypair, 64).count, 0u);
  // What is beyond the limit adds nothing: the counter cannot reach its wrap.
  EXPECT_EQ(keypair.sending().counter, kRejectAfterMessages - 10 + 64);
}

TEST(ReserveNonces, GivesTheVeryLastNonceOnce) {
  const test::KeypairPtr owned = test::make_keypair();
  Keypair& keypair = *owned;
  keypair.sending().counter = kRejectAfterMessages - 1;
  const NonceRange last = reserve_nonces(keypair, 1);
  EXPECT_EQ(last.first, kRejectAfterMessages - 1);
  EXPECT_EQ(last.count, 1u);
  EXPECT_EQ(reserve_nonces(keypair, 1).count, 0u);
}

// Threads that reserve in groups of random size; what they got, sorted by first nonce.
std::vector<NonceRange> reserve_in_threads(Keypair& keypair, int threads, int groups) {
  std::vector<std::vector<NonceRange>> got(static_cast<size_t>(threads));
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < groups; ++i) {
        const NonceRange range =
            reserve_nonces(keypair, 1 + static_cast<uint32_t>(random() % kBurstMax));
        if (range.count > 0) got[static_cast<size_t>(t)].push_back(range);
      }
    });
  }
  for (auto& worker : workers) worker.join();
  std::vector<NonceRange> all;
  for (const auto& part : got) all.insert(all.end(), part.begin(), part.end());
  std::ranges::sort(all, {}, &NonceRange::first);
  return all;
}

TEST(ReserveNonces, NeverGivesANonceTwiceToSeveralThreads) {
  auto keypair = test::make_keypair();
  uint64_t expected = 0;
  for (const NonceRange& range : reserve_in_threads(*keypair, 4, 20'000)) {
    ASSERT_EQ(range.first, expected);
    expected += range.count;
  }
  EXPECT_EQ(keypair->sending().counter, expected);
}

TEST(ReserveNonces, EndsExactlyAtTheLimitWithSeveralThreads) {
  auto keypair = test::make_keypair();
  constexpr uint64_t kStart = kRejectAfterMessages - 100'000;
  keypair->sending().counter = kStart;
  uint64_t expected = kStart;
  for (const NonceRange& range : reserve_in_threads(*keypair, 4, 20'000)) {
    ASSERT_EQ(range.first, expected);
    expected += range.count;
  }
  EXPECT_EQ(expected, kRejectAfterMessages);
  EXPECT_LT(keypair->sending().counter, kRejectAfterMessages + 4 * kBurstMax);
}

TEST(Keypair, IsOfTheSameAgeForWhoSendsAndWhoReceives) {
  const test::KeypairPtr keypair = test::make_keypair();
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const Instant created{random() >> 2};
    keypair->set_created_at(created);
    // Around the limit, by less than ticks are apart, and anywhere; a worker's clock may also be a little behind.
    for (const Duration age : {kRejectAfterTime, Duration(kRekeyAfterTimeReceiving)}) {
      for (const Duration since :
           {age - 1ns, age, age + 1ns, age - Duration(static_cast<int64_t>(random() >> 36)),
            Duration(static_cast<int64_t>(random() >> 24)), Duration(-5)}) {
        ASSERT_EQ(keypair->receiving_reached(age, created + since), since >= age)
            << created.nanoseconds << " + " << since.count();
      }
    }
  }
}

TEST(ReplayWindow, RefusesWhatIsSeenTooOldOrBeyondTheLimit) {
  test::WholeReplayWindow window;
  EXPECT_TRUE(window.accept(0));
  EXPECT_FALSE(window.accept(0));
  EXPECT_TRUE(window.accept(kReplayWindow + 1));
  EXPECT_FALSE(window.accept(0));
  EXPECT_TRUE(window.accept(1));  // exactly kReplayWindow behind
  EXPECT_FALSE(window.accept(1));
  EXPECT_FALSE(window.accept(kRejectAfterMessages));
  EXPECT_FALSE(window.accept(~uint64_t{0}));
  EXPECT_TRUE(window.accept(2));  // the refusals moved nothing
  EXPECT_TRUE(window.accept(kRejectAfterMessages - 1));
  EXPECT_FALSE(window.accept(kRejectAfterMessages - 1));
  EXPECT_TRUE(window.accept(kRejectAfterMessages - 1 - kReplayWindow));
  EXPECT_FALSE(window.accept(kRejectAfterMessages - 2 - kReplayWindow));
}

}  // namespace
}  // namespace turnpike::wireguard

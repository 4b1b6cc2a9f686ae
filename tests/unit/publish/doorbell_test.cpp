#include "dataplane/publish/doorbell.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <thread>

namespace turnpike::publish {
namespace {

// Whether it was rung since the last call.
bool rung(const Doorbell& bell, int milliseconds = 0) {
  pollfd entry{.fd = bell.fd(), .events = POLLIN, .revents = 0};
  if (poll(&entry, 1, milliseconds) != 1) return false;
  eventfd_t rings;
  return eventfd_read(bell.fd(), &rings) == 0;
}

TEST(Doorbell, RingsOnlyWhoListens) {
  Doorbell bell;
  ASSERT_TRUE(bell.valid());
  bell.ring();
  EXPECT_FALSE(rung(bell));
  bell.listen();
  EXPECT_FALSE(rung(bell));
  bell.ring();
  EXPECT_TRUE(rung(bell));
  bell.ignore();
  bell.ring();
  EXPECT_FALSE(rung(bell));
}

// Some moments, another number each time, so that the two threads come to meet in every way.
void linger(int round, int most) {
  std::atomic<int> left{round % most};
  while (left.fetch_sub(1, std::memory_order_relaxed) > 0) {
  }
}

// Without giving up the CPU at first: who is put to sleep meets nobody.
template <typename Condition>
void spin_until(Condition condition) {
  for (int tries = 0; !condition(); ++tries) {
    if (tries > 2'000) std::this_thread::yield();
  }
}

TEST(Doorbell, WhatWasPutDownWithoutARingIsSeenByWhoLooksAfterItBeganToListen) {
  constexpr int kRounds = 100'000;
  Doorbell bell;
  std::atomic<int> put{0}, taken{0};
  std::thread other([&] {
    for (int i = 1; i <= kRounds; ++i) {
      linger(i, 61);
      put.store(i, std::memory_order_release);
      bell.ring();
      spin_until([&] { return taken.load(std::memory_order_acquire) == i; });
    }
  });
  int missed = 0;
  for (int i = 1; i <= kRounds; ++i) {
    linger(i, 53);
    bell.listen();
    if (put.load(std::memory_order_acquire) != i && missed == 0)
      missed = rung(bell, 10'000) ? 0 : i;
    spin_until([&] { return put.load(std::memory_order_acquire) == i; });
    bell.ignore();
    taken.store(i, std::memory_order_release);
  }
  other.join();
  EXPECT_EQ(missed, 0);
}

}  // namespace
}  // namespace turnpike::publish

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

TEST(Doorbell, WhatWasPutDownWithoutARingIsSeenByWhoLooksAfterItBeganToListen) {
  constexpr int kRounds = 20'000;
  Doorbell bell;
  std::atomic<int> put{0}, taken{0};
  std::thread other([&] {
    for (int i = 1; i <= kRounds; ++i) {
      put.store(i, std::memory_order_release);
      bell.ring();
      while (taken.load(std::memory_order_acquire) != i) std::this_thread::yield();
    }
  });
  int slept = 0, missed = 0;
  for (int i = 1; i <= kRounds; ++i) {
    bell.listen();
    if (put.load(std::memory_order_acquire) != i) {
      ++slept;
      missed += rung(bell, 10'000) ? 0 : 1;
      while (put.load(std::memory_order_acquire) != i) std::this_thread::yield();
    }
    bell.ignore();
    taken.store(i, std::memory_order_release);
  }
  other.join();
  EXPECT_EQ(missed, 0) << slept;
  RecordProperty("slept", slept);
}

}  // namespace
}  // namespace turnpike::publish

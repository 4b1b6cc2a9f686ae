#include "control/session/session_thread.h"

#include <gtest/gtest.h>

#include "gateway.h"

namespace turnpike::session {
namespace {

using namespace testing;

struct Running {
  Running() : gateway(1, 1) {
    gateway.outside.add_interface("192.0.2.1/24");
    gateway.snapshot.ports[kOutside].routes = gateway.outside.table();
    gateway.snapshot.ports[kInside].routes = gateway.inside.table();
    thread.emplace(SessionParts{.peers = gateway.slots,
                                .keypairs = gateway.keypairs,
                                .neighbours = gateway.neighbours,
                                .epoch = gateway.epoch,
                                .random = gateway.random,
                                .doors = gateway.door_pointers},
                   std::nullopt);
    thread->publish(&gateway.snapshot);
  }
  Gateway gateway;
  std::optional<SessionThread> thread;
};

TEST(SessionThread, RunsCommandsInOrderAndSaysWhenTheyAreDone) {
  Running running;
  running.thread->start();
  std::vector<int> order;
  for (int i = 0; i < 10'000; ++i) {
    running.thread->post([&order, i](Session&) { order.push_back(i); });
  }
  ASSERT_TRUE(running.thread->flush(60s));
  ASSERT_EQ(order.size(), 10'000u);
  EXPECT_TRUE(std::ranges::is_sorted(order));
  running.thread->stop();
  EXPECT_EQ(running.thread->completed(), 10'000u);
}

TEST(SessionThread, SaysWhatItAndThoseThatComputeForItUseOfTheirCpus) {
  Gateway gateway(2, 1);
  SessionThread thread({.peers = gateway.slots,
                        .keypairs = gateway.keypairs,
                        .neighbours = gateway.neighbours,
                        .epoch = gateway.epoch,
                        .random = gateway.random,
                        .doors = gateway.door_pointers},
                       std::nullopt, {0});
  thread.publish(&gateway.snapshot);
  thread.start();
  const auto before = thread.thread_times();
  ASSERT_EQ(before.size(), 2u);
  EXPECT_EQ(before[0].name, "session");
  EXPECT_EQ(before[1].name, "session-1");
  EXPECT_EQ(before[1].cpu, 0u);
  thread.post([](Session&) {
    for (int i = 0; i < 1'000'000; ++i) (void)SessionThread::read_clocks();
  });
  ASSERT_TRUE(thread.flush(60s));
  EXPECT_GE(thread.thread_times()[0].used - before[0].used, 5ms);
  thread.stop();
}

TEST(SessionThread, RunsEverythingThatWasPostedBeforeItStops) {
  Running running;
  running.thread->start();
  int ran = 0;
  for (int i = 0; i < 1'000; ++i) running.thread->post([&ran](Session&) { ++ran; });
  running.thread->stop();
  EXPECT_EQ(ran, 1'000);
}

TEST(SessionThread, AnswersWhatAWorkerPuntsAndHoldsUpNoRetirement) {
  Running running;
  running.thread->start();
  const PrivateKey key = crypto::generate_private_key(running.gateway.random);
  running.thread->post([&](Session& session) {
    session.set_tunnel(0, key);
    session.add_peer({.ref = {3, 1},
                      .tunnel = 0,
                      .public_key = running.gateway.public_key,
                      .endpoint = Endpoint{ip("192.0.2.9"), 1}});
  });
  ASSERT_TRUE(running.thread->flush(60s));
  EXPECT_EQ(running.gateway.slots.incarnation(3), 1u);
  // With the turn after the command the endpoint is published, too.
  EXPECT_EQ(running.gateway.slots.endpoint(3).remote.port, 1);
  running.gateway.needs_handshake({3, 1}, Packet{0x45});
  size_t injected = 0;
  const Instant end = SessionThread::read_clocks().instant + 60s;
  while (injected < 2 && SessionThread::read_clocks().instant < end) {
    for (const Injected& entry : running.gateway.take_injected()) {
      injected += entry.header.kind == publish::InjectKind::Frame ? 1 : 0;
    }
  }
  EXPECT_GE(injected, 2u);  // the announcement and the question for 192.0.2.9
  const uint64_t tag = running.gateway.epoch.retire();
  while (!running.gateway.epoch.passed(tag) && SessionThread::read_clocks().instant < end) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(running.gateway.epoch.passed(tag));
}

}  // namespace
}  // namespace turnpike::session

// Keys that are renewed while packets are under way.
#include <gtest/gtest.h>

#include "tests/simulation/each_seed.h"

namespace turnpike::sim {
namespace {

using wireguard::kRejectAfterMessages;
using wireguard::kRekeyAfterMessages;

TEST(Rekey, LosesNoPacketOverTenRekeysInBothRoles) {
  for_each_seed(6, {.delay_min = 5ms, .delay_max = 40ms, .interleave = 0.5}, [](World& world) {
    const auto two = world.two_gateways();
    open_session(world, two);
    world.run_for(1s);
    const uint64_t lost_before = world.inner_packets_sent() - world.inner_packets_delivered();
    world.run_for(21min, both_ways(two, {.every = 100ms, .burst = 3}));
    EXPECT_GE(world.handshakes_completed(), 10u);
    world.run_for(1s);
    EXPECT_EQ(world.inner_packets_sent() - world.inner_packets_delivered(), lost_before);
  });
}

// Both began at once, so both are initiators of keys of one age, and renew them at once, time and again: two
// keys are replaced within one delay of the network.
TEST(Rekey, LosesNoPacketWhereHandshakesCross) {
  for (const Duration jitter : {0ms, 5ms, 60ms}) {
    for_each_seed(6, {.delay_min = 20ms, .delay_max = 20ms + jitter, .interleave = 0.5},
                  [](World& world) {
                    const auto two = world.two_gateways();
                    const auto traffic = both_ways(two, {.every = 5ms});
                    world.run_for(10s, traffic);
                    const Instant steady = world.now();
                    world.run_for(260s, traffic);
                    EXPECT_GE(world.handshakes_completed(), 3u);
                    world.run_for(1s);
                    EXPECT_EQ(world.delivered_between(steady, world.now()),
                              world.sent_between(steady, world.now()));
                  });
  }
}

// The responder cannot renew, and speaks until its key is too old: the initiator, which says nothing at all since
// keepalives are not answered, renews it at the first one after 165 s (paper, 6.2). Else the responder would begin after
// 180 s, and renew every 120 s from then on.
TEST(Rekey, IsTheInitiatorsAlsoWhereItOnlyReceives) {
  for_each_seed(6, {.delay_min = 5ms, .delay_max = 40ms, .interleave = 0.5}, [](World& world) {
    const auto two = world.two_gateways();
    open_session(world, two);
    world.run_for(30s);  // passive keepalives are over
    world.gateway(two.b).session().set_peer(world.peer(two.b, two.a),
                                            {.persistent_keepalive_seconds = uint16_t{10}});
    const uint64_t handshakes = world.handshakes_completed();
    world.run_for(30min);
    // Every 165 to 175 s and a little.
    EXPECT_GE(world.handshakes_completed(), handshakes + 10);
    EXPECT_LE(world.handshakes_completed(), handshakes + 11);
    const Instant then = world.now();
    world.run_for(1s, {{.from = two.b, .to = two.a, .every = 100ms}});
    world.run_for(1s);
    EXPECT_EQ(world.delivered_between(then, world.now()), world.sent_between(then, world.now()));
  });
}

TEST(Rekey, InTheMiddleOfBurstsUsesEachNonceOnce) {
  // The session thread has a turn in the middle of every burst; bursts come closely around each rekey.
  for_each_seed(12, {.loss = 0.02, .delay_max = 30ms, .workers = 2, .interleave = 1.0},
                [](World& world) {
                  const auto two = world.two_gateways();
                  for (int rekey = 0; rekey < 4; ++rekey) {
                    world.run_for(117s, both_ways(two, {.every = 3s}));
                    world.run_for(6s, both_ways(two, {.every = 7ms, .burst = 12}));
                  }
                  EXPECT_GE(world.handshakes_completed(), 4u);
                  EXPECT_EQ(world.nonces_reused(), 0u);
                });
}

TEST(Rekey, HappensByTheNumberOfMessagesWithoutALoss) {
  for_each_seed(6, {.delay_min = 1ms, .delay_max = 10ms}, [](World& world) {
    const auto two = world.two_gateways();
    const auto traffic = both_ways(two, {.every = 50ms, .burst = 5});
    open_session(world, two);
    world.run_for(1s);  // a counter that leaps leaves what is under way behind the window
    const uint64_t handshakes = world.handshakes_completed();
    wireguard::Keypair* keypair =
        world.gateway(two.a).slot(world.peer(two.a, two.b)).send.current.load();
    ASSERT_NE(keypair, nullptr);
    keypair->sending().counter = kRekeyAfterMessages - 20;
    const Instant then = world.now();
    world.run_for(20s, traffic);
    EXPECT_EQ(world.handshakes_completed(), handshakes + 1);
    EXPECT_EQ(world.delivered_between(then, then + 19s), world.sent_between(then, then + 19s));
  });
}

// A counter of 32 bits would begin anew here, and with it every nonce.
TEST(Nonces, GoOnBeyondThirtyTwoBits) {
  for_each_seed(4, {.delay_min = 1ms, .delay_max = 10ms}, [](World& world) {
    const auto two = world.two_gateways();
    open_session(world, two);
    world.run_for(1s);  // a counter that leaps leaves what is under way behind the window
    wireguard::Keypair* keypair =
        world.gateway(two.a).slot(world.peer(two.a, two.b)).send.current.load();
    ASSERT_NE(keypair, nullptr);
    keypair->sending().counter = 0xffff'ffff - 20;
    const Instant then = world.now();
    world.run_for(10s, both_ways(two, {.every = 100ms, .burst = 5}));
    EXPECT_GT(world.ledger().highest_nonce, 0x1'0000'0000u);
    EXPECT_EQ(world.nonces_reused(), 0u);
    EXPECT_EQ(world.delivered_between(then, then + 9s), world.sent_between(then, then + 9s));
  });
}

TEST(NonceLimit, IsNeverReachedAndTrafficGoesOnUnderANewKey) {
  for (const uint64_t left : {1u, 7u, 64u, 200u}) {
    for_each_seed(4, {.loss = 0.05, .delay_max = 40ms, .interleave = 0.5}, [&](World& world) {
      const auto two = world.two_gateways();
      const auto traffic = both_ways(two, {.every = 20ms, .burst = 16});
      // Long enough for an initiation that was lost to come again.
      world.run_for(7s, traffic);
      world.run_for(1s);  // a counter that leaps leaves what is under way behind the window
      for (const auto& [at, other] : {std::pair(two.a, two.b), std::pair(two.b, two.a)}) {
        wireguard::Keypair* keypair =
            world.gateway(at).slot(world.peer(at, other)).send.current.load();
        ASSERT_NE(keypair, nullptr);
        keypair->sending().counter = kRejectAfterMessages - left;
      }
      const Instant then = world.now();
      world.run_for(30s, traffic);
      EXPECT_LT(world.ledger().highest_nonce, kRejectAfterMessages);
      EXPECT_GE(world.ledger().highest_nonce, kRejectAfterMessages - left);
      EXPECT_EQ(world.nonces_reused(), 0u);
      // Initiations are at least kRekeyTimeout apart, and one may be lost.
      EXPECT_GE(world.delivered_between(then + 16s, then + 29s),
                world.sent_between(then + 16s, then + 29s) * 9 / 10);
    });
  }
}

TEST(Handshake, BothSidesAtOnceSettleOnOneSession) {
  for (const Duration jitter : {0ms, 3ms, 40ms}) {
    for_each_seed(16, {.delay_min = 10ms, .delay_max = 10ms + jitter}, [&](World& world) {
      const auto two = world.two_gateways();
      world.run_for(100s, both_ways(two, {.every = 100ms}));
      EXPECT_LE(world.first_delivery_after(world.now() - 100s, two.a, two.b), 10s);
      EXPECT_LE(world.handshakes_completed(), 4u);  // crossing ones, but no storm
      const Instant steady = world.now() - 90s;
      EXPECT_EQ(world.delivered_between(steady, world.now() - 1s),
                world.sent_between(steady, world.now() - 1s));
    });
  }
}

TEST(Handshake, BothSidesAtOnceSettleAlsoOverALossyLink) {
  for_each_seed(24, {.loss = 0.3, .duplicate = 0.1, .delay_max = 100ms}, [&](World& world) {
    const auto two = world.two_gateways();
    world.run_for(60s, both_ways(two, {.every = 100ms}));
    world.set_network(0, 0, 1ms, 50ms);
    const Instant healed = world.now();
    world.run_for(30s, both_ways(two, {.every = 100ms}));
    const Instant steady = healed + 12s;
    EXPECT_EQ(world.delivered_between(steady, world.now() - 1s),
              world.sent_between(steady, world.now() - 1s));
  });
}

}  // namespace
}  // namespace turnpike::sim

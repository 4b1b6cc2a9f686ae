#include "dataplane/wireguard/timers.h"

#include <gtest/gtest.h>

#include <vector>

namespace turnpike::wireguard {
namespace {

constexpr Instant at(Duration since_start) { return Instant{1'000'000'000'000} + since_start; }

// A peer with a session made at 0 s, all quiet.
TimerInput with_session() {
  TimerInput input;
  input.session = {.current_created_at = at(0s), .newest_created_at = at(0s)};
  input.activity = {.last_sent = at(0s), .last_received = at(0s)};
  input.handshake.last_attempt_at = at(0s);
  return input;
}

TEST(Timers, AskForNothingWithoutSessionHandshakeAndKeepalive) {
  const TimerDecision decision = decide_timers({}, at(0s));
  EXPECT_FALSE(decision.anything());
  EXPECT_TRUE(decision.next.is_never());
}

TEST(Timers, SendAPassiveKeepaliveTenSecondsAfterDataWasNotAnswered) {
  TimerInput input = with_session();
  input.activity.last_received = input.activity.unanswered_since = at(3s);
  const TimerDecision early = decide_timers(input, at(13s - 1ns));
  EXPECT_FALSE(early.anything());
  EXPECT_EQ(early.next, at(13s));
  const TimerDecision due = decide_timers(input, at(13s));
  EXPECT_TRUE(due.send_passive_keepalive);
  EXPECT_FALSE(due.start_handshake);
  // Its sending is the answer.
  input.activity.last_sent = at(13s);
  EXPECT_FALSE(decide_timers(input, at(13s)).anything());
}

TEST(Timers, SendNoPassiveKeepaliveWhenSomethingWasSentSince) {
  TimerInput input = with_session();
  input.activity.unanswered_since = at(3s);
  input.activity.last_sent = at(4s);
  EXPECT_FALSE(decide_timers(input, at(60s)).anything());
}

TEST(Timers, SendNoPassiveKeepaliveInAnswerToKeepalives) {
  TimerInput input = with_session();
  input.activity.last_received = at(50s);  // a keepalive leaves unanswered_since alone
  EXPECT_FALSE(decide_timers(input, at(100s)).anything());
}

TEST(Timers, LookAgainWithinTenSecondsWhileDataMayComeIn) {
  TimerInput input = with_session();
  EXPECT_EQ(decide_timers(input, at(50s)).next, at(60s));
  // A session that nothing can come in on any more is only waited for to be erased.
  EXPECT_EQ(decide_timers(input, at(180s)).next, at(540s));
}

TEST(Timers, SendAPersistentKeepaliveWhenNothingWentEitherWayForTheInterval) {
  TimerInput input = with_session();
  input.persistent_keepalive = 25s;
  input.activity.last_sent = at(5s);
  input.activity.last_received = at(8s);
  EXPECT_FALSE(decide_timers(input, at(33s - 1ns)).anything());
  EXPECT_EQ(decide_timers(input, at(30s)).next, at(33s));
  EXPECT_TRUE(decide_timers(input, at(33s)).send_persistent_keepalive);
  input.activity.last_sent = at(33s);
  EXPECT_FALSE(decide_timers(input, at(33s)).anything());
}

TEST(Timers, StartAHandshakeAtOnceForAPersistentKeepaliveThatNothingPreceded) {
  TimerInput input;
  input.persistent_keepalive = 25s;
  const TimerDecision decision = decide_timers(input, at(0s));
  EXPECT_TRUE(decision.start_handshake);
  EXPECT_FALSE(decision.send_persistent_keepalive);
}

TEST(Timers, StartAHandshakeForAKeepaliveWhenTheKeyIsTooOld) {
  TimerInput input = with_session();
  input.persistent_keepalive = 25s;
  input.activity.last_sent = at(170s);
  const TimerDecision decision = decide_timers(input, at(195s));
  EXPECT_TRUE(decision.start_handshake);
  EXPECT_FALSE(decision.send_persistent_keepalive);

  TimerInput passive = with_session();
  passive.activity.unanswered_since = at(171s);
  EXPECT_TRUE(decide_timers(passive, at(181s)).start_handshake);
  EXPECT_FALSE(decide_timers(passive, at(181s)).send_passive_keepalive);
}

TEST(Timers, StartAHandshakeAfterFifteenSecondsOfSilencePlusJitter) {
  TimerInput input = with_session();
  input.handshake.jitter = 200ms;
  input.activity.last_sent = input.activity.unacknowledged_since = at(20s);
  EXPECT_FALSE(decide_timers(input, at(35s + 200ms - 1ns)).anything());
  EXPECT_EQ(decide_timers(input, at(34s)).next, at(35s + 200ms));
  EXPECT_TRUE(decide_timers(input, at(35s + 200ms)).start_handshake);
}

TEST(Timers, KeepQuietAboutSilenceWhenSomethingWasHeardSince) {
  TimerInput input = with_session();
  input.activity.unacknowledged_since = at(20s);
  input.activity.last_received = at(21s);
  EXPECT_FALSE(decide_timers(input, at(100s)).anything());
}

TEST(Timers, StartNoHandshakeWithinFiveSecondsOfTheLastInitiation) {
  TimerInput input = with_session();
  input.activity.unacknowledged_since = at(20s);
  input.handshake.last_attempt_at = at(33s);  // it ended, and the silence goes on
  const TimerDecision early = decide_timers(input, at(36s));
  EXPECT_FALSE(early.start_handshake);
  EXPECT_EQ(early.next, at(38s));
  EXPECT_TRUE(decide_timers(input, at(38s)).start_handshake);
  EXPECT_FALSE(may_initiate(input.handshake, at(38s - 1ns)));
  EXPECT_TRUE(may_initiate(input.handshake, at(38s)));
  EXPECT_TRUE(may_initiate({}, at(0s)));
}

TEST(Timers, RetryAHandshakeFiveSecondsPlusJitterAfterEachAttempt) {
  TimerInput input;
  input.handshake = {
      .in_flight = true, .started_at = at(0s), .last_attempt_at = at(0s), .jitter = 333ms};
  const TimerDecision early = decide_timers(input, at(5s + 333ms - 1ns));
  EXPECT_FALSE(early.anything());
  EXPECT_EQ(early.next, at(5s + 333ms));
  const TimerDecision due = decide_timers(input, at(5s + 333ms));
  EXPECT_TRUE(due.retry_handshake);
  EXPECT_FALSE(due.start_handshake);
}

TEST(Timers, GiveAHandshakeUpAfterNinetySecondsWhenTheLastAttemptHadItsTime) {
  TimerInput input;
  input.handshake = {.in_flight = true, .started_at = at(0s), .last_attempt_at = at(0s)};
  std::vector<Instant> attempts{at(0s)};
  for (;;) {
    const TimerDecision waiting = decide_timers(input, input.handshake.last_attempt_at);
    ASSERT_FALSE(waiting.anything());
    const TimerDecision decision = decide_timers(input, waiting.next);
    ASSERT_TRUE(decision.anything());
    if (decision.give_up_handshake) {
      EXPECT_FALSE(decision.retry_handshake);
      EXPECT_EQ(waiting.next, at(90s));
      break;
    }
    input.handshake.last_attempt_at = waiting.next;
    attempts.push_back(waiting.next);
    ASSERT_LT(attempts.size(), 100u);
  }
  EXPECT_EQ(attempts.size(), 18u);
  EXPECT_EQ(attempts.back(), at(85s));
}

TEST(Timers, GiveUpNinetySecondsAfterTheLastWishToSend) {
  TimerInput input;
  input.handshake = {.in_flight = true, .started_at = at(60s), .last_attempt_at = at(140s)};
  EXPECT_TRUE(decide_timers(input, at(145s)).retry_handshake);
  input.handshake.last_attempt_at = at(145s);
  EXPECT_TRUE(decide_timers(input, at(150s)).give_up_handshake);
}

TEST(Timers, StartNoSecondHandshakeWhileOneIsInFlight) {
  TimerInput input = with_session();
  input.persistent_keepalive = 25s;
  input.activity.unacknowledged_since = at(20s);
  input.session.current_created_at = Instant::never();
  input.handshake = {.in_flight = true, .started_at = at(99s), .last_attempt_at = at(99s)};
  const TimerDecision decision = decide_timers(input, at(100s));
  EXPECT_FALSE(decision.anything());
}

TEST(Timers, ComeBackAfterGivingUpWithPersistentKeepaliveOnly) {
  TimerInput input;
  input.activity.last_sent = at(85s);  // the last initiation
  input.handshake = {.last_attempt_at = at(85s)};
  EXPECT_TRUE(decide_timers(input, at(90s)).next.is_never());
  input.persistent_keepalive = 25s;
  EXPECT_EQ(decide_timers(input, at(90s)).next, at(110s));
  EXPECT_TRUE(decide_timers(input, at(110s)).start_handshake);
}

TEST(Timers, SendNothingToAPeerWithoutEndpointButStillGiveUp) {
  TimerInput input = with_session();
  input.reachable = false;
  input.persistent_keepalive = 25s;
  input.activity.unanswered_since = input.activity.unacknowledged_since = at(1s);
  EXPECT_FALSE(decide_timers(input, at(100s)).anything());
  input.handshake = {.in_flight = true, .started_at = at(100s), .last_attempt_at = at(100s)};
  EXPECT_FALSE(decide_timers(input, at(106s)).anything());
  EXPECT_TRUE(decide_timers(input, at(190s)).give_up_handshake);
}

TEST(Timers, EraseKeysNineMinutesAfterTheNewestSession) {
  TimerInput input = with_session();
  input.session.newest_created_at = at(10s);
  EXPECT_FALSE(decide_timers(input, at(550s - 1ns)).erase_keys);
  EXPECT_EQ(decide_timers(input, at(400s)).next, at(550s));
  EXPECT_TRUE(decide_timers(input, at(550s)).erase_keys);
  input.session = {};
  EXPECT_FALSE(decide_timers(input, at(550s)).anything());
}

// Whenever data comes in, the look that decide_timers() asked for is early enough to answer in
// time.
TEST(Timers, NeverMissAnAnswerToDataThatCameBetweenTwoLooks) {
  for (Duration arrival = 0s; arrival < 40s; arrival += 700ms) {
    TimerInput input = with_session();
    Instant look = at(0s);
    Instant answered;
    while (answered.is_never() && look < at(100s)) {
      if (look >= at(arrival)) input.activity.unanswered_since = at(arrival);
      const TimerDecision decision = decide_timers(input, look);
      if (decision.send_passive_keepalive) {
        answered = look;
      } else {
        ASSERT_FALSE(decision.next.is_never());
        ASSERT_GT(decision.next, look);
        look = decision.next;
      }
    }
    EXPECT_EQ(answered, at(arrival) + kKeepaliveTimeout) << arrival.count();
  }
}

TEST(RekeyAfterSending, IsTheInitiatorsByAgeAndAnybodysByCount) {
  EXPECT_FALSE(rekey_due_after_sending(Role::Initiator, at(0s), 1, at(120s - 1ns)));
  EXPECT_TRUE(rekey_due_after_sending(Role::Initiator, at(0s), 1, at(120s)));
  EXPECT_FALSE(rekey_due_after_sending(Role::Responder, at(0s), 1, at(179s)));
  EXPECT_FALSE(rekey_due_after_sending(Role::Responder, at(0s), kRekeyAfterMessages, at(0s)));
  EXPECT_TRUE(rekey_due_after_sending(Role::Responder, at(0s), kRekeyAfterMessages + 1, at(0s)));
}

TEST(LivesOfKeys, AreThePapersWhereNoTestHasShortenedThem) {
  EXPECT_EQ(kRekeyAfterTime, 120s);
  EXPECT_EQ(kRejectAfterTime, 180s);
  EXPECT_EQ(kRekeyAfterTimeReceiving, 165s);
  EXPECT_EQ(kKeyErasureTime, 540s);
}

TEST(RekeyAfterReceiving, IsTheInitiatorsFrom165SecondsOn) {
  EXPECT_FALSE(rekey_due_after_receiving(Role::Initiator, at(0s), at(165s - 1ns)));
  EXPECT_TRUE(rekey_due_after_receiving(Role::Initiator, at(0s), at(165s)));
  EXPECT_FALSE(rekey_due_after_receiving(Role::Responder, at(0s), at(179s)));
}

}  // namespace
}  // namespace turnpike::wireguard

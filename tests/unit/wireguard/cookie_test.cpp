#include "dataplane/wireguard/cookie.h"

#include <gtest/gtest.h>

#include "tests/unit/wireguard/parties.h"

namespace turnpike::wireguard {
namespace {

using test::at;
using test::Parties;

const Endpoint kSource = *parse_endpoint("192.0.2.7:51820");

// An initiation from A, answered by a cookie reply of B that A takes.
struct CookieWorld : Parties {
  CookieWorld() : checker(b.mac_keys) {}
  bool exchange(const Now& now, const Endpoint& source = kSource) {
    const InitiationBytes first = initiate(1, now);
    const auto reply = parse_cookie_reply(checker.make_reply(first, source, now.instant, random));
    EXPECT_TRUE(reply);
    return b_at_a.cookies.consume(*reply, now.instant);
  }
  bool mac2_valid(const Now& now, const Endpoint& source = kSource) {
    return checker.check_mac2(initiate(1, now), source, now.instant);
  }
  CookieChecker checker;
};

TEST(Cookie, ShowsThatTheInitiatorReceivesAtItsAddressAndPort) {
  CookieWorld world;
  EXPECT_FALSE(world.mac2_valid(at(0s)));
  ASSERT_TRUE(world.exchange(at(1s)));
  EXPECT_TRUE(world.mac2_valid(at(2s)));
  EXPECT_FALSE(world.mac2_valid(at(2s), *parse_endpoint("192.0.2.7:51821")));
  EXPECT_FALSE(world.mac2_valid(at(2s), *parse_endpoint("192.0.2.8:51820")));
  EXPECT_FALSE(world.mac2_valid(at(2s), *parse_endpoint("[2001:db8::1]:51820")));
}

TEST(Cookie, WorksForIpv6WithAllSixteenBytes) {
  CookieWorld world;
  ASSERT_TRUE(world.exchange(at(0s), *parse_endpoint("[2001:db8::1]:9")));
  EXPECT_TRUE(world.mac2_valid(at(1s), *parse_endpoint("[2001:db8::1]:9")));
  EXPECT_FALSE(world.mac2_valid(at(1s), *parse_endpoint("[2001:db8::2]:9")));
}

TEST(Cookie, AnswersAResponseToo) {
  CookieWorld world;
  const auto response = world.respond(world.initiate(1, at(0s)), 2, at(0s));
  ASSERT_TRUE(response);
  CookieChecker checker_of_a(world.a.mac_keys);
  const auto reply = parse_cookie_reply(
      checker_of_a.make_reply(response->datagram, kSource, at(0s).instant, world.random));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->receiver_index, 2u);
  ASSERT_TRUE(world.a_at_b.cookies.consume(*reply, at(0s).instant));
  const auto second = world.respond(world.initiate(1, at(1s)), 3, at(1s));
  ASSERT_TRUE(second);
  EXPECT_TRUE(checker_of_a.check_mac2(second->datagram, kSource, at(1s).instant));
}

TEST(Cookie, CoversEveryByteBeforeMac2) {
  CookieWorld world;
  ASSERT_TRUE(world.exchange(at(0s)));
  const InitiationBytes initiation = world.initiate(1, at(1s));
  for (size_t i = 0; i < initiation.size(); ++i) {
    InitiationBytes changed = initiation;
    changed[i] ^= 0x10;
    EXPECT_FALSE(world.checker.check_mac2(changed, kSource, at(1s).instant)) << i;
  }
}

TEST(Cookie, IsUsedForFiveSecondsLessThanItsSecretLives) {
  CookieWorld world;
  ASSERT_TRUE(world.exchange(at(0s)));
  EXPECT_TRUE(world.b_at_a.cookies.has_cookie(at(115s - 1ns).instant));
  EXPECT_TRUE(world.mac2_valid(at(115s - 1ns)));
  EXPECT_FALSE(world.b_at_a.cookies.has_cookie(at(115s).instant));
  const InitiationBytes later = world.initiate(1, at(115s));
  EXPECT_TRUE(std::all_of(later.end() - kMacBytes, later.end(), [](uint8_t b) { return b == 0; }));
}

TEST(Cookie, SecretIsRefusedAfterTwoMinutesAndThenReplaced) {
  CookieWorld world;
  ASSERT_TRUE(world.exchange(at(0s)));
  const InitiationBytes signed_early = world.initiate(1, at(100s));
  EXPECT_TRUE(world.checker.check_mac2(signed_early, kSource, at(120s - 1ns).instant));
  EXPECT_FALSE(world.checker.check_mac2(signed_early, kSource, at(120s).instant));
  // A new cookie, of a new secret: what the old one signed stays refused.
  ASSERT_TRUE(world.exchange(at(121s)));
  EXPECT_FALSE(world.checker.check_mac2(signed_early, kSource, at(121s).instant));
  EXPECT_TRUE(world.mac2_valid(at(122s)));
}

TEST(Cookie, ReplyAnswersTheMessageSentLastOnceAndNoOther) {
  CookieWorld world;
  const InitiationBytes first = world.initiate(1, at(0s));
  const auto to_first = world.checker.make_reply(first, kSource, at(0s).instant, world.random);
  const InitiationBytes second = world.initiate(2, at(5s));
  const auto to_second = world.checker.make_reply(second, kSource, at(5s).instant, world.random);
  EXPECT_FALSE(world.b_at_a.cookies.consume(*parse_cookie_reply(to_first), at(5s).instant));
  EXPECT_TRUE(world.b_at_a.cookies.consume(*parse_cookie_reply(to_second), at(5s).instant));
  EXPECT_FALSE(world.b_at_a.cookies.consume(*parse_cookie_reply(to_second), at(6s).instant));
}

TEST(Cookie, ReplyIsRefusedWithAnyByteOfNonceOrCookieChanged) {
  CookieWorld world;
  const InitiationBytes first = world.initiate(1, at(0s));
  const auto reply = world.checker.make_reply(first, kSource, at(0s).instant, world.random);
  for (size_t i = 8; i < reply.size(); ++i) {
    CookieReplyBytes changed = reply;
    changed[i] ^= 1;
    EXPECT_FALSE(world.b_at_a.cookies.consume(*parse_cookie_reply(changed), at(0s).instant)) << i;
    EXPECT_FALSE(world.b_at_a.cookies.has_cookie(at(0s).instant));
  }
  EXPECT_TRUE(world.b_at_a.cookies.consume(*parse_cookie_reply(reply), at(0s).instant));
}

TEST(Cookie, IsRefusedFromWhoeverIsNotTheReceiver) {
  CookieWorld world;
  const InitiationBytes first = world.initiate(1, at(0s));
  CookieChecker stranger(world.a.mac_keys);
  const auto reply = stranger.make_reply(first, kSource, at(0s).instant, world.random);
  EXPECT_FALSE(world.b_at_a.cookies.consume(*parse_cookie_reply(reply), at(0s).instant));
}

TEST(Mac1, IsAskedOfInitiationsAndResponsesOnly) {
  CookieWorld world;
  const InitiationBytes initiation = world.initiate(1, at(0s));
  for (size_t length = 0; length < initiation.size(); ++length) {
    EXPECT_FALSE(check_mac1(world.b.mac_keys, Bytes(initiation).first(length)));
  }
  EXPECT_TRUE(check_mac1(world.b.mac_keys, initiation));
}

}  // namespace
}  // namespace turnpike::wireguard

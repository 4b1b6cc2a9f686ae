#include "dataplane/wireguard/handshake.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/keypairs.h"
#include "tests/unit/wireguard/parties.h"

namespace turnpike::wireguard {
namespace {

using test::at;
using test::Parties;

// Everything that a refusal must leave alone, in one comparable value.
struct Remembered {
  explicit Remembered(const PeerHandshake& peer)
      : last_sent(peer.last_sent),
        latest_received(peer.latest_received),
        accepted_at(peer.accepted_at),
        active(peer.in_flight.active),
        local_index(peer.in_flight.local_index),
        ephemeral(peer.in_flight.ephemeral),
        chaining_key(peer.in_flight.noise.chaining_key),
        hash(peer.in_flight.noise.hash) {}
  friend bool operator==(const Remembered&, const Remembered&) = default;
  WallTime last_sent;
  Tai64n latest_received;
  Instant accepted_at;
  bool active;
  uint32_t local_index;
  PrivateKey ephemeral;
  ChainingKey chaining_key;
  crypto::Hash hash;
};

void expect_matching(const DerivedKeys& initiator, const DerivedKeys& responder) {
  EXPECT_EQ(initiator.sending, responder.receiving);
  EXPECT_EQ(initiator.receiving, responder.sending);
  EXPECT_FALSE(initiator.sending == initiator.receiving);
  EXPECT_EQ(initiator.local_index, responder.remote_index);
  EXPECT_EQ(initiator.remote_index, responder.local_index);
  EXPECT_EQ(initiator.role, Role::Initiator);
  EXPECT_EQ(responder.role, Role::Responder);
}

TEST(Handshake, GivesBothPartiesMatchingKeysWithAndWithoutPresharedKey) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Parties world(seed, seed % 2 == 0);
    const InitiationBytes initiation = world.initiate(0x11111111, at(0s));
    EXPECT_EQ(peek_type(initiation), MessageType::Initiation);
    EXPECT_TRUE(check_mac1(world.b.mac_keys, initiation));
    EXPECT_FALSE(check_mac1(world.a.mac_keys, initiation));
    const auto opened = open_initiation(world.b, initiation);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->remote_static, world.a.public_key);
    const auto created = world.respond(initiation, 0x22222222, at(1ms));
    ASSERT_TRUE(created);
    EXPECT_TRUE(check_mac1(world.a.mac_keys, created->datagram));
    const auto keys = consume_response(world.a, world.b_at_a, created->datagram);
    ASSERT_TRUE(keys);
    expect_matching(*keys, created->keys);
    EXPECT_FALSE(world.b_at_a.in_flight.active);
    EXPECT_TRUE(world.b_at_a.in_flight.ephemeral.is_zero());
  }
}

TEST(Handshake, GivesOtherKeysEachTime) {
  Parties world;
  const auto first = world.respond(world.initiate(1, at(0s)), 2, at(0s));
  const auto second = world.respond(world.initiate(1, at(1s)), 2, at(1s));
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(first->keys.sending == second->keys.sending);
  EXPECT_FALSE(first->keys.receiving == second->keys.receiving);
}

TEST(Handshake, FailsAtTheResponseWhenThePresharedKeysDiffer) {
  Parties world;
  world.a_at_b.preshared_key.bytes()[31] ^= 1;
  const auto created = world.respond(world.initiate(1, at(0s)), 2, at(0s));
  ASSERT_TRUE(created);
  const auto keys = consume_response(world.a, world.b_at_a, created->datagram);
  ASSERT_FALSE(keys);
  EXPECT_EQ(keys.error(), HandshakeRefusal::NotAuthentic);
}

TEST(Handshake, RefusesAnInitiationWithAnyByteChangedAndRemembersNothing) {
  Parties world;
  const InitiationBytes initiation = world.initiate(7, at(0s));
  const Remembered before(world.a_at_b);
  for (size_t i = 0; i < initiation.size(); ++i) {
    SCOPED_TRACE(i);
    InitiationBytes changed = initiation;
    changed[i] ^= static_cast<uint8_t>(1u << (i % 8));
    // mac2 is empty here: mac1 covers all before itself, and mac2 all before itself.
    const bool covered_by_mac1 = i < initiation.size() - kMacBytes;
    EXPECT_EQ(check_mac1(world.b.mac_keys, changed), !covered_by_mac1);
    // Behind mac1 the index is not authenticated: it only says where the response is to go.
    const bool authenticated = i < 4 || (i >= 8 && i < initiation.size() - 2 * kMacBytes);
    if (authenticated) {
      EXPECT_FALSE(world.respond(changed, 8, at(0s)));
      EXPECT_EQ(Remembered(world.a_at_b), before);
    }
  }
  EXPECT_TRUE(world.respond(initiation, 8, at(0s)));
}

TEST(Handshake, RefusesAResponseWithAnyByteChangedAndStillTakesTheRightOne) {
  Parties world(3, true);
  const auto created = world.respond(world.initiate(7, at(0s)), 8, at(0s));
  ASSERT_TRUE(created);
  const Remembered before(world.b_at_a);
  for (size_t i = 0; i < kResponseBytes; ++i) {
    SCOPED_TRACE(i);
    ResponseBytes changed = created->datagram;
    changed[i] ^= static_cast<uint8_t>(1u << (i % 8));
    EXPECT_EQ(check_mac1(world.a.mac_keys, changed), i >= kResponseBytes - kMacBytes);
    const bool sender_index = i >= 4 && i < 8;
    if (!sender_index && i < kResponseBytes - 2 * kMacBytes) {
      EXPECT_FALSE(consume_response(world.a, world.b_at_a, changed));
      EXPECT_EQ(Remembered(world.b_at_a), before);
    }
  }
  const auto keys = consume_response(world.a, world.b_at_a, created->datagram);
  ASSERT_TRUE(keys);
  expect_matching(*keys, created->keys);
}

TEST(Handshake, RefusesEveryOtherLength) {
  Parties world;
  const InitiationBytes initiation = world.initiate(7, at(0s));
  std::vector<uint8_t> longer(initiation.begin(), initiation.end());
  longer.push_back(0);
  EXPECT_EQ(open_initiation(world.b, longer).error(), HandshakeRefusal::Malformed);
  for (size_t length = 0; length < kInitiationBytes; ++length) {
    const Bytes shorter = Bytes(initiation).first(length);
    EXPECT_EQ(open_initiation(world.b, shorter).error(), HandshakeRefusal::Malformed);
    EXPECT_FALSE(consume_response(world.b, world.a_at_b, shorter));
  }
}

TEST(Handshake, TakesAResponseOnceAndOnlyForTheNewestInitiation) {
  Parties world;
  const auto old_response = world.respond(world.initiate(7, at(0s)), 8, at(0s));
  const auto new_response = world.respond(world.initiate(9, at(5s)), 10, at(5s));
  ASSERT_TRUE(old_response && new_response);
  EXPECT_EQ(consume_response(world.a, world.b_at_a, old_response->datagram).error(),
            HandshakeRefusal::NotAwaited);
  EXPECT_TRUE(consume_response(world.a, world.b_at_a, new_response->datagram));
  EXPECT_EQ(consume_response(world.a, world.b_at_a, new_response->datagram).error(),
            HandshakeRefusal::NotAwaited);
}

TEST(Handshake, RefusesAResponseToAnOlderInitiationThatUsedTheSameIndex) {
  Parties world;
  const auto old_response = world.respond(world.initiate(7, at(0s)), 8, at(0s));
  (void)world.initiate(7, at(5s));
  ASSERT_TRUE(old_response);
  EXPECT_EQ(consume_response(world.a, world.b_at_a, old_response->datagram).error(),
            HandshakeRefusal::NotAuthentic);
}

TEST(Handshake, RefusesAReplayedAndAnOlderInitiation) {
  Parties world;
  const InitiationBytes older = world.initiate(1, at(0s));
  const InitiationBytes newer = world.initiate(2, at(5s));
  ASSERT_TRUE(world.respond(newer, 3, at(6s)));
  EXPECT_EQ(world.respond(newer, 4, at(7s)).error(), HandshakeRefusal::Replayed);
  EXPECT_EQ(world.respond(older, 5, at(8s)).error(), HandshakeRefusal::Replayed);
}

TEST(Handshake, AcceptsFiftyInitiationsASecondFromOnePeerAndNoMore) {
  Parties world;
  // Sent a second apart, so that their timestamps differ, and delivered in one bunch.
  std::vector<InitiationBytes> initiations;
  for (int i = 0; i < 4; ++i) initiations.push_back(world.initiate(1, at(i * 1s)));
  ASSERT_TRUE(world.respond(initiations[0], 2, at(10s)));
  EXPECT_EQ(world.respond(initiations[1], 2, at(10s + 19ms)).error(), HandshakeRefusal::TooSoon);
  // What was refused does not count: neither its time nor its timestamp.
  EXPECT_TRUE(world.respond(initiations[1], 2, at(10s + 20ms)));
  EXPECT_EQ(world.respond(initiations[2], 2, at(10s + 39ms)).error(), HandshakeRefusal::TooSoon);
  EXPECT_TRUE(world.respond(initiations[3], 2, at(10s + 40ms)));
}

TEST(Handshake, IsAcceptedAfterTheInitiatorsClockWentBack) {
  Parties world;
  ASSERT_TRUE(world.respond(world.initiate(1, at(3600s)), 2, at(0s)));
  for (int i = 1; i <= 5; ++i) {
    Now back = at(i * 5s);  // an hour before, as the wall clock has it
    EXPECT_TRUE(world.respond(world.initiate(1, back), 2, back)) << i;
  }
}

void expect_unusable(Parties& world, const PublicKey& key) {
  PeerHandshake peer = PeerHandshake::of(world.a, key, PresharedKey{});
  EXPECT_FALSE(peer.usable);
  const Remembered before(peer);
  EXPECT_EQ(create_initiation(world.a, peer, 1, at(0s), world.random).error(),
            HandshakeRefusal::UnusablePeer);
  OpenedInitiation opened;
  opened.remote_static = key;
  EXPECT_EQ(accept_initiation(opened, peer, at(0s).instant).error(),
            HandshakeRefusal::UnusablePeer);
  EXPECT_EQ(Remembered(peer), before);
}

// All seven of them, with and without the bit that X25519 ignores.
TEST(Handshake, IsNeverDoneWithAPeerOfLowOrder) {
  constexpr std::string_view kPoints[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  };
  Parties world;
  for (const std::string_view point : kPoints) {
    SCOPED_TRACE(point);
    PublicKey key;
    for (size_t i = 0; i < kKeyBytes; ++i) {
      key.bytes[i] =
          static_cast<uint8_t>(std::stoul(std::string(point.substr(2 * i, 2)), nullptr, 16));
    }
    expect_unusable(world, key);
    key.bytes[31] |= 0x80;
    expect_unusable(world, key);
  }
}

TEST(Handshake, IsNeverDoneWithOurOwnKey) {
  Parties world;
  expect_unusable(world, world.a.public_key);
}

TEST(Handshake, RefusesAnEphemeralOfLowOrder) {
  Parties world;
  InitiationBytes initiation = world.initiate(1, at(0s));
  std::memset(&initiation[8], 0, kKeyBytes);
  EXPECT_EQ(open_initiation(world.b, initiation).error(), HandshakeRefusal::NotAuthentic);
  auto created = world.respond(world.initiate(1, at(1s)), 2, at(1s));
  ASSERT_TRUE(created);
  std::memset(&created->datagram[12], 0, kKeyBytes);
  EXPECT_EQ(consume_response(world.a, world.b_at_a, created->datagram).error(),
            HandshakeRefusal::NotAuthentic);
  EXPECT_TRUE(world.b_at_a.in_flight.active);
}

TEST(Handshake, DoesNotTakeOnePeersInitiationForAnothers) {
  Parties world;
  const auto opened = open_initiation(world.b, world.initiate(1, at(0s)));
  ASSERT_TRUE(opened);
  PeerHandshake other = PeerHandshake::of(
      world.b, crypto::public_key(crypto::generate_private_key(world.random)), PresharedKey{});
  EXPECT_EQ(accept_initiation(*opened, other, at(0s).instant).error(), HandshakeRefusal::WrongPeer);
}

// Whoever knows both public keys can write the first half of an initiation in somebody's name.
TEST(Handshake, DoesNotBelieveAStaticKeyWithoutTheSecretBehindIt) {
  Parties world;
  test::SeededRandom random(9);
  const StaticIdentity mallory = StaticIdentity::of(crypto::generate_private_key(random));
  StaticIdentity disguised = mallory;
  disguised.public_key = world.a.public_key;
  PeerHandshake b_at_mallory = PeerHandshake::of(mallory, world.b.public_key, PresharedKey{});
  const auto forged = create_initiation(disguised, b_at_mallory, 1, at(0s), random);
  ASSERT_TRUE(forged);
  const auto opened = open_initiation(world.b, *forged);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->remote_static, world.a.public_key);
  const Remembered before(world.a_at_b);
  EXPECT_EQ(accept_initiation(*opened, world.a_at_b, at(0s).instant).error(),
            HandshakeRefusal::NotAuthentic);
  EXPECT_EQ(Remembered(world.a_at_b), before);
}

TEST(Handshake, CrossingInitiationsBothComplete) {
  Parties world;
  const InitiationBytes from_a = world.initiate(1, at(0s));
  const auto from_b = create_initiation(world.b, world.a_at_b, 2, at(0s), world.random);
  ASSERT_TRUE(from_b);
  const auto response_of_b = world.respond(from_a, 3, at(0s));
  ASSERT_TRUE(response_of_b);
  const auto opened = open_initiation(world.a, *from_b);
  ASSERT_TRUE(opened);
  const auto accepted = accept_initiation(*opened, world.b_at_a, at(0s).instant);
  ASSERT_TRUE(accepted);
  const auto response_of_a =
      create_response(*accepted, world.b_at_a, 4, at(0s).instant, world.random);
  ASSERT_TRUE(response_of_a);
  const auto keys_of_a = consume_response(world.a, world.b_at_a, response_of_b->datagram);
  const auto keys_of_b = consume_response(world.b, world.a_at_b, response_of_a->datagram);
  ASSERT_TRUE(keys_of_a && keys_of_b);
  expect_matching(*keys_of_a, response_of_b->keys);
  expect_matching(*keys_of_b, response_of_a->keys);
}

TEST(AssignKeys, PutsASessionIntoAFreshKeypair) {
  Parties world;
  const auto created = world.respond(world.initiate(1, at(0s)), 2, at(0s));
  ASSERT_TRUE(created);
  const auto keys = consume_response(world.a, world.b_at_a, created->datagram);
  ASSERT_TRUE(keys);
  const turnpike::test::KeypairPtr keypair_at_a = turnpike::test::make_keypair();
  const turnpike::test::KeypairPtr keypair_at_b = turnpike::test::make_keypair();
  Keypair& at_a = *keypair_at_a;
  Keypair& at_b = *keypair_at_b;
  assign_keys(at_a, *keys, {.index = 5, .incarnation = 6}, 7, at(1s).instant);
  assign_keys(at_b, created->keys, {.index = 8, .incarnation = 9}, 10, at(1s).instant);
  EXPECT_EQ(at_a.sending().key, at_b.receiving_key);
  EXPECT_EQ(at_a.receiving_key, at_b.sending().key);
  EXPECT_EQ(at_a.sending().remote_index, 2u);
  EXPECT_EQ(at_a.peer, (PeerRef{.index = 5, .incarnation = 6}));
  EXPECT_EQ(at_a.tunnel, 7);
  EXPECT_TRUE(at_a.confirmed);
  EXPECT_FALSE(at_b.confirmed);
  EXPECT_FALSE(at_a.expired(at(181s - 1ns).instant));
  EXPECT_TRUE(at_a.expired(at(181s).instant));
}

}  // namespace
}  // namespace turnpike::wireguard

#include "control/store/codec.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/state/state_fixture.h"

namespace turnpike::store {
namespace {

state::Transaction sample() {
  auto tunnel = std::make_shared<state::Tunnel>();
  tunnel->name = "wg0";
  tunnel->index = 3;
  tunnel->conflicts = state::ConflictPolicy::Move;
  tunnel->listen_port = 51820;
  tunnel->fwmark = 0xdeadbeef;
  tunnel->private_key = PrivateKey(std::span<const uint8_t, kKeyBytes>(state::key_of(1).bytes));
  tunnel->public_key = state::key_of(2);
  const auto known = std::make_shared<state::Tunnel>(*tunnel);
  known->listen_port = 51821;
  state::Transaction transaction;
  transaction.edits = {
      {.op = state::Op::TunnelSet, .tunnel = "wg0", .new_tunnel = tunnel},
      {.op = state::Op::TunnelSet, .tunnel = "wg1", .new_tunnel = tunnel, .known_tunnel = known},
      state::claim("alice", {"0.0.0.0/0", "fd00::/8", "10.1.2.3/32"}),
      {.op = state::Op::Move,
       .origin = state::Origin::File,
       .tunnel = "wg0",
       .peer = state::key_of(4),
       .to = PeerId{5},
       .prefixes = state::prefixes({"::/0"})},
      state::set("bob", {.name = "",
                         .description = "text",
                         .preshared_key = PresharedKey(
                             std::span<const uint8_t, kKeyBytes>(state::key_of(6).bytes)),
                         .endpoint = Endpoint{},
                         .persistent_keepalive = 65535,
                         .enabled = false})};
  transaction.edits.back().known_patch = state::PeerPatch{.name = "bob", .enabled = true};
  return transaction;
}

TEST(Codec, ATransactionComesBackAsItWas) {
  const state::Transaction before = sample();
  const auto after = decode_transaction(encode(before));
  ASSERT_TRUE(after.has_value());
  ASSERT_EQ(after->edits.size(), before.edits.size());
  for (size_t i = 0; i < before.edits.size(); ++i) {
    const state::Edit& a = before.edits[i];
    const state::Edit& b = after->edits[i];
    EXPECT_EQ(a.op, b.op);
    EXPECT_EQ(a.origin, b.origin);
    EXPECT_EQ(a.tunnel, b.tunnel);
    EXPECT_EQ(a.peer, b.peer);
    EXPECT_EQ(a.to, b.to);
    EXPECT_EQ(a.public_key, b.public_key);
    EXPECT_EQ(a.prefixes, b.prefixes);
    EXPECT_EQ(a.patch, b.patch);
    ASSERT_EQ(a.new_tunnel == nullptr, b.new_tunnel == nullptr);
    if (a.new_tunnel != nullptr) {
      EXPECT_EQ(*a.new_tunnel, *b.new_tunnel);
    }
    EXPECT_EQ(a.known_patch, b.known_patch);
    ASSERT_EQ(a.known_tunnel == nullptr, b.known_tunnel == nullptr);
    if (a.known_tunnel != nullptr) {
      EXPECT_EQ(*a.known_tunnel, *b.known_tunnel);
    }
  }
}

// Whatever the disk gives back: nothing is read beyond it, and what is cut off is no transaction.
TEST(Codec, DamagedBytesAreNoTransaction) {
  const Buffer good = encode(sample());
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(decode_transaction(Bytes(good).first(length)).has_value()) << length;
  }
  Buffer longer = good;
  longer.push_back(0);
  EXPECT_FALSE(decode_transaction(longer).has_value());
  std::mt19937_64 random(7);
  for (int round = 0; round < 20'000; ++round) {
    Buffer bad = good;
    for (int flips = 0; flips < 3; ++flips) {
      bad[random() % bad.size()] = static_cast<uint8_t>(random());
    }
    (void)decode_transaction(bad);
  }
}

TEST(Codec, PrefixesAndEndpointsComeBack) {
  for (const char* text : {"0.0.0.0/0", "10.1.2.3/32", "fd00::/8", "::1/128"}) {
    const Prefix prefix = parse_prefix(text).value();
    EXPECT_EQ(decode_prefix(encode(prefix)), prefix);
  }
  for (const char* text : {"192.0.2.1:1", "[2001:db8::1]:65535"}) {
    const Endpoint endpoint = parse_endpoint(text).value();
    EXPECT_EQ(decode_endpoint(encode(endpoint)), endpoint);
  }
  EXPECT_EQ(decode_endpoint(encode(Endpoint{})), Endpoint{});
  EXPECT_FALSE(decode_prefix({}).has_value());
}

TEST(Codec, DeclarationsOfAFileComeBack) {
  config::Tunnel tunnel{.name = {},
                        .listen_port = 51820,
                        .outside = "wan",
                        .inside = "lan",
                        .mtu = 1400,
                        .conflicts = config::ConflictPolicy::Move,
                        .peer_to_peer = false};
  tunnel.addresses.push_back({.value = parse_interface_address("10.8.0.1/24").value(), .at = {}});
  EXPECT_EQ(decode_file_tunnel(encode(tunnel)), tunnel);
  config::Peer peer{.name = "alice",
                    .description = "text",
                    .preshared_key = PresharedKey{},
                    .endpoint = parse_endpoint("192.0.2.1:51820").value(),
                    .persistent_keepalive = 25,
                    .enabled = false};
  peer.allowed_ips.push_back({.prefix = parse_prefix("10.0.0.0/8").value(), .at = {}});
  EXPECT_EQ(decode_file_peer(encode(peer)), peer);
  peer.preshared_key.reset();
  EXPECT_EQ(decode_file_peer(encode(peer)), peer);
  EXPECT_FALSE(decode_file_peer({}).has_value());
}

}  // namespace
}  // namespace turnpike::store

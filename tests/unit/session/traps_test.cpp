// What other implementations once got wrong, each as a test that fails where it is done so.
#include <gtest/gtest.h>

#include <set>

#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;
using publish::PuntKind;

size_t count(const World& world, bool from_a, wireguard::MessageType type) {
  return static_cast<size_t>(std::ranges::count(
      world.handshakes, std::pair(from_a, static_cast<uint8_t>(static_cast<uint32_t>(type)))));
}

// A peer's preshared key comes to both, and their packets no longer do while they have no session.
void renew(World& world, uint8_t number) {
  PresharedKey key;
  key.bytes()[0] = number;
  world.b.session->set_peer(World::kPeer, {.preshared_key = key});
  world.a.session->set_peer(World::kPeer, {.preshared_key = key});
}

// One counter of handshakes for all time, or one for all peers, once made each later handshake ask for a cookie.
TEST(Traps, AThousandHandshakesWithoutLoadMeetNoCookie) {
  World world(1);
  for (int i = 0; i < 1'000; ++i) {
    world.clock.advance(wireguard::kRekeyTimeout);
    world.a.session->set_tunnel(0, world.a.key);  // the same: changes nothing
    renew(world, static_cast<uint8_t>(i));
    world.send(world.a, "x");
    world.settle();
  }
  EXPECT_EQ(world.at_b.size(), 1'000u);
  EXPECT_EQ(count(world, false, wireguard::MessageType::CookieReply), 0u);
  EXPECT_EQ(world.b.drops(DropReason::Mac2Missing), 0u);
  EXPECT_EQ(world.b.drops(DropReason::SourceRateLimited), 0u);
}

// A cookie reply proves that its sender saw a message, not who it is.
TEST(Traps, ACookieReplyMovesNoEndpoint) {
  World world(2, {.b_knows_a = true});
  wireguard::CookieChecker checker(wireguard::derive_mac_keys(world.b.public_key));
  world.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    if (!from_a || !packet || packet->protocol != kProtocolUdp) return true;
    const Bytes initiation = packet->payload.subspan(kUdpHeaderBytes);
    if (initiation.size() != wireguard::kInitiationBytes) return true;
    const auto reply =
        checker.make_reply(initiation, world.a_endpoint, world.clock.now.instant, world.b.random);
    world.a.punt({.kind = PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = {ip("192.0.2.66"), 666},
                  .local = world.a_endpoint.address},
                 reply);
    return false;
  };
  world.send(world.a, "x");
  world.settle();
  EXPECT_EQ(world.a.drops(DropReason::CookieInvalid), 0u);
  EXPECT_EQ(world.a.slots.endpoint(0).remote, world.b_endpoint);
  EXPECT_EQ(world.a.session->status(0)->endpoint, world.b_endpoint);
  // The same reply once more is none.
  EXPECT_EQ(world.a.slots.rx_bytes(0), 0u);
}

TEST(Traps, SessionIndexesAreNoSequence) {
  World world(3);
  std::set<uint32_t> indexes, differences;
  uint32_t last = 0;
  for (int i = 0; i < 64; ++i) {
    world.clock.advance(wireguard::kRekeyTimeout);
    renew(world, static_cast<uint8_t>(i));
    world.send(world.a, "x");
    world.settle();
    ASSERT_NE(world.a.sending(0), nullptr);
    const uint32_t index = world.a.sending(0)->local_index;
    indexes.insert(index);
    differences.insert(index - last);
    last = index;
  }
  EXPECT_EQ(indexes.size(), 64u);
  EXPECT_EQ(differences.size(), 64u);
}

// A peer with the key that the tunnel is given is ourselves: nothing is sent to it, and its packets do not wait.
TEST(Traps, ATunnelThatIsGivenItsPeersKeyDoesNotTalkToItself) {
  World world(4, {.b_knows_a = true});
  world.send(world.a, "before");
  world.settle();
  ASSERT_EQ(world.at_b.size(), 1u);
  world.clock.advance(wireguard::kRekeyTimeout);
  world.b.session->set_tunnel(0, world.a.key);
  world.settle();
  EXPECT_EQ(world.b.sending(0), nullptr);
  world.handshakes.clear();
  world.send(world.b, "to myself");
  world.run_for(20s);
  EXPECT_EQ(std::ranges::count(world.handshakes, false, &std::pair<bool, uint8_t>::first), 0);
  EXPECT_EQ(world.b.session->held_packets(), 0u);
  EXPECT_EQ(world.b.sending(0), nullptr);
}

}  // namespace
}  // namespace turnpike::session

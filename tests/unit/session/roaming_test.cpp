// Where a peer is: what moves its endpoint, what does not, and which of our addresses it hears us from.
#include <gtest/gtest.h>

#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;
using wireguard::MessageType;

const Endpoint kElsewhere{ip("192.0.2.77"), 1'234};

// Holds back the next handshake message of a type, and hands it over from wherever the test says.
class Interceptor {
 public:
  Interceptor(World& world, MessageType type) : world_(world) {
    world_.filter = [this, type](bool, const EthernetView& ethernet) {
      const auto packet = parse_ip_packet(ethernet.payload);
      if (!packet || packet->protocol != kProtocolUdp) return true;
      const Bytes message = packet->payload.subspan(kUdpHeaderBytes);
      if (load_le32(&message[0]) != static_cast<uint32_t>(type)) return true;
      taken.assign(message.begin(), message.end());
      return false;
    };
  }
  void hand_to(Gateway& gateway, const Endpoint& from, const IpAddress& to) {
    world_.filter = nullptr;
    gateway.punt({.kind = publish::PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = from,
                  .local = to},
                 taken);
    world_.settle();
  }
  Packet taken;

 private:
  World& world_;
};

Endpoint endpoint_at(Gateway& gateway) { return gateway.slots.endpoint(0).remote; }

TEST(Roaming, AnAuthenticInitiationMovesTheEndpoint) {
  World world(21);
  Interceptor initiation(world, MessageType::Initiation);
  world.send(world.a, "x");
  world.settle();
  initiation.hand_to(world.b, kElsewhere, world.b_endpoint.address);
  EXPECT_EQ(endpoint_at(world.b), kElsewhere);
  EXPECT_EQ(world.b.session->status(0)->endpoint, kElsewhere);
}

TEST(Roaming, AnAuthenticResponseMovesTheEndpoint) {
  World world(22);
  Interceptor response(world, MessageType::Response);
  world.send(world.a, "x");
  world.settle();
  ASSERT_EQ(endpoint_at(world.a), world.b_endpoint);
  response.hand_to(world.a, kElsewhere, world.a_endpoint.address);
  EXPECT_NE(world.a.sending(0), nullptr);
  EXPECT_EQ(endpoint_at(world.a), kElsewhere);
}

TEST(Roaming, AReplayedInitiationMovesNothing) {
  World world(23);
  Interceptor initiation(world, MessageType::Initiation);
  world.send(world.a, "x");
  world.settle();
  initiation.hand_to(world.b, world.a_endpoint, world.b_endpoint.address);
  ASSERT_EQ(endpoint_at(world.b), world.a_endpoint);
  world.clock.advance(1s);
  initiation.hand_to(world.b, kElsewhere, world.b_endpoint.address);
  EXPECT_EQ(world.b.drops(DropReason::HandshakeReplayed), 1u);
  EXPECT_EQ(endpoint_at(world.b), world.a_endpoint);
}

TEST(Roaming, AReplayedOrChangedResponseMovesNothing) {
  World world(24);
  Interceptor response(world, MessageType::Response);
  world.send(world.a, "x");
  world.settle();
  response.taken[20] ^= 1;  // of the ephemeral; mac1 no longer holds either
  response.hand_to(world.a, kElsewhere, world.a_endpoint.address);
  EXPECT_EQ(world.a.sending(0), nullptr);
  EXPECT_EQ(endpoint_at(world.a), world.b_endpoint);
  response.taken[20] ^= 1;
  response.hand_to(world.a, world.b_endpoint, world.a_endpoint.address);
  const wireguard::Keypair* keypair = world.a.sending(0);
  ASSERT_NE(keypair, nullptr);
  response.hand_to(world.a, kElsewhere, world.a_endpoint.address);
  EXPECT_EQ(world.a.sending(0), keypair);
  EXPECT_EQ(endpoint_at(world.a), world.b_endpoint);
}

// A gateway with two addresses outside, of which the route would choose the first.
class OwnAddress : public ::testing::Test {
 protected:
  OwnAddress() : world(25) {
    world.b.outside.add("192.0.2.3/32",
                        {.kind = publish::NextHopKind::Local, .source = ip("192.0.2.3")});
    world.b.snapshot.ports[kOutside].routes = world.b.outside.table();
    ++world.b.snapshot.generation;
  }
  IpAddress spoken_from() { return world.b.slots.endpoint(0).local; }
  // The peer speaks to our second address.
  void begin_at_the_second() {
    Interceptor initiation(world, MessageType::Initiation);
    world.send(world.a, "x");
    world.settle();
    initiation.hand_to(world.b, world.a_endpoint, ip("192.0.2.3"));
  }
  World world;
};

TEST_F(OwnAddress, IsTheOneThatThePeerSpokeTo) {
  begin_at_the_second();
  EXPECT_EQ(spoken_from(), ip("192.0.2.3"));
  world.run_for(1s);
  EXPECT_EQ(spoken_from(), ip("192.0.2.3"));
}

// It may be what is wrong, so the route chooses (kernel: the source is cleared when a handshake is repeated).
TEST_F(OwnAddress, IsChosenAnewWhenAHandshakeIsRepeated) {
  begin_at_the_second();
  world.clock.advance(wireguard::kRejectAfterTime);
  world.filter = [](bool, const EthernetView& ethernet) {
    return ethernet.ether_type == kEtherTypeArp;
  };
  world.send(world.b, "into the void");
  world.settle();
  EXPECT_EQ(spoken_from(), ip("192.0.2.3")) << "the first attempt goes from where it spoke";
  world.run_for(wireguard::kRekeyTimeout + wireguard::kRekeyTimeoutJitterMax + 100ms);
  EXPECT_EQ(spoken_from(), ip("192.0.2.2"));
}

TEST_F(OwnAddress, IsChosenAnewWhenItIsNoLongerOurs) {
  begin_at_the_second();
  Routes without(world.b.pages);
  without.add_interface("192.0.2.2/24");
  world.b.snapshot.ports[kOutside].routes = without.table();
  ++world.b.snapshot.generation;
  world.run_for(1s);
  EXPECT_EQ(spoken_from(), ip("192.0.2.2"));
}

}  // namespace
}  // namespace turnpike::session

// More handshakes than can be worked on: who is asked for a cookie, who is served, and when that ends.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "world.h"

namespace turnpike::session {
namespace {

using namespace testing;
using publish::PuntKind;

class UnderLoad : public ::testing::Test {
 protected:
  explicit UnderLoad(size_t computing = 0)
      : world(11, {.b_routes_all_by_a = true, .computing = computing}),
        mac_keys(wireguard::derive_mac_keys(world.b.public_key)) {
    // What is on the link is known before anything is counted.
    world.send(world.a, "before");
    world.settle();
  }

  // What costs b two multiplications to find out about: a valid mac1 and nothing else that is right.
  wireguard::InitiationBytes forged() {
    wireguard::Initiation message;
    world.a.random.fill(message.ephemeral.bytes);
    message.sender_index = world.a.random.next_u32();
    wireguard::InitiationBytes datagram = wireguard::write_initiation(message);
    wireguard::CookieJar(mac_keys).write_macs(datagram, world.clock.now.instant);
    return datagram;
  }
  void punt(Bytes datagram, const Endpoint& from) {
    world.b.punt({.kind = PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = from,
                  .local = world.b_endpoint.address},
                 datagram);
  }
  // As many as make a load, from as many addresses.
  void flood(size_t count = 300) {
    for (size_t i = 0; i < count; ++i) {
      punt(forged(), {IpAddress::v4(0xc633'6400 + static_cast<uint32_t>(i % 200)), 1'024});
    }
  }
  void flood_of(World& other) {
    const auto keys = wireguard::derive_mac_keys(other.b.public_key);
    for (uint32_t i = 0; i < 300; ++i) {
      wireguard::InitiationBytes datagram = forged();
      wireguard::CookieJar(keys).write_macs(datagram, other.clock.now.instant);
      other.b.punt({.kind = PuntKind::Handshake,
                    .port = kOutside,
                    .tunnel = 0,
                    .remote = {IpAddress::v4(0xc633'6400 + i % 200), 1'024},
                    .local = other.b_endpoint.address},
                   datagram);
    }
  }
  // By somebody who writes it into his packets.
  void use_up_the_share_of(const IpAddress& address) {
    for (int i = 0; i < 5; ++i) punt(forged(), {address, 1'024});
  }
  // The peer has forgotten all, as after a restart.
  void begin_anew(Gateway& gateway, Incarnation incarnation) {
    PeerSettings again = &gateway == &world.a ? world.settings_for_a() : world.settings_for_b();
    gateway.session->remove_peer({.index = 0, .incarnation = incarnation - 1});
    again.ref.incarnation = incarnation;
    gateway.session->add_peer(again);
  }
  void turn_b() {
    while (world.b.session->turn(world.b.snapshot, world.clock.now) != 0) {
    }
  }
  uint64_t dropped(DropReason reason) { return world.b.drops(reason); }
  // How many messages of `type` the world's link has seen from b.
  size_t sent_by_b(wireguard::MessageType type) {
    return static_cast<size_t>(std::ranges::count(
        world.handshakes, std::pair(false, static_cast<uint8_t>(static_cast<uint32_t>(type)))));
  }

  World world;
  wireguard::PublicMacKeys mac_keys;
};

class UnderLoadOfSeveralThreads : public UnderLoad {
 protected:
  UnderLoadOfSeveralThreads() : UnderLoad(1) {}
};

TEST_F(UnderLoad, MessagesWithoutACookieCostOneCommonShareAndNotMore) {
  flood();
  turn_b();
  // All came at once; the share of strangers is what was worked on, and found out to be nothing.
  EXPECT_EQ(dropped(DropReason::HandshakeInvalid), Admission::kStrangersBurst);
  EXPECT_EQ(dropped(DropReason::Mac2Missing), 300 - Admission::kStrangersBurst);
}

TEST_F(UnderLoad, TheFloodOfOneAddressLeavesTheShareToOthers) {
  for (int i = 0; i < 400; ++i) punt(forged(), {ip("198.51.100.1"), static_cast<uint16_t>(i + 1)});
  turn_b();
  EXPECT_EQ(dropped(DropReason::HandshakeInvalid), 5u);
  // The peer's own first message is answered at once, not with a cookie.
  world.clock.advance(6s);
  for (int i = 0; i < 400; ++i) punt(forged(), {ip("198.51.100.1"), static_cast<uint16_t>(i + 1)});
  const size_t before = sent_by_b(wireguard::MessageType::Response);
  begin_anew(world.a, 2);
  world.send(world.a, "during");
  world.settle();
  EXPECT_EQ(sent_by_b(wireguard::MessageType::Response), before + 1);
  EXPECT_EQ(world.at_b.back(), "during");
}

// One that did not send the message cannot read the cookie; one that did repeats itself with a valid mac2.
TEST_F(UnderLoad, APeerThatIsSentACookieComesThroughWithItsNextMessage) {
  world.clock.advance(6s);
  flood();
  use_up_the_share_of(world.a_endpoint.address);
  turn_b();
  begin_anew(world.a, 2);
  const size_t responses = sent_by_b(wireguard::MessageType::Response);
  int cookies_to_a = 0;  // those to strangers go by the same link
  world.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    const bool cookie = !from_a && packet && packet->protocol == kProtocolUdp &&
                        wireguard::parse_cookie_reply(packet->payload.subspan(kUdpHeaderBytes));
    cookies_to_a += cookie && packet->destination == world.a_endpoint.address;
    return true;
  };
  world.send(world.a, "x");
  world.settle();
  EXPECT_EQ(sent_by_b(wireguard::MessageType::Response), responses);
  EXPECT_EQ(cookies_to_a, 1);

  // kRekeyTimeout later, the flood goes on.
  for (int i = 0; i < 60; ++i) {
    world.clock.advance(100ms);
    flood();
    world.settle();
  }
  EXPECT_EQ(sent_by_b(wireguard::MessageType::Response), responses + 1);
  ASSERT_FALSE(world.at_b.empty());
  EXPECT_EQ(world.at_b.back(), "x");
}

// Sources that nobody can answer at use up what strangers have; a stock peer that is sent a cookie comes again only
// after kRekeyTimeout.
TEST_F(UnderLoad, APeerIsServedAtOnceWhereItWasBefore) {
  world.clock.advance(6s);
  for (int second = 0; second < 3; ++second) {
    for (int i = 0; i < 10; ++i) {
      world.clock.advance(100ms);
      flood();
      turn_b();
    }
    const size_t responses = sent_by_b(wireguard::MessageType::Response);
    begin_anew(world.a, static_cast<Incarnation>(2 + second));
    flood();
    world.send(world.a, "again");
    world.settle();
    EXPECT_EQ(sent_by_b(wireguard::MessageType::Response), responses + 1);
    EXPECT_EQ(world.at_b.back(), "again");
  }
}

TEST_F(UnderLoad, WhereAPeerNoLongerIsThereIsNoShareForIt) {
  world.b.session->remove_peer(World::kPeer);
  flood();
  turn_b();
  const uint64_t worked_on = dropped(DropReason::HandshakeInvalid);
  for (int i = 0; i < 3; ++i) punt(forged(), {world.a_endpoint.address, 1'024});
  turn_b();
  EXPECT_EQ(dropped(DropReason::HandshakeInvalid), worked_on);
}

// Its index has not been told to anybody else. It comes from an address that is no peer's.
TEST_F(UnderLoad, AResponseToOurOwnInitiationNeedsNoCookie) {
  World other(12, {.b_knows_a = true});
  flood_of(other);
  other.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    if (!from_a || !packet || packet->protocol != kProtocolUdp) return true;
    other.b.punt({.kind = PuntKind::Handshake,
                  .port = kOutside,
                  .tunnel = 0,
                  .remote = {ip("203.0.113.99"), 7},
                  .local = other.b_endpoint.address},
                 packet->payload.subspan(kUdpHeaderBytes));
    return false;
  };
  other.send(other.b, "mine");
  other.settle();
  EXPECT_TRUE(other.can_send(other.b));
  EXPECT_EQ(other.b.drops(DropReason::HandshakeInvalid), Admission::kStrangersBurst);
}

TEST_F(UnderLoad, ACookieIsGoodForItsAddressAndPortOnly) {
  flood();
  turn_b();
  wireguard::CookieChecker checker(mac_keys);
  wireguard::CookieJar jar(mac_keys);
  const Endpoint here{ip("203.0.113.1"), 1'000};
  // A stranger that really is at `here` gets a cookie and reads it.
  wireguard::Initiation message{.sender_index = 7};
  wireguard::InitiationBytes datagram = wireguard::write_initiation(message);
  jar.write_macs(datagram, world.clock.now.instant);
  world.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    if (!from_a && packet && packet->protocol == kProtocolUdp) {
      const auto reply = wireguard::parse_cookie_reply(packet->payload.subspan(kUdpHeaderBytes));
      if (reply && reply->receiver_index == 7) {
        EXPECT_EQ(packet->destination, here.address);
        EXPECT_TRUE(jar.consume(*reply, world.clock.now.instant));
      }
    }
    return true;
  };
  punt(datagram, here);
  world.settle();
  ASSERT_TRUE(jar.has_cookie(world.clock.now.instant)) << "no cookie came";
  jar.write_macs(datagram, world.clock.now.instant);
  const uint64_t missing = dropped(DropReason::Mac2Missing);
  const uint64_t worked_on = dropped(DropReason::HandshakeInvalid);
  punt(datagram, {here.address, 1'001});
  punt(datagram, {ip("203.0.113.2"), 1'000});
  turn_b();
  EXPECT_EQ(dropped(DropReason::Mac2Missing), missing + 2);
  EXPECT_EQ(dropped(DropReason::HandshakeInvalid), worked_on);
  for (int i = 0; i < 9; ++i) punt(datagram, here);
  turn_b();
  EXPECT_EQ(dropped(DropReason::HandshakeInvalid), worked_on + 5)
      << "and then its own share is used up";
  EXPECT_EQ(dropped(DropReason::SourceRateLimited), 4u);
}

TEST_F(UnderLoad, ItBeginsWhenARingIsAnEighthFull) {
  const size_t eighth = world.b.doors[0]->punt.slots() / Admission::kLoadFraction;
  flood(eighth - 1);
  turn_b();
  EXPECT_EQ(dropped(DropReason::Mac2Missing), 0u);
  flood(eighth);
  turn_b();
  EXPECT_GT(dropped(DropReason::Mac2Missing), 0u);
}

TEST_F(UnderLoad, ItEndsASecondAfterTheLastBacklog) {
  flood();
  turn_b();
  const uint64_t missing = dropped(DropReason::Mac2Missing);
  world.clock.advance(999ms);
  for (int i = 0; i < 60; ++i) punt(forged(), {ip("198.51.100.77"), 1});
  turn_b();
  EXPECT_EQ(dropped(DropReason::Mac2Missing), missing + 55);
  world.clock.advance(2ms);
  for (int i = 0; i < 60; ++i) punt(forged(), {ip("198.51.100.78"), 1});
  turn_b();
  EXPECT_EQ(dropped(DropReason::Mac2Missing), missing + 55);
}

// However fast the other threads are: timers, neighbours and commands wait for the end of a turn.
TEST_F(UnderLoadOfSeveralThreads, ATurnWorksOnOneShareForEachThread) {
  constexpr size_t kSources = 40, kOfEach = 5;
  flood();
  turn_b();
  std::vector<wireguard::CookieJar> jars(kSources, wireguard::CookieJar(mac_keys));
  std::vector<wireguard::InitiationBytes> datagrams(kSources);
  world.filter = [&](bool from_a, const EthernetView& ethernet) {
    const auto packet = parse_ip_packet(ethernet.payload);
    if (from_a || !packet || packet->protocol != kProtocolUdp) return true;
    const auto reply = wireguard::parse_cookie_reply(packet->payload.subspan(kUdpHeaderBytes));
    if (reply && reply->receiver_index < kSources) {
      (void)jars[reply->receiver_index].consume(*reply, world.clock.now.instant);
    }
    return true;
  };
  const auto source = [](size_t i) {
    return Endpoint{IpAddress::v4(0xcb00'7101 + static_cast<uint32_t>(i)), 1'000};
  };
  for (size_t i = 0; i < kSources; ++i) {
    wireguard::Initiation message{.sender_index = static_cast<uint32_t>(i)};
    world.a.random.fill(message.ephemeral.bytes);
    datagrams[i] = wireguard::write_initiation(message);
    jars[i].write_macs(datagrams[i], world.clock.now.instant);
    punt(datagrams[i], source(i));
  }
  world.settle();
  uint64_t worked_on = dropped(DropReason::HandshakeInvalid);
  for (size_t i = 0; i < kSources; ++i) {
    ASSERT_TRUE(jars[i].has_cookie(world.clock.now.instant)) << i;
    jars[i].write_macs(datagrams[i], world.clock.now.instant);
    for (size_t n = 0; n < kOfEach; ++n) punt(datagrams[i], source(i));
  }

  std::atomic<bool> stop{false};
  std::thread computing([&] {
    SeededRandom random(3);
    while (!stop.load()) (void)world.b.rings[0]->work(random, ComputationRing::kSlots);
  });
  const uint64_t all = worked_on + kSources * kOfEach;
  for (int turn = 0; turn < 100'000 && worked_on < all; ++turn) {
    (void)world.b.session->turn(world.b.snapshot, world.clock.now);
    const uint64_t now = dropped(DropReason::HandshakeInvalid);
    // What a turn hands over last comes back in the next one.
    EXPECT_LE(now - worked_on, 2 * kBacklogPerTurn + ComputationRing::kSlots);
    worked_on = now;
    std::this_thread::yield();
  }
  stop = true;
  computing.join();
  EXPECT_EQ(worked_on, all);
}

TEST_F(UnderLoad, AMessageWithoutAValidMac1IsNeverAnswered) {
  for (int i = 0; i < 400; ++i) {
    wireguard::InitiationBytes datagram = forged();
    datagram[120] ^= 1;
    punt(datagram, {ip("198.51.100.1"), 1});
  }
  const size_t before = world.handshakes.size();
  world.settle();
  EXPECT_EQ(dropped(DropReason::Mac1Invalid), 400u);
  EXPECT_EQ(world.handshakes.size(), before);
}

TEST(Backlog, GivesBackWhatItTookInOrderUpToItsBound) {
  Backlog backlog;
  wireguard::InitiationBytes datagram{};
  const Instant now{1'000'000'000};
  for (size_t i = 0; i < Backlog::kSlots; ++i) {
    store_le32(datagram.data(), static_cast<uint32_t>(i));
    ASSERT_TRUE(backlog.push(3, {.tunnel = 1}, datagram, now));
  }
  EXPECT_FALSE(backlog.push(3, {.tunnel = 1}, datagram, now));
  for (size_t i = 0; i < Backlog::kSlots; ++i) {
    const auto entry = backlog.pop();
    ASSERT_TRUE(entry);
    EXPECT_EQ(load_le32(entry->datagram.data()), i);
    EXPECT_EQ(entry->header.tunnel, 1);
  }
  EXPECT_FALSE(backlog.pop());
}

// Its sender begins anew after kRekeyTimeout and takes no answer to an older message.
TEST(Backlog, TellsWhatIsTooOldToBeAnswered) {
  const Backlog::Entry entry{.at = Instant{1'000'000'000}};
  EXPECT_FALSE(Backlog::stale(entry, entry.at + 4s));
  EXPECT_TRUE(Backlog::stale(entry, entry.at + wireguard::kRekeyTimeout));
}

}  // namespace
}  // namespace turnpike::session

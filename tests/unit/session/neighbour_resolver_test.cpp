#include "control/session/neighbour_resolver.h"

#include <gtest/gtest.h>

#include "dataplane/base/link_local.h"
#include "gateway.h"

namespace turnpike::session {
namespace {

using namespace testing;
using publish::PuntKind;

constexpr MacAddress kHostMac{{2, 0, 0, 0, 9, 9}};

// A gateway with 192.0.2.1/24 and 2001:db8::1/64 outside, 10.0.0.1/24 inside.
class Neighbours : public ::testing::Test {
 protected:
  Neighbours() : gateway(42, 1) {
    gateway.outside.add_interface("192.0.2.1/24");
    gateway.outside.add_interface("2001:db8::1/64");
    gateway.inside.add_interface("10.0.0.1/24");
    gateway.tunnel_local.add("10.8.0.1/32", {.kind = publish::NextHopKind::Local});
    gateway.start(clock.now);
    turn();
    announced = frames();
  }

  void turn() {
    for (int i = 0; i < 8; ++i) gateway.session->turn(gateway.snapshot, clock.now);
  }
  void advance(Duration by) {
    for (Duration passed{0}; passed < by; passed += 10ms) {
      clock.advance(10ms);
      gateway.session->turn(gateway.snapshot, clock.now);
    }
  }
  std::vector<Packet> frames() {
    std::vector<Packet> all;
    for (Injected& entry : gateway.take_injected()) {
      EXPECT_EQ(entry.header.kind, publish::InjectKind::Frame);
      all.push_back(std::move(entry.bytes));
    }
    return all;
  }
  static Packet frame(const MacAddress& to, const MacAddress& from, uint16_t type, Bytes payload) {
    Packet all(kEthernetHeaderBytes + payload.size());
    write_ethernet(std::span<uint8_t, kEthernetHeaderBytes>(all.data(), kEthernetHeaderBytes), to,
                   from, type);
    std::ranges::copy(payload, all.begin() + kEthernetHeaderBytes);
    return all;
  }
  void arp(const ArpMessage& message, const MacAddress& to) {
    gateway.punt({.kind = PuntKind::Arp, .port = kOutside},
                 frame(to, message.sender_mac, kEtherTypeArp, write_arp(message)));
    turn();
  }
  void nd(const NeighbourMessage& message, const MacAddress& to) {
    gateway.punt({.kind = PuntKind::PortIcmp, .port = kOutside},
                 frame(to, kHostMac, kEtherTypeIpv6, write_neighbour_message(message)));
    turn();
  }
  void wants(std::string_view next_hop, uint8_t mark) {
    const uint8_t packet[] = {0x45, mark};
    gateway.punt({.kind = PuntKind::NeedsNeighbour, .port = kOutside, .next_hop = ip(next_hop)},
                 packet);
    turn();
  }
  ArpMessage arp_reply(std::string_view from) const {
    return {.operation = ArpOperation::Reply,
            .sender_mac = kHostMac,
            .sender = ip(from),
            .target_mac = gateway.outside_mac,
            .target = ip("192.0.2.1")};
  }
  bool known(std::string_view address, MacAddress* mac = nullptr) {
    const auto index = gateway.neighbours.find(kOutside, ip(address));
    MacAddress found;
    if (index == publish::kNoNeighbour || !gateway.neighbours[index].mac(found)) return false;
    if (mac != nullptr) *mac = found;
    return true;
  }
  void use(std::string_view address) {
    const auto index = gateway.neighbours.find(kOutside, ip(address));
    ASSERT_NE(index, publish::kNoNeighbour);
    gateway.neighbours[index].last_used.store(clock.now.instant.nanoseconds);
  }
  // The ARP message of a frame.
  static ArpMessage arp_of(const Packet& frame) {
    return *parse_arp(parse_ethernet(frame)->payload);
  }

  Clock clock;
  Gateway gateway;
  std::vector<Packet> announced;
};

TEST_F(Neighbours, AreToldOurAddressesAtStartAndWhenTheyChange) {
  // 192.0.2.1, 2001:db8::1 and the link-local address outside; 10.0.0.1 inside.
  ASSERT_EQ(announced.size(), 4u);
  const ArpMessage gratuitous = arp_of(announced[0]);
  EXPECT_EQ(gratuitous.sender, ip("192.0.2.1"));
  EXPECT_EQ(gratuitous.target, ip("192.0.2.1"));
  EXPECT_EQ(parse_ethernet(announced[0])->destination, kBroadcastMac);
  const auto unsolicited =
      parse_neighbour_message(*parse_ip_packet(parse_ethernet(announced[1])->payload));
  ASSERT_TRUE(unsolicited);
  EXPECT_EQ(unsolicited->target, ip("2001:db8::1"));
  EXPECT_FALSE(unsolicited->solicited);
  EXPECT_TRUE(unsolicited->override);
  EXPECT_EQ(unsolicited->link_layer, gateway.outside_mac);

  turn();
  EXPECT_TRUE(frames().empty());
  gateway.outside.add_interface("198.51.100.1/24");
  gateway.snapshot.ports[kOutside].routes = gateway.outside.table();
  turn();
  EXPECT_EQ(frames().size(), 4u);
}

TEST_F(Neighbours, AreAskedForOnceAndGetWhatWaitedInOrder) {
  for (uint8_t i = 0; i < 5; ++i) wants("192.0.2.9", i);
  auto sent = frames();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(parse_ethernet(sent[0])->destination, kBroadcastMac);
  const ArpMessage request = arp_of(sent[0]);
  EXPECT_EQ(request.operation, ArpOperation::Request);
  EXPECT_EQ(request.sender, ip("192.0.2.1"));
  EXPECT_EQ(request.sender_mac, gateway.outside_mac);
  EXPECT_EQ(request.target, ip("192.0.2.9"));
  arp(arp_reply("192.0.2.9"), gateway.outside_mac);
  sent = frames();
  ASSERT_EQ(sent.size(), 5u);
  for (uint8_t i = 0; i < 5; ++i) {
    EXPECT_EQ(sent[i], frame(kHostMac, gateway.outside_mac, kEtherTypeIpv4, Packet{0x45, i}));
  }
  wants("192.0.2.9", 7);
  EXPECT_EQ(frames().size(), 1u);
  EXPECT_EQ(gateway.all_drops(), 0u);
}

TEST_F(Neighbours, OverIpv6AreAskedByTheirGroupAndAnswerByAdvertisement) {
  wants("2001:db8::9", 1);
  auto sent = frames();
  ASSERT_EQ(sent.size(), 1u);
  const auto ethernet = *parse_ethernet(sent[0]);
  EXPECT_EQ(to_string(ethernet.destination), "33:33:ff:00:00:09");
  const auto solicitation = parse_neighbour_message(*parse_ip_packet(ethernet.payload));
  ASSERT_TRUE(solicitation);
  EXPECT_EQ(solicitation->source, ip("2001:db8::1"));
  EXPECT_EQ(solicitation->link_layer, gateway.outside_mac);
  NeighbourMessage answer{.type = NeighbourMessageType::Advertisement,
                          .source = ip("2001:db8::9"),
                          .destination = ip("2001:db8::1"),
                          .target = ip("2001:db8::9"),
                          .solicited = true,
                          .override = true,
                          .link_layer = kHostMac};
  nd(answer, gateway.outside_mac);
  EXPECT_TRUE(known("2001:db8::9"));
  EXPECT_EQ(frames().size(), 1u);
  // A router by its link-local address is asked from ours.
  wants("fe80::99", 1);
  sent = frames();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(parse_ip_packet(parse_ethernet(sent[0])->payload)->source,
            link_local_address(gateway.outside_mac));
}

TEST_F(Neighbours, ThatDoNotAnswerAreGivenUpAndHeldOff) {
  for (uint8_t i = 0; i < kWaitingPerNeighbour + 3; ++i) wants("192.0.2.9", i);
  EXPECT_EQ(gateway.drops(DropReason::HeldNeighbour), 3u);
  advance(kAskInterval * 3 + 100ms);
  EXPECT_EQ(frames().size(), kAskTries);
  EXPECT_EQ(gateway.drops(DropReason::HeldNeighbour), 3 + kWaitingPerNeighbour);
  wants("192.0.2.9", 1);
  EXPECT_TRUE(frames().empty());
  EXPECT_EQ(gateway.drops(DropReason::NeighbourUnknown), 1u);
  advance(kHoldOff);
  EXPECT_EQ(gateway.neighbours.size(), 0u);
  wants("192.0.2.9", 1);
  EXPECT_EQ(frames().size(), 1u);
}

TEST_F(Neighbours, InUseAreProbedByUnicastAndKeepTheirMacMeanwhile) {
  wants("192.0.2.9", 1);
  arp(arp_reply("192.0.2.9"), gateway.outside_mac);
  (void)frames();
  advance(kReachableTime / 2);
  use("192.0.2.9");
  std::vector<Packet> sent;
  for (int i = 0; i < 6'000 && sent.empty(); ++i) {
    advance(10ms);
    sent = frames();
  }
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(parse_ethernet(sent[0])->destination, kHostMac);
  EXPECT_EQ(arp_of(sent[0]).target_mac, kHostMac);
  // Nothing answers: the MAC stays in use until broadcasts had their chance, too.
  advance(kAskInterval * (kProbeTries + kAskTries) - 100ms);
  EXPECT_TRUE(known("192.0.2.9"));
  sent = frames();
  ASSERT_EQ(sent.size(), kProbeTries + kAskTries - 1);
  EXPECT_EQ(parse_ethernet(sent.back())->destination, kBroadcastMac);
  advance(200ms);
  EXPECT_FALSE(known("192.0.2.9"));
}

TEST_F(Neighbours, ThatMovedAreFoundAgainAndWhatIsUnusedIsForgotten) {
  wants("192.0.2.9", 1);
  arp(arp_reply("192.0.2.9"), gateway.outside_mac);
  const MacAddress other{{2, 0, 0, 0, 9, 10}};
  ArpMessage moved = arp_reply("192.0.2.9");
  moved.sender_mac = other;
  // Nobody asked.
  arp(moved, gateway.outside_mac);
  MacAddress mac;
  ASSERT_TRUE(known("192.0.2.9", &mac));
  EXPECT_EQ(mac, kHostMac);
  // It asks for us: the new MAC is used and verified.
  (void)frames();
  moved.operation = ArpOperation::Request;
  arp(moved, kBroadcastMac);
  ASSERT_TRUE(known("192.0.2.9", &mac));
  EXPECT_EQ(mac, other);
  advance(100ms);
  const auto sent = frames();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(arp_of(sent[0]).operation, ArpOperation::Reply);
  EXPECT_EQ(arp_of(sent[1]).operation, ArpOperation::Request);
  EXPECT_EQ(parse_ethernet(sent[1])->destination, other);
  moved.operation = ArpOperation::Reply;
  arp(moved, gateway.outside_mac);
  EXPECT_EQ(gateway.neighbours.size(), 1u);
  advance(kUnusedTime + 2 * kReachableTime);
  EXPECT_EQ(gateway.neighbours.size(), 0u);
}

TEST_F(Neighbours, GetArpRepliesForOurAddressesOnlyByteExact) {
  ArpMessage request{.operation = ArpOperation::Request,
                     .sender_mac = kHostMac,
                     .sender = ip("192.0.2.9"),
                     .target = ip("192.0.2.1")};
  arp(request, kBroadcastMac);
  auto sent = frames();
  ASSERT_EQ(sent.size(), 1u);
  const Packet expected = {2, 0, 0, 0, 9, 9, 2, 0,   0, 0, 0, 1, 8, 6, 0, 1, 8, 0,   6, 4, 0,
                           2, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 2, 0, 0, 0, 9, 9, 192, 0, 2, 9};
  EXPECT_EQ(sent[0], expected);
  EXPECT_TRUE(known("192.0.2.9"));

  for (const char* not_ours : {"192.0.2.2", "10.0.0.1", "10.8.0.1", "192.0.2.255", "0.0.0.0"}) {
    request.target = ip(not_ours);
    arp(request, kBroadcastMac);
    EXPECT_TRUE(frames().empty()) << not_ours;
  }
  // Not on this link, or our own address in somebody else's mouth.
  request.target = ip("192.0.2.1");
  for (const char* liar : {"203.0.113.5", "192.0.2.1", "10.0.0.7"}) {
    request.sender = ip(liar);
    arp(request, kBroadcastMac);
    EXPECT_TRUE(frames().empty()) << liar;
    EXPECT_FALSE(known(liar));
  }
  // A probe of RFC 5227 is answered, nothing is learnt.
  request.sender = ip("0.0.0.0");
  arp(request, kBroadcastMac);
  EXPECT_EQ(frames().size(), 1u);
  EXPECT_EQ(gateway.neighbours.size(), 1u);
  // MACs that no host has.
  request.sender = ip("192.0.2.50");
  for (const MacAddress& mac : {MacAddress{}, kBroadcastMac, gateway.outside_mac}) {
    request.sender_mac = mac;
    arp(request, kBroadcastMac);
    EXPECT_TRUE(frames().empty());
    EXPECT_FALSE(known("192.0.2.50"));
  }
}

TEST_F(Neighbours, GetAdvertisementsForOurAddressesOnly) {
  NeighbourMessage solicitation{.source = ip("2001:db8::9"),
                                .destination = solicited_node_group(ip("2001:db8::1")),
                                .target = ip("2001:db8::1"),
                                .link_layer = kHostMac};
  const MacAddress group = ipv6_multicast_mac(solicitation.destination);
  const auto answer = [&]() -> std::optional<NeighbourMessage> {
    const auto sent = frames();
    if (sent.size() != 1) return std::nullopt;
    const auto ethernet = *parse_ethernet(sent[0]);
    EXPECT_EQ(ethernet.source, gateway.outside_mac);
    return parse_neighbour_message(*parse_ip_packet(ethernet.payload));
  };
  nd(solicitation, group);
  auto reply = answer();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->type, NeighbourMessageType::Advertisement);
  EXPECT_EQ(reply->target, ip("2001:db8::1"));
  EXPECT_EQ(reply->destination, ip("2001:db8::9"));
  EXPECT_TRUE(reply->solicited && reply->override && reply->router);
  EXPECT_EQ(reply->link_layer, gateway.outside_mac);
  EXPECT_TRUE(known("2001:db8::9"));

  solicitation.target = link_local_address(gateway.outside_mac);
  solicitation.source = ip("fe80::9");
  nd(solicitation, gateway.outside_mac);
  EXPECT_TRUE(answer());

  for (const char* not_ours : {"2001:db8::2", "fe80::1", "2001:db8:1::1"}) {
    solicitation.target = ip(not_ours);
    nd(solicitation, group);
    EXPECT_TRUE(frames().empty()) << not_ours;
  }
  // Duplicate address detection of one of our addresses is told to everybody.
  const NeighbourMessage probe{.source = ip("::"),
                               .destination = solicited_node_group(ip("2001:db8::1")),
                               .target = ip("2001:db8::1")};
  nd(probe, group);
  reply = answer();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->destination, all_nodes_group());
  EXPECT_FALSE(reply->solicited);
  // Unsolicited advertisements change nothing.
  nd({.type = NeighbourMessageType::Advertisement,
      .source = ip("2001:db8::9"),
      .destination = all_nodes_group(),
      .target = ip("2001:db8::9"),
      .override = true,
      .link_layer = MacAddress{{2, 6, 6, 6, 6, 6}}},
     ipv6_multicast_mac(all_nodes_group()));
  MacAddress mac;
  ASSERT_TRUE(known("2001:db8::9", &mac));
  EXPECT_EQ(mac, kHostMac);
}

TEST_F(Neighbours, ScannedOnesLeaveRoomForThoseThatExist) {
  for (uint32_t i = 0; i < publish::kMaxNeighbours; ++i) {
    IpAddress address = ip("2001:db8::1:0:0");
    store_be32(&address.bytes[12], i);
    const uint8_t packet[] = {0x60};
    gateway.punt({.kind = PuntKind::NeedsNeighbour, .port = kOutside, .next_hop = address}, packet);
    gateway.session->turn(gateway.snapshot, clock.now);
    (void)frames();
  }
  EXPECT_LE(gateway.neighbours.size(), kMaxUnresolved);
  EXPECT_EQ(gateway.drops(DropReason::NeighbourTableFull),
            publish::kMaxNeighbours - kMaxUnresolved);
  // One that asks for us is learnt in spite of that, and pings are answered.
  arp({.operation = ArpOperation::Request,
       .sender_mac = kHostMac,
       .sender = ip("192.0.2.9"),
       .target = ip("192.0.2.1")},
      kBroadcastMac);
  (void)frames();
  advance(kAskInterval * 3 + kHoldOff + 200ms);
  EXPECT_LE(gateway.neighbours.size(), 1u);
}

TEST_F(Neighbours, PingUsOnPortsAndThroughTunnels) {
  arp({.operation = ArpOperation::Request,
       .sender_mac = kHostMac,
       .sender = ip("192.0.2.9"),
       .target = ip("192.0.2.1")},
      kBroadcastMac);
  (void)frames();
  const auto echo = [](std::string_view from, std::string_view to) {
    Packet packet =
        make_ip_packet({.source = ip(from), .destination = ip(to), .protocol = kProtocolIcmp}, 16);
    packet[20] = 8;
    packet[35] = 7;
    store_be16(&packet[22], internet_checksum(Bytes(packet).subspan(20)));
    return packet;
  };
  const auto ping = [&](const Packet& packet) {
    gateway.punt({.kind = PuntKind::PortIcmp, .port = kOutside},
                 frame(gateway.outside_mac, kHostMac, kEtherTypeIpv4, packet));
    turn();
    return frames();
  };
  const auto sent = ping(echo("192.0.2.9", "192.0.2.1"));
  ASSERT_EQ(sent.size(), 1u);
  Packet expected = echo("192.0.2.1", "192.0.2.9");
  expected[20] = 0;
  store_be16(&expected[22], 0);
  store_be16(&expected[22], internet_checksum(Bytes(expected).subspan(20)));
  EXPECT_EQ(sent[0], frame(kHostMac, gateway.outside_mac, kEtherTypeIpv4, expected));

  // Others' addresses, a wrong checksum, a broadcast: nothing.
  EXPECT_TRUE(ping(echo("192.0.2.9", "192.0.2.2")).empty());
  EXPECT_TRUE(ping(echo("192.0.2.9", "10.8.0.1")).empty());
  EXPECT_TRUE(ping(echo("192.0.2.9", "192.0.2.255")).empty());
  Packet wrong = echo("192.0.2.9", "192.0.2.1");
  wrong[35] ^= 1;
  EXPECT_TRUE(ping(wrong).empty());
  EXPECT_EQ(gateway.drops(DropReason::LocalUnwanted), 4u);

  gateway.punt({.kind = PuntKind::TunnelLocal, .tunnel = 0}, echo("10.8.0.2", "10.8.0.1"));
  turn();
  const auto injected = gateway.take_injected();
  ASSERT_EQ(injected.size(), 1u);
  EXPECT_EQ(injected[0].header.kind, publish::InjectKind::InnerPacket);
  EXPECT_EQ(injected[0].header.tunnel, 0);
  EXPECT_EQ(parse_ip_packet(injected[0].bytes)->destination, ip("10.8.0.2"));

  size_t answered = 0;
  for (uint32_t i = 0; i < 2 * kEchoBurst; ++i)
    answered += ping(echo("192.0.2.9", "192.0.2.1")).size();
  EXPECT_LE(answered, kEchoBurst);
  EXPECT_GE(gateway.drops(DropReason::IcmpRateLimited), kEchoBurst);
}

TEST_F(Neighbours, NeverAnswerGarbage) {
  const uint64_t seed = 7;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const Packet request = frame(
      kBroadcastMac, kHostMac, kEtherTypeArp,
      write_arp({.sender_mac = kHostMac, .sender = ip("192.0.2.9"), .target = ip("192.0.2.1")}));
  for (int round = 0; round < 20'000; ++round) {
    Packet bytes = request;
    // Never the right header of an Ethernet ARP message.
    bytes[14 + random() % 6] ^= static_cast<uint8_t>(1 + random() % 255);
    bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    if (random() % 2 == 0) bytes.resize(random() % bytes.size());
    if (parse_ethernet(bytes) && parse_arp(parse_ethernet(bytes)->payload)) continue;
    gateway.punt({.kind = random() % 2 == 0 ? PuntKind::Arp : PuntKind::PortIcmp, .port = kOutside},
                 bytes);
    gateway.session->turn(gateway.snapshot, clock.now);
  }
  EXPECT_TRUE(frames().empty());
  EXPECT_EQ(gateway.neighbours.size(), 0u);
}

}  // namespace
}  // namespace turnpike::session

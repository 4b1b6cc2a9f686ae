// ICMP errors: what they say, to whom, and when there is silence.
#include "control/session/icmp_errors.h"

#include <gtest/gtest.h>

#include "control/session/neighbour_messages.h"
#include "gateway.h"

namespace turnpike::session {
namespace {

using publish::InjectKind;
using publish::PuntKind;
using testing::ip;

constexpr MacAddress kHostMac{{2, 0, 0, 0, 9, 9}};

Packet packet_from(std::string_view from, std::string_view to, size_t payload_bytes = 40,
                   uint8_t protocol = kProtocolUdp) {
  return make_ip_packet({.source = ip(from), .destination = ip(to), .protocol = protocol},
                        payload_bytes);
}

// A gateway 10.0.0.1, fd00:1::1 inside, 10.8.0.1 in the tunnel, that knows the host 10.0.0.9, fd00:1::9.
class IcmpErrors : public ::testing::Test {
 protected:
  IcmpErrors() : gateway(5, 1) {
    gateway.outside.add_interface("192.0.2.1/24");
    gateway.inside.add_interface("10.0.0.1/24");
    gateway.inside.add_interface("fd00:1::1/64");
    gateway.tunnel_local.add("10.8.0.1/32",
                             {.kind = publish::NextHopKind::Local, .source = ip("10.8.0.1")});
    gateway.start(clock.now);
    // The host asks for us, so that we know it.
    punt_frame(
        PuntKind::Arp, kEtherTypeArp,
        write_arp({.sender_mac = kHostMac, .sender = ip("10.0.0.9"), .target = ip("10.0.0.1")}));
    punt_frame(PuntKind::PortIcmp, kEtherTypeIpv6,
               write_neighbour_message({.source = ip("fd00:1::9"),
                                        .destination = ip("fd00:1::1"),
                                        .target = ip("fd00:1::1"),
                                        .link_layer = kHostMac}));
    turn();
  }
  void punt_frame(PuntKind kind, uint16_t type, Bytes payload) {
    Packet frame(kEthernetHeaderBytes + payload.size());
    write_ethernet(std::span<uint8_t, kEthernetHeaderBytes>(frame.data(), kEthernetHeaderBytes),
                   gateway.inside_mac, kHostMac, type);
    std::ranges::copy(payload, frame.begin() + kEthernetHeaderBytes);
    gateway.punt({.kind = kind, .port = kInside}, frame);
  }

  std::vector<testing::Injected> turn() {
    gateway.session->turn(gateway.snapshot, clock.now);
    std::vector<testing::Injected> all = gateway.take_injected();
    std::erase_if(all,
                  [](const testing::Injected& entry) {  // what it tells the link of itself, or asks
                    const auto view = parse_ethernet(entry.bytes);
                    return entry.header.kind == InjectKind::Frame && view->destination.is_group();
                  });
    return all;
  }
  // From a host inside, or (`from_peer`) out of the tunnel.
  std::vector<testing::Injected> end(DropReason reason, Bytes packet, uint16_t mtu = 0,
                                     bool from_peer = false) {
    gateway.punt({.kind = PuntKind::Undeliverable,
                  .port = from_peer ? kNoPort : testing::kInside,
                  .tunnel = 0,
                  .peer = from_peer ? PeerRef{.index = 0, .incarnation = 1} : PeerRef{},
                  .detail = static_cast<uint8_t>(reason),
                  .mtu_bytes = mtu},
                 packet);
    return turn();
  }
  // What waited for a handshake was found to be too big when it was to be sent.
  std::vector<testing::Injected> end_held(Bytes packet) {
    gateway.punt({.kind = PuntKind::Undeliverable,
                  .tunnel = 0,
                  .detail = static_cast<uint8_t>(DropReason::PacketTooBig),
                  .mtu_bytes = 1'400},
                 packet);
    return turn();
  }
  bool silent(Bytes packet) {
    return end(DropReason::TtlExceeded, packet).empty() &&
           end(DropReason::TtlExceeded, packet, 0, true).empty();
  }
  // The one answer, without its Ethernet header, which leads to the host.
  Packet answer_inside(const std::vector<testing::Injected>& sent) {
    EXPECT_EQ(sent.size(), 1u);
    if (sent.size() != 1) return {};
    EXPECT_EQ(sent[0].header.kind, InjectKind::Frame);
    EXPECT_EQ(sent[0].header.port, testing::kInside);
    EXPECT_EQ(parse_ethernet(sent[0].bytes)->destination, kHostMac);
    return {sent[0].bytes.begin() + kEthernetHeaderBytes, sent[0].bytes.end()};
  }
  static constexpr PortIndex kInside = testing::kInside;
  testing::Clock clock;
  testing::Gateway gateway;
};

void expect_error(Bytes answer, const IcmpError& error, std::string_view from, std::string_view to,
                  Bytes about) {
  const auto view = parse_ip_packet(answer);
  ASSERT_TRUE(view);
  const bool v4 = view->source.is_v4();
  EXPECT_EQ(view->source, ip(from));
  EXPECT_EQ(view->destination, ip(to));
  EXPECT_EQ(view->protocol, v4 ? kProtocolIcmp : kProtocolIcmpv6);
  EXPECT_EQ(view->traffic_class, v4 ? 0xc0 : 0);
  const Bytes icmp = view->payload;
  EXPECT_EQ(v4 ? internet_checksum(icmp)
               : transport_checksum(view->source, view->destination, kProtocolIcmpv6, icmp),
            0);
  EXPECT_EQ(icmp[0], error.type);
  EXPECT_EQ(icmp[1], error.code);
  EXPECT_EQ(load_be32(&icmp[4]), error.parameter);
  const Bytes quoted = icmp.subspan(8);
  EXPECT_EQ(quoted.size(), std::min<size_t>(about.size(), v4 ? 576 - 28 : 1280 - 48));
  EXPECT_TRUE(std::ranges::equal(quoted, about.first(quoted.size())));
}

TEST_F(IcmpErrors, SayWhyToAHostInside) {
  const Packet v4 = packet_from("10.0.0.9", "10.8.0.99");
  const Packet v6 = packet_from("fd00:1::9", "fd00:8::99");
  const struct {
    DropReason reason;
    IcmpError v4, v6;
  } cases[] = {
      {DropReason::NoAllowedIp, {3, 1, 0}, {1, 3, 0}},
      {DropReason::NoEndpoint, {3, 1, 0}, {1, 3, 0}},
      {DropReason::NeighbourUnknown, {3, 1, 0}, {1, 3, 0}},
      {DropReason::NoRoute, {3, 0, 0}, {1, 0, 0}},
      {DropReason::TtlExceeded, {11, 0, 0}, {3, 0, 0}},
      {DropReason::PacketTooBig, {3, 4, 1420}, {2, 0, 1420}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(to_string(c.reason));
    expect_error(answer_inside(end(c.reason, v4, 1420)), c.v4, "10.0.0.1", "10.0.0.9", v4);
    expect_error(answer_inside(end(c.reason, v6, 1420)), c.v6, "fd00:1::1", "fd00:1::9", v6);
  }
}

TEST_F(IcmpErrors, GoToAPeerThroughItsTunnel) {
  const Packet v4 = packet_from("10.8.0.2", "10.0.0.9", 1400);
  const auto sent = end(DropReason::PacketTooBig, v4, 1300, true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.kind, InjectKind::InnerPacket);
  EXPECT_EQ(sent[0].header.tunnel, 0);
  expect_error(sent[0].bytes, {3, 4, 1300}, "10.8.0.1", "10.8.0.2", v4);
  // Of IPv6 the tunnel has no address, but the inside port has.
  const Packet v6 = packet_from("fd00:8::2", "fd00:1::9", 1360);
  const auto sent6 = end(DropReason::TtlExceeded, v6, 0, true);
  ASSERT_EQ(sent6.size(), 1u);
  expect_error(sent6[0].bytes, {3, 0, 0}, "fd00:1::1", "fd00:8::2", v6);
}

TEST_F(IcmpErrors, AboutWhatWaitedGoToWhereItCameFrom) {
  const Packet inside = packet_from("10.0.0.9", "10.8.0.2", 1'390);
  expect_error(answer_inside(end_held(inside)), {3, 4, 1'400}, "10.0.0.1", "10.0.0.9", inside);
  testing::Routes allowed(gateway.pages);  // the value of a prefix is its place: all are of peer 0
  allowed.add("10.8.0.0/24", {});
  gateway.snapshot.tunnels[0].allowed_v4 = allowed.table().v4;
  const Packet peers = packet_from("10.8.0.3", "10.8.0.2", 1'390);
  const auto sent = end_held(peers);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.kind, InjectKind::InnerPacket);
  expect_error(sent[0].bytes, {3, 4, 1'400}, "10.8.0.1", "10.8.0.3", peers);
  for (const char* own : {"10.8.0.1", "10.0.0.1"}) {
    EXPECT_TRUE(end_held(packet_from(own, "10.8.0.2", 1'390)).empty()) << own;
  }
}

TEST_F(IcmpErrors, FitTheTunnelThatTheyGoThrough) {
  gateway.snapshot.tunnels[0].mtu_bytes = 600;
  const auto sent =
      end(DropReason::TtlExceeded, packet_from("fd00:8::2", "fd00:1::9", 1360), 0, true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes.size(), 600u);
}

TEST_F(IcmpErrors, AreNotSentAboutErrors) {
  for (int type = 0; type < 256; ++type) {
    Packet v4 = packet_from("10.0.0.9", "10.8.0.99", 40, kProtocolIcmp);
    v4[20] = static_cast<uint8_t>(type);
    const bool query = type == 0 || (type >= 8 && type <= 10) || (type >= 13 && type <= 18);
    EXPECT_EQ(may_be_answered(v4), query) << type;
    Packet v6 = packet_from("fd00:1::9", "fd00:8::99", 40, kProtocolIcmpv6);
    v6[40] = static_cast<uint8_t>(type);
    EXPECT_EQ(may_be_answered(v6), type >= 128 && type != 137) << type;
    // The same behind extension headers: hop-by-hop options, destination options, a first fragment.
    Packet behind = packet_from("fd00:1::9", "fd00:8::99", 64, 0);
    behind[40] = 60;
    behind[48] = 44;
    behind[49] = 1;  // 16 bytes
    behind[64] = kProtocolIcmpv6;
    store_be16(&behind[66], 1);  // more follow
    behind[72] = static_cast<uint8_t>(type);
    EXPECT_EQ(may_be_answered(behind), type >= 128 && type != 137) << type;
  }
  Packet error = packet_from("10.0.0.9", "10.8.0.99", 40, kProtocolIcmp);
  error[20] = 3;
  EXPECT_TRUE(silent(error));
  EXPECT_FALSE(may_be_answered(packet_from("10.0.0.9", "10.8.0.99", 0, kProtocolIcmp)));
  EXPECT_FALSE(may_be_answered(packet_from("fd00:1::9", "fd00:8::99", 0, kProtocolIcmpv6)));
}

TEST_F(IcmpErrors, AreNotSentAboutAnyButTheFirstFragment) {
  Packet v4 = packet_from("10.0.0.9", "10.8.0.99");
  store_be16(&v4[6], 0x2000);
  EXPECT_FALSE(silent(v4));
  store_be16(&v4[6], 0x2001);
  EXPECT_TRUE(silent(v4));
  Packet v6 = packet_from("fd00:1::9", "fd00:8::99", 40, 44);
  v6[40] = kProtocolUdp;
  store_be16(&v6[42], 1);
  EXPECT_FALSE(silent(v6));
  store_be16(&v6[42], 9);
  EXPECT_TRUE(silent(v6));
}

TEST_F(IcmpErrors, AreNotSentToNobodyNorAboutGroups) {
  for (const char* source :
       {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"}) {
    EXPECT_TRUE(silent(packet_from(source, "10.8.0.99"))) << source;
  }
  for (const char* source : {"::", "::1", "ff02::1"}) {
    EXPECT_TRUE(silent(packet_from(source, "fd00:8::99"))) << source;
  }
  for (const char* to : {"224.0.0.1", "255.255.255.255"}) {
    EXPECT_TRUE(silent(packet_from("10.0.0.9", to))) << to;
  }
  EXPECT_TRUE(silent(packet_from("fd00:1::9", "ff05::2")));
  // From the inside: our own addresses, a broadcast of the link, and what no route leads to.
  for (const char* source : {"10.0.0.1", "10.8.0.1", "203.0.113.9"}) {
    EXPECT_TRUE(end(DropReason::TtlExceeded, packet_from(source, "10.8.0.99")).empty()) << source;
  }
  EXPECT_EQ(gateway.all_drops(), 0u);
}

TEST_F(IcmpErrors, AreNotSentAboutWhatEndsInSilence) {
  const Packet packet = packet_from("10.0.0.9", "10.8.0.99");
  for (size_t i = 0; i < kDropReasons; ++i) {
    const auto reason = static_cast<DropReason>(i);
    const bool told = reason == DropReason::NoAllowedIp || reason == DropReason::NoEndpoint ||
                      reason == DropReason::NeighbourUnknown || reason == DropReason::NoRoute ||
                      reason == DropReason::TtlExceeded || reason == DropReason::PacketTooBig;
    EXPECT_EQ(icmp_error_for(reason, Family::V4, 1420).has_value(), told) << to_string(reason);
    EXPECT_EQ(icmp_error_for(reason, Family::V6, 1420).has_value(), told) << to_string(reason);
  }
}

TEST_F(IcmpErrors, WhoFloodsLeavesSomeForOthers) {
  size_t flooded = 0;
  for (int i = 0; i < 1'000; ++i) {
    flooded += end(DropReason::TtlExceeded, packet_from("10.0.0.9", "10.8.0.99")).size();
  }
  EXPECT_EQ(flooded, IcmpErrorLimiter::kPerTargetAtOnce);
  EXPECT_EQ(gateway.drops(DropReason::IcmpRateLimited), 1'000 - flooded);
  EXPECT_EQ(end(DropReason::TtlExceeded, packet_from("fd00:1::9", "fd00:8::99")).size(), 1u);
  clock.advance(1s);
  EXPECT_EQ(end(DropReason::TtlExceeded, packet_from("10.0.0.9", "10.8.0.99")).size(), 1u);
}

TEST_F(IcmpErrors, AreBoundedInAll) {
  testing::SeededRandom random(3);
  IcmpErrorLimiter limiter(random);
  size_t sent = 0;
  for (uint32_t i = 0; i < 100'000; ++i) {
    sent += limiter.take(IpAddress::v4(0x0a000000 + i), clock.now.instant) ? 1 : 0;
    if (i % 10 == 0) clock.advance(1ms);  // ten seconds in all
  }
  EXPECT_LE(sent, 10 * IcmpErrorLimiter::kPerSecond + IcmpErrorLimiter::kAtOnce);
  EXPECT_GE(sent, 10 * IcmpErrorLimiter::kPerSecond - 10);
}

TEST_F(IcmpErrors, TellAPeerThatAHostInsideDoesNotAnswer) {
  testing::Routes allowed(gateway.pages);  // the value of a prefix is its place: all are of peer 0
  allowed.add("10.8.0.0/24", {});
  gateway.snapshot.tunnels[0].allowed_v4 = allowed.table().v4;
  const auto wants = [&](std::string_view from) {
    const Packet packet = packet_from(from, "10.0.0.77");
    gateway.punt({.kind = PuntKind::NeedsNeighbour, .port = kInside, .next_hop = ip("10.0.0.77")},
                 packet);
    EXPECT_TRUE(turn().empty() || gateway.drops(DropReason::NeighbourUnknown) > 0);
    return packet;
  };
  const Packet lost = wants("10.8.0.2");
  wants("10.0.0.1");  // our own: an answer to somebody who has gone
  wants("10.8.0.1");
  wants("10.0.0.9");  // of nobody's peer
  std::vector<testing::Injected> sent;
  for (int i = 0; i < 40; ++i) {
    clock.advance(100ms);
    for (auto& entry : turn()) sent.push_back(std::move(entry));
  }
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.kind, InjectKind::InnerPacket);
  expect_error(sent[0].bytes, {3, 1, 0}, "10.8.0.1", "10.8.0.2", lost);
  EXPECT_EQ(gateway.drops(DropReason::HeldNeighbour), 4u);
}

TEST_F(IcmpErrors, APacketThatMayBeFragmentedIs) {
  const Packet packet = packet_from("10.0.0.9", "10.8.0.2", 1480);
  gateway.punt({.kind = PuntKind::NeedsFragments, .tunnel = 0, .mtu_bytes = 1420}, packet);
  const auto inner = turn();
  ASSERT_EQ(inner.size(), 2u);
  EXPECT_EQ(inner[0].header.kind, InjectKind::InnerPacket);
  EXPECT_EQ(inner[0].bytes.size() + inner[1].bytes.size(), packet.size() + kIpv4HeaderBytes);

  gateway.punt({.kind = PuntKind::NeedsFragments,
                .port = kInside,
                .tunnel = 0,
                .mtu_bytes = 1280,
                .next_hop = ip("10.0.0.9")},
               packet_from("10.8.0.2", "10.0.0.9", 1380));
  const auto frames = turn();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].header.kind, InjectKind::Frame);
  EXPECT_EQ(parse_ethernet(frames[1].bytes)->destination, kHostMac);
  EXPECT_EQ(gateway.all_drops(), 0u);
}

}  // namespace
}  // namespace turnpike::session

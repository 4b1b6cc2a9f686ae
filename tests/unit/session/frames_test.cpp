#include "control/session/frames.h"

#include <gtest/gtest.h>

#include <random>

#include "control/session/icmp.h"
#include "control/session/neighbour_messages.h"
#include "dataplane/base/link_local.h"
#include "dataplane/base/text.h"

namespace turnpike::session {
namespace {

Packet from_hex(std::string_view hex) {
  Packet packet(hex.size() / 2);
  EXPECT_TRUE(base::from_hex(hex, packet));
  return packet;
}

TEST(InternetChecksum, IsTheOneOfRfc1071) {
  // Section 3 of the RFC: the words 0001 f203 f4f5 f6f7 sum to ddf2.
  EXPECT_EQ(internet_checksum(from_hex("0001f203f4f5f6f7")), static_cast<uint16_t>(~0xddf2));
  EXPECT_EQ(internet_checksum(from_hex("00")), 0xffff);
  EXPECT_EQ(internet_checksum(from_hex("ff")), 0x00ff);  // an odd byte is the upper one of its word
}

TEST(MakeUdpPacket, WritesWhatOthersWrite) {
  // By hand after RFC 791 and RFC 768.
  const Packet packet = make_udp_packet({.source = *parse_ip("192.168.0.1"),
                                         .destination = *parse_ip("192.168.0.199"),
                                         .traffic_class = 0x88,
                                         .identification = 0x1234},
                                        51'820, 9, from_hex("616263"));
  EXPECT_EQ(packet.size(), 31u);
  EXPECT_EQ(base::to_hex(Bytes(packet).first(10)), "4588001f123400004011");
  EXPECT_EQ(internet_checksum(Bytes(packet).first(20)), 0);
  const auto view = parse_ip_packet(packet);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->traffic_class, 0x88);
  EXPECT_EQ(view->payload.size(), 11u);
  EXPECT_EQ(base::to_hex(view->payload.first(6)), "ca6c0009000b");
  EXPECT_EQ(transport_checksum(view->source, view->destination, kProtocolUdp, view->payload), 0);
}

TEST(MakeUdpPacket, CarriesTheTrafficClassInIpv6Too) {
  const Packet packet = make_udp_packet({.source = *parse_ip("2001:db8::1"),
                                         .destination = *parse_ip("2001:db8::2"),
                                         .traffic_class = 0x88},
                                        1, 2, {});
  EXPECT_EQ(base::to_hex(Bytes(packet).first(8)), "6880000000081140");
  EXPECT_EQ(parse_ip_packet(packet)->traffic_class, 0x88);
}

TEST(ParseIpPacket, RefusesWhatIsShortFragmentedOrFalse) {
  const Packet good =
      make_udp_packet({.source = *parse_ip("10.0.0.1"), .destination = *parse_ip("10.0.0.2")}, 1, 2,
                      from_hex("00"));
  ASSERT_TRUE(parse_ip_packet(good));
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(parse_ip_packet(Bytes(good).first(length))) << length;
  }
  for (size_t bit = 0; bit < kIpv4HeaderBytes * 8; ++bit) {
    Packet changed = good;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_FALSE(parse_ip_packet(changed)) << bit;
  }
  Packet fragment = good;
  fragment[6] = 0x20;
  store_be16(&fragment[10], 0);
  store_be16(&fragment[10], internet_checksum(Bytes(fragment).first(20)));
  EXPECT_FALSE(parse_ip_packet(fragment));
  // Padding of a short Ethernet frame is no part of it.
  Packet padded = good;
  padded.resize(60);
  EXPECT_EQ(parse_ip_packet(padded)->payload.size(), 9u);
}

TEST(Addresses, AreMadeAsTheRfcsSay) {
  EXPECT_EQ(to_string(link_local_address({{0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde}})),
            "fe80::3656:78ff:fe9a:bcde");  // RFC 4291, appendix A
  const IpAddress group = solicited_node_group(*parse_ip("4037::1:800:200e:8c6c"));
  EXPECT_EQ(to_string(group), "ff02::1:ff0e:8c6c");  // RFC 4291, section 2.7.1
  EXPECT_EQ(to_string(ipv6_multicast_mac(group)), "33:33:ff:0e:8c:6c");
}

TEST(EchoReply, IsByteExactForBothFamilies) {
  // ping -c1 -s 4: id 0x1234, sequence 1, data "abcd"; checksums by hand:
  // ~(0800 + 1234 + 0001 + 6162 + 6364) = 2104 and, as reply, 2904.
  Packet request = make_ip_packet({.source = *parse_ip("10.0.0.1"),
                                   .destination = *parse_ip("10.0.0.2"),
                                   .protocol = kProtocolIcmp},
                                  12);
  std::ranges::copy(from_hex("080021041234000161626364"), request.begin() + 20);
  const auto reply = make_echo_reply(*parse_ip_packet(request));
  ASSERT_TRUE(reply);
  EXPECT_EQ(base::to_hex(Bytes(*reply)),
            "45000020000000004001"
            "66db"
            "0a0000020a000001"
            "000029041234000161626364");

  Packet v6 = make_ip_packet({.source = *parse_ip("2001:db8::1"),
                              .destination = *parse_ip("2001:db8::2"),
                              .protocol = kProtocolIcmpv6},
                             12);
  std::ranges::copy(from_hex("800000001234000161626364"), v6.begin() + 40);
  const auto view = *parse_ip_packet(v6);
  store_be16(&v6[42], transport_checksum(view.source, view.destination, kProtocolIcmpv6,
                                         Bytes(v6).subspan(40)));
  const auto reply6 = make_echo_reply(*parse_ip_packet(v6));
  ASSERT_TRUE(reply6);
  const auto view6 = *parse_ip_packet(*reply6);
  EXPECT_EQ(to_string(view6.source), "2001:db8::2");
  EXPECT_EQ(view6.payload[0], 129);
  EXPECT_EQ(base::to_hex(view6.payload.subspan(4)), "1234000161626364");
  EXPECT_EQ(transport_checksum(view6.source, view6.destination, kProtocolIcmpv6, view6.payload), 0);

  for (const size_t at : {size_t{20}, size_t{21}, size_t{22}, size_t{31}}) {
    Packet changed = request;
    changed[at] ^= 1;
    EXPECT_FALSE(make_echo_reply(*parse_ip_packet(changed))) << at;
  }
}

TEST(TokenBucket, GivesItsBurstAndThenItsRate) {
  TokenBucket bucket(10, 5);
  Instant now{1'000'000'000'000};
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(bucket.take(now));
  EXPECT_FALSE(bucket.take(now));
  int given = 0;
  for (int i = 0; i < 1'000; ++i) {
    now = now + 10ms;
    given += bucket.take(now) ? 1 : 0;
  }
  EXPECT_EQ(given, 100);
}

TEST(Parsers, AreQuietAboutArbitraryBytes) {
  const uint64_t seed = 20'261'122;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const Packet solicitation =
      write_neighbour_message({.source = *parse_ip("fe80::1"),
                               .destination = *parse_ip("ff02::1:ff00:2"),
                               .target = *parse_ip("fe80::2"),
                               .link_layer = MacAddress{{2, 0, 0, 0, 0, 1}}});
  ASSERT_TRUE(parse_neighbour_message(*parse_ip_packet(solicitation)));
  size_t accepted = 0;
  for (int round = 0; round < 200'000; ++round) {
    Packet packet = solicitation;
    for (uint64_t n = random() % 4; n-- > 0;)
      packet[random() % packet.size()] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) packet.resize(random() % (packet.size() + 20));
    // An exact copy on the heap, so that a sanitizer sees the first byte too many.
    const Packet exact(packet.begin(), packet.end());
    if (const auto view = parse_ip_packet(exact)) {
      accepted += parse_neighbour_message(*view) ? 1 : 0;
      (void)make_echo_reply(*view);
    }
    (void)parse_arp(exact);
    (void)parse_ethernet(exact);
  }
  EXPECT_GT(accepted, 0u);
}

TEST(ParseNeighbourMessage, ChecksAllThatSection71AsksFor) {
  const NeighbourMessage good{.source = *parse_ip("fe80::1"),
                              .destination = *parse_ip("fe80::2"),
                              .target = *parse_ip("fe80::2"),
                              .link_layer = MacAddress{{2, 0, 0, 0, 0, 1}}};
  const auto parsed = [](const NeighbourMessage& message, auto&& change) {
    Packet packet = write_neighbour_message(message);
    change(packet);
    const IpAddress source = IpAddress::v6_bytes(&packet[8]);
    const IpAddress destination = IpAddress::v6_bytes(&packet[24]);
    const MutableBytes body = MutableBytes(packet).subspan(40);
    store_be16(&body[2], 0);
    store_be16(&body[2], transport_checksum(source, destination, kProtocolIcmpv6, body));
    return parse_neighbour_message(*parse_ip_packet(packet)).has_value();
  };
  const auto nothing = [](Packet&) {};
  EXPECT_TRUE(parsed(good, nothing));
  EXPECT_FALSE(parsed(good, [](Packet& p) { p[7] = 254; }));  // was forwarded
  EXPECT_FALSE(parsed(good, [](Packet& p) { p[41] = 1; }));  // code
  EXPECT_FALSE(parsed(good, [](Packet& p) { p[65] = 0; }));  // an option without length
  EXPECT_FALSE(parsed(good, [](Packet& p) { p[65] = 2; }));  // an option beyond the end
  EXPECT_FALSE(parsed(good, [](Packet& p) { p[48] = 0xff; }));  // a multicast target
  Packet wrong_sum = write_neighbour_message(good);
  wrong_sum[42] ^= 1;
  EXPECT_FALSE(parse_neighbour_message(*parse_ip_packet(wrong_sum)));
  // Duplicate address detection: to the group, and without an address of the sender.
  NeighbourMessage probe = good;
  probe.source = *parse_ip("::");
  EXPECT_FALSE(parsed(probe, nothing));
  probe.link_layer.reset();
  EXPECT_FALSE(parsed(probe, nothing));
  probe.destination = solicited_node_group(probe.target);
  EXPECT_TRUE(parsed(probe, nothing));
  NeighbourMessage advertisement = good;
  advertisement.type = NeighbourMessageType::Advertisement;
  advertisement.solicited = true;
  EXPECT_TRUE(parsed(advertisement, nothing));
  advertisement.destination = all_nodes_group();
  EXPECT_FALSE(parsed(advertisement, nothing));
}

}  // namespace
}  // namespace turnpike::session

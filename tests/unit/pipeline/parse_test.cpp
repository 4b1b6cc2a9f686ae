// What becomes of frames that are not plain traffic: each drop reason of a port, and what is told to the
// session thread.
#include <gtest/gtest.h>

#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

using publish::PuntKind;

const MacAddress kPeerMac{{2, 0, 0, 0, 9, 9}};

class Parse : public testing::Test {
 protected:
  // One frame on the port; it must be dropped for exactly this reason, without an answer.
  void expect_drop(DropReason reason, FrameIn frame, PortIndex port = 0) {
    const Turn turn = pair.a.receive(port, std::vector<FrameIn>{std::move(frame)});
    EXPECT_EQ(turn.dropped(), 1u);
    EXPECT_EQ(turn.drops_of(reason), 1u) << to_string(reason);
    EXPECT_TRUE(turn.sent.empty());
    EXPECT_TRUE(turn.punts.empty());
  }
  void expect_punt(PuntKind kind, const Blob& frame, PortIndex port = 0) {
    const Turn turn = pair.a.receive(port, {frame});
    ASSERT_EQ(turn.punts.size(), 1u);
    EXPECT_EQ(turn.punts[0].header.kind, kind);
    EXPECT_EQ(turn.punts[0].header.port, port);
    EXPECT_EQ(turn.punts[0].bytes, frame);
    EXPECT_EQ(turn.punts[0].header.received_at, pair.a.now);
    EXPECT_EQ(turn.dropped(), 0u);
  }
  [[nodiscard]] static Blob outside_frame(const Blob& packet) {
    return make_frame(kOutsideA, kPeerMac, packet);
  }
  [[nodiscard]] static Blob own_udp(const Blob& payload, unsigned port = 51820) {
    return make_udp(ip("192.0.2.9"), ip("192.0.2.1"), 1234, port, payload);
  }
  [[nodiscard]] static Blob own_udp6(const Blob& payload) {
    return make_udp(ip("2001:db8::9"), ip("2001:db8::1"), 1234, 51820, payload);
  }
  [[nodiscard]] static Blob solicitation(const char* target, const char* group) {
    Blob icmp = {135, 0, 0, 0, 0, 0, 0, 0};
    append_address(icmp, ip(target));
    return make_frame({{0x33, 0x33, 0xff, 0, 0, 1}}, kPeerMac,
                      make_ip(ip("2001:db8::9"), ip(group), icmp, {.protocol = 58, .ttl = 255}));
  }

  // Whether there was room to copy it to the session thread, where it stays.
  bool punted_and_left(Blob frame) {
    Gateway::Worker& worker = *pair.a.workers[0];
    Output output;
    const Packet packet{.data = frame.data(), .length_bytes = static_cast<uint16_t>(frame.size())};
    Packet burst[] = {packet};
    const uint32_t before = worker.door.punt.waiting();
    worker.pipeline.receive(pair.a.snapshot, pair.a.now, 0, burst, output);
    EXPECT_EQ(output.done_count, 1u);
    return worker.door.punt.waiting() > before;
  }

  Pair pair;
};

TEST_F(Parse, FrameTooShort) {
  expect_drop(DropReason::FrameTooShort, {.bytes = Blob(13)});
  expect_drop(DropReason::FrameTooShort, {.bytes = {}});
  Blob arp = make_frame(kOutsideA, kPeerMac, Blob(27));
  arp[12] = 0x08;
  arp[13] = 0x06;
  expect_drop(DropReason::FrameTooShort, {.bytes = arp});
}

TEST_F(Parse, FrameMultiSegment) {
  expect_drop(DropReason::FrameMultiSegment,
              {.bytes = outside_frame(own_udp(Blob(32))), .multi_segment = true});
}

TEST_F(Parse, FrameNotForUs) {
  expect_drop(DropReason::FrameNotForUs,
              {.bytes = make_frame(kOutsideB, kPeerMac, own_udp(Blob(32)))});
  // Unicast inside a broadcast frame is nobody's.
  const MacAddress everybody{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  expect_drop(DropReason::FrameNotForUs,
              {.bytes = make_frame(everybody, kPeerMac, own_udp(Blob(32)))});
  expect_drop(DropReason::FrameNotForUs,
              {.bytes = make_frame(everybody, kPeerMac, own_udp6(Blob(32)))});
}

TEST_F(Parse, EtherTypeUnknown) {
  // LLC (a length), LLDP, MPLS.
  for (const unsigned type : {0x0026u, 0x88ccu, 0x8847u}) {
    Blob frame = outside_frame(own_udp(Blob(32)));
    put16(frame, 12, type);
    expect_drop(DropReason::EtherTypeUnknown, {.bytes = frame});
  }
}

TEST_F(Parse, VlanTagged) {
  for (const unsigned type : {0x8100u, 0x88a8u}) {
    Blob frame = outside_frame(own_udp(Blob(32)));
    const Blob tag = {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type), 0, 5};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    expect_drop(DropReason::VlanTagged, {.bytes = frame});
  }
}

TEST_F(Parse, Ipv4HeaderInvalid) {
  const Blob good = outside_frame(own_udp(Blob(32)));
  const auto broken = [&](size_t at, uint8_t value) {
    Blob frame = good;
    frame[14 + at] = value;
    put16(frame, 14 + 10, 0);
    const size_t header = std::min<size_t>(size_t{frame[14]} % 16 * 4, frame.size() - 14);
    put16(frame, 14 + 10, ~plain_sum(frame, 14, header) & 0xffff);
    return frame;
  };
  expect_drop(DropReason::Ipv4HeaderInvalid, {.bytes = broken(0, 0x55)});  // version
  expect_drop(DropReason::Ipv4HeaderInvalid, {.bytes = broken(0, 0x44)});  // header below 20
  Blob options = broken(0, 0x4f);
  put16(options, 16, 59);
  expect_drop(DropReason::Ipv4HeaderInvalid,
              {.bytes = options, .ipv4_checksum = RxChecksum::Good});  // header beyond the packet
  expect_drop(DropReason::Ipv4HeaderInvalid, {.bytes = broken(2, 0x7f)});  // longer than the frame
  expect_drop(DropReason::Ipv4HeaderInvalid, {.bytes = Blob(good.begin(), good.begin() + 33)});
  Blob bad_sum = good;
  bad_sum[24] ^= 1;
  expect_drop(DropReason::Ipv4HeaderInvalid, {.bytes = bad_sum});
  expect_drop(DropReason::Ipv4HeaderInvalid, {.bytes = good, .ipv4_checksum = RxChecksum::Bad});
  Blob short_total = broken(2, 0);
  put16(short_total, 16, 19);
  expect_drop(DropReason::Ipv4HeaderInvalid,
              {.bytes = short_total, .ipv4_checksum = RxChecksum::Good});
}

TEST_F(Parse, AChecksumThatThePortFoundGoodIsNotAddedAgain) {
  Blob frame = outside_frame(own_udp(Blob(40), 9));
  frame[24] ^= 1;
  expect_drop(DropReason::LocalUnwanted, {.bytes = frame, .ipv4_checksum = RxChecksum::Good});
}

TEST_F(Parse, Ipv6HeaderInvalid) {
  const Blob good = outside_frame(own_udp6(Blob(32)));
  Blob version = good;
  version[14] = 0x40;
  expect_drop(DropReason::Ipv6HeaderInvalid, {.bytes = version});
  Blob length = good;
  put16(length, 18, get16(length, 18) + 1);
  expect_drop(DropReason::Ipv6HeaderInvalid, {.bytes = length});
  expect_drop(DropReason::Ipv6HeaderInvalid, {.bytes = Blob(good.begin(), good.begin() + 53)});
}

TEST_F(Parse, Fragment) {
  Blob frame = outside_frame(own_udp(Blob(32)));
  put16(frame, 14 + 6, 0x2000);
  expect_drop(DropReason::Fragment, {.bytes = frame, .ipv4_checksum = RxChecksum::Good});
  put16(frame, 14 + 6, 0x0001);
  expect_drop(DropReason::Fragment, {.bytes = frame, .ipv4_checksum = RxChecksum::Good});
  expect_drop(DropReason::Fragment,
              {.bytes = outside_frame(
                   make_ip(ip("2001:db8::9"), ip("2001:db8::1"), Blob(16), {.protocol = 44}))});
}

TEST_F(Parse, AFragmentOfTheInsideTravelsLikeAnyPacket) {
  Blob frame = pair.from_host_a(pair.a_to_b(Family::V4, 100));
  put16(frame, 14 + 6, 0x2000);
  const Turn turn = pair.a.receive(
      pair.inside, std::vector<FrameIn>{{.bytes = frame, .ipv4_checksum = RxChecksum::Good}});
  EXPECT_EQ(turn.sent.size(), 1u);
}

TEST_F(Parse, MartianSource) {
  for (const char* source : {"0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"}) {
    expect_drop(
        DropReason::MartianSource,
        {.bytes = outside_frame(make_udp(ip(source), ip("192.0.2.1"), 1, 51820, Blob(32)))});
  }
  for (const char* source : {"::", "::1", "ff02::1"}) {
    expect_drop(
        DropReason::MartianSource,
        {.bytes = outside_frame(make_udp(ip(source), ip("2001:db8::1"), 1, 51820, Blob(32)))});
  }
}

TEST_F(Parse, MartianDestination) {
  for (const char* destination :
       {"0.1.2.3", "127.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.255"}) {
    expect_drop(DropReason::MartianDestination,
                {.bytes = outside_frame(make_ip(ip("192.0.2.9"), ip(destination), Blob(8)))});
  }
  for (const char* destination : {"::", "::1"}) {
    expect_drop(DropReason::MartianDestination,
                {.bytes = outside_frame(make_ip(ip("2001:db8::9"), ip(destination), Blob(8)))});
  }
}

TEST_F(Parse, Multicast) {
  expect_drop(DropReason::Multicast,
              {.bytes = outside_frame(make_ip(ip("192.0.2.9"), ip("224.0.0.251"), Blob(8)))});
  expect_drop(DropReason::Multicast,
              {.bytes = outside_frame(
                   make_ip(ip("2001:db8::9"), ip("ff02::fb"), Blob(8), {.protocol = 17}))});
  // A group that we are in, but not for ICMPv6.
  expect_drop(DropReason::Multicast,
              {.bytes = outside_frame(
                   make_ip(ip("2001:db8::9"), ip("ff02::1"), Blob(8), {.protocol = 17}))});
  // Somebody else's solicited-node group, and a target that does not belong to the group.
  expect_drop(DropReason::Multicast, {.bytes = solicitation("2001:db8::77", "ff02::1:ff00:77")});
  expect_drop(DropReason::Multicast, {.bytes = solicitation("2001:db8::1", "ff02::1:ff00:2")});
}

TEST_F(Parse, NotForwarded) {
  // The outside port is nobody's inside.
  expect_drop(DropReason::NotForwarded,
              {.bytes = outside_frame(make_ip(ip("192.0.2.9"), ip("10.1.0.2"), Blob(8)))});
  // One host of the inside to another, through us.
  expect_drop(DropReason::NotForwarded,
              {.bytes = pair.from_host_a(make_ip(ip("10.0.0.2"), ip("10.0.0.3"), Blob(8)))}, 1);
  // Link-local packets stay on their link.
  expect_drop(DropReason::NotForwarded,
              {.bytes = pair.from_host_a(make_ip(ip("fe80::5"), ip("fd00:b::2"), Blob(8)))}, 1);
  expect_drop(DropReason::NotForwarded,
              {.bytes = pair.from_host_a(make_ip(ip("fd00:a::2"), ip("fe80::5"), Blob(8)))}, 1);
}

TEST_F(Parse, UdpInvalid) {
  Blob long_length = outside_frame(own_udp(Blob(32)));
  put16(long_length, 14 + 24, 41);
  expect_drop(DropReason::UdpInvalid, {.bytes = long_length});
  Blob short_length = outside_frame(own_udp(Blob(32)));
  put16(short_length, 14 + 24, 7);
  expect_drop(DropReason::UdpInvalid, {.bytes = short_length});
  expect_drop(DropReason::UdpInvalid,
              {.bytes = outside_frame(
                   make_ip(ip("192.0.2.9"), ip("192.0.2.1"), Blob(7), {.protocol = 17}))});
  Blob bad_sum = outside_frame(own_udp(Blob(32)));
  bad_sum.back() ^= 1;
  expect_drop(DropReason::UdpInvalid, {.bytes = bad_sum});
  expect_drop(DropReason::UdpInvalid,
              {.bytes = outside_frame(own_udp(Blob(32))), .l4_checksum = RxChecksum::Bad});
  Blob bad_sum6 = outside_frame(own_udp6(Blob(32)));
  bad_sum6.back() ^= 1;
  expect_drop(DropReason::UdpInvalid, {.bytes = bad_sum6});
  Blob no_sum6 = outside_frame(own_udp6(Blob(32)));
  put16(no_sum6, 14 + 40 + 6, 0);
  expect_drop(DropReason::UdpInvalid, {.bytes = no_sum6});
}

TEST_F(Parse, AnIpv4DatagramWithoutChecksumIsTaken) {
  Blob frame = outside_frame(own_udp(Blob(32)));
  put16(frame, 14 + 26, 0);
  expect_drop(DropReason::MessageInvalid, {.bytes = frame});  // past UDP
}

TEST_F(Parse, LocalUnwanted) {
  expect_drop(DropReason::LocalUnwanted, {.bytes = outside_frame(own_udp(Blob(32), 53))});
  expect_drop(DropReason::LocalUnwanted,
              {.bytes = outside_frame(
                   make_ip(ip("192.0.2.9"), ip("192.0.2.1"), Blob(20), {.protocol = 6}))});
  // The port of a tunnel listens on its outside alone.
  expect_drop(
      DropReason::LocalUnwanted,
      {.bytes = pair.from_host_a(make_udp(ip("10.0.0.2"), ip("10.0.0.1"), 1, 51820, Blob(32)))}, 1);
  // ICMPv6 in IPv4 is nothing.
  expect_drop(DropReason::LocalUnwanted,
              {.bytes = outside_frame(
                   make_ip(ip("192.0.2.9"), ip("192.0.2.1"), Blob(20), {.protocol = 58}))});
}

TEST_F(Parse, ArpGoesToTheSessionThread) {
  Blob arp(14 + 28, 0);
  std::fill(arp.begin(), arp.begin() + 6, uint8_t{0xff});
  arp[12] = 0x08;
  arp[13] = 0x06;
  expect_punt(PuntKind::Arp, arp);
  expect_punt(PuntKind::Arp, arp, 1);
}

TEST_F(Parse, IcmpForOwnAddressesGoesToTheSessionThread) {
  expect_punt(PuntKind::PortIcmp,
              outside_frame(make_ip(ip("192.0.2.9"), ip("192.0.2.1"), Blob(8), {.protocol = 1})));
  expect_punt(PuntKind::PortIcmp, outside_frame(make_ip(ip("2001:db8::9"), ip("2001:db8::1"),
                                                        Blob(8), {.protocol = 58})));
  // The link-local address of the MAC 02:00:00:00:00:a0.
  expect_punt(PuntKind::PortIcmp, outside_frame(make_ip(ip("fe80::9"), ip("fe80::ff:fe00:a0"),
                                                        Blob(8), {.protocol = 58})));
  expect_punt(PuntKind::PortIcmp,
              outside_frame(make_ip(ip("fe80::9"), ip("ff02::1"), Blob(8), {.protocol = 58})));
}

TEST_F(Parse, SolicitationsOfOwnAddressesGoToTheSessionThread) {
  expect_punt(PuntKind::PortIcmp, solicitation("2001:db8::1", "ff02::1:ff00:1"));
  expect_punt(PuntKind::PortIcmp, solicitation("fe80::ff:fe00:a0", "ff02::1:ff00:a0"));
}

TEST_F(Parse, HandshakeMessagesGoToTheSessionThread) {
  for (const auto& [type, length] : {std::pair<uint8_t, size_t>{1, 148}, {2, 92}, {3, 64}}) {
    Blob message(length, 0x55);
    message[0] = type;
    message[1] = message[2] = message[3] = 0;
    for (const bool v6 : {false, true}) {
      const Turn turn =
          pair.a.receive(0, {outside_frame(v6 ? own_udp6(message) : own_udp(message))});
      ASSERT_EQ(turn.punts.size(), 1u);
      const publish::PuntHeader& header = turn.punts[0].header;
      EXPECT_EQ(header.kind, PuntKind::Handshake);
      EXPECT_EQ(header.tunnel, 0);
      EXPECT_EQ(header.port, 0);
      EXPECT_EQ(header.remote, (Endpoint{ip(v6 ? "2001:db8::9" : "192.0.2.9"), 1234}));
      EXPECT_EQ(header.local, ip(v6 ? "2001:db8::1" : "192.0.2.1"));
      EXPECT_EQ(turn.punts[0].bytes, message);
    }
    message.push_back(0);
    expect_drop(DropReason::MessageInvalid, {.bytes = outside_frame(own_udp(message))});
  }
}

TEST_F(Parse, MessageInvalid) {
  Blob message(64, 0);
  expect_drop(DropReason::MessageInvalid, {.bytes = outside_frame(own_udp(message))});
  message[0] = 4;
  message[2] = 1;
  expect_drop(DropReason::MessageInvalid, {.bytes = outside_frame(own_udp(message))});
  message[2] = 0;
  message.resize(31);
  expect_drop(DropReason::MessageInvalid, {.bytes = outside_frame(own_udp(message))});
  expect_drop(DropReason::MessageInvalid, {.bytes = outside_frame(own_udp({}))});
}

// Whoever floods from afar must not keep the next hops from being found, nor handshakes from those that ping.
TEST_F(Parse, AFloodOfOneKindLeavesRoomInTheRingForWhatMattersMore) {
  Blob arp(14 + 28, 0xff);
  arp[12] = 0x08;
  arp[13] = 0x06;
  Blob solicitation(32);
  solicitation[0] = 135;
  const Blob nd = outside_frame(
      make_ip(ip("2001:db8::9"), ip("2001:db8::1"), solicitation, {.protocol = 58, .ttl = 255}));
  const Blob far_nd = outside_frame(
      make_ip(ip("2001:db8::9"), ip("2001:db8::1"), solicitation, {.protocol = 58, .ttl = 254}));
  Blob message(148, 0);
  message[0] = 1;
  const Blob handshake = outside_frame(own_udp(message));
  const Blob ping =
      outside_frame(make_ip(ip("192.0.2.9"), ip("192.0.2.1"), Blob(16), {.protocol = 1}));
  const auto flood = [&](const Blob& frame) {
    uint64_t taken = 0;
    for (uint32_t i = 0; i < publish::kPuntSlots; ++i) taken += punted_and_left(frame) ? 1 : 0;
    return taken;
  };
  EXPECT_GT(flood(ping), 0u);
  EXPECT_FALSE(punted_and_left(far_nd));  // no neighbour: it was forwarded (RFC 4861, 7.1.1)
  EXPECT_GT(flood(handshake), 0u);
  EXPECT_GT(flood(arp), 0u);
  ASSERT_NE(pair.a.workers[0]->door.punt.front(), nullptr);
  for (int i = 0; i < 16; ++i) pair.a.workers[0]->door.punt.pop();
  EXPECT_FALSE(punted_and_left(ping));
  EXPECT_FALSE(punted_and_left(handshake));
  EXPECT_TRUE(punted_and_left(nd));
  EXPECT_TRUE(punted_and_left(arp));
}

TEST_F(Parse, PuntRingFull) {
  Blob arp(14 + 28, 0xff);
  arp[12] = 0x08;
  arp[13] = 0x06;
  publish::PuntRing& ring = pair.a.workers[0]->door.punt;
  uint64_t full = 0;
  Output output;
  for (uint32_t i = 0; i < publish::kPuntSlots; ++i) {
    Blob copy = arp;
    Packet packet{.data = copy.data(), .length_bytes = static_cast<uint16_t>(copy.size())};
    output.done_count = 0;
    pair.a.workers[0]->pipeline.receive(pair.a.snapshot, pair.a.now, 0, {&packet, 1}, output);
    EXPECT_EQ(output.done_count, 1u);
  }
  full =
      pair.a.workers[0]->door.counters.drops[static_cast<size_t>(DropReason::PuntRingFull)].value();
  EXPECT_GT(full, 0u);
  EXPECT_EQ(ring.waiting() + full, publish::kPuntSlots);
}

}  // namespace
}  // namespace turnpike::pipeline::test

// Packets of a host behind one gateway to a host behind another: every family inside and outside.
#include <gtest/gtest.h>

#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

// Inner and outer family.
class AnyFamilies : public testing::TestWithParam<std::tuple<Family, Family>> {
 protected:
  const Family inner = std::get<0>(GetParam());
  Pair pair{std::get<1>(GetParam())};
  const size_t header = inner == Family::V4 ? 20 : 40;
  const size_t outer_header = pair.outer == Family::V4 ? 20 : 40;
};

INSTANTIATE_TEST_SUITE_P(Mix, AnyFamilies,
                         testing::Combine(testing::Values(Family::V4, Family::V6),
                                          testing::Values(Family::V4, Family::V6)));

TEST_P(AnyFamilies, APacketArrivesAsItWasSentButForOneHopOnEachGateway) {
  for (const size_t payload : {0ul, 1ul, 15ul, 16ul, 44ul, 1000ul, 1420 - header}) {
    const Blob packet = pair.a_to_b(inner, payload);
    const Turn out = pair.a.receive(pair.inside, {pair.from_host_a(packet)});
    ASSERT_EQ(out.sent.size(), 1u) << payload;
    EXPECT_EQ(out.sent[0].port, pair.outside);
    EXPECT_EQ(out.dropped(), 0u);
    const Turn in = pair.b.receive(pair.outside, {out.sent[0].frame});
    ASSERT_EQ(in.sent.size(), 1u) << payload;
    EXPECT_EQ(in.sent[0].port, pair.inside);
    EXPECT_EQ(in.sent[0].frame, make_frame(kHostB, kInsideB, after_hop(after_hop(packet))));
    EXPECT_FALSE(in.sent[0].offload);
    EXPECT_TRUE(in.punts.empty() && in.events.empty());
  }
}

TEST_P(AnyFamilies, TheOuterHeadersAreRight) {
  const Blob frame = pair.sealed_by_a(pair.a_to_b(inner, 100 - header));
  const size_t message = 32 + 112;  // padded to 16
  ASSERT_EQ(frame.size(), 14 + outer_header + 8 + message);
  EXPECT_EQ(Blob(frame.begin(), frame.begin() + 6),
            Blob(kOutsideB.bytes.begin(), kOutsideB.bytes.end()));
  EXPECT_EQ(Blob(frame.begin() + 6, frame.begin() + 12),
            Blob(kOutsideA.bytes.begin(), kOutsideA.bytes.end()));
  const Blob packet = without_ethernet(frame);
  if (pair.outer == Family::V4) {
    EXPECT_EQ(get16(frame, 12), 0x0800u);
    EXPECT_EQ(packet[0], 0x45);
    EXPECT_EQ(get16(packet, 2), packet.size());
    EXPECT_EQ(get16(packet, 6), 0u) << "DF is clear: the packet may be fragmented";
    EXPECT_EQ(packet[8], 64);
    EXPECT_EQ(plain_sum(packet, 0, 20), 0xffffu);
  } else {
    EXPECT_EQ(get16(frame, 12), 0x86ddu);
    EXPECT_EQ(packet[0], 0x60);
    EXPECT_EQ(get16(packet, 4), packet.size() - 40);
    EXPECT_EQ(packet[7], 64);
  }
  EXPECT_EQ(get16(packet, outer_header), 51820u);
  EXPECT_EQ(get16(packet, outer_header + 2), 51821u);
  EXPECT_EQ(get16(packet, outer_header + 4), packet.size() - outer_header);
  EXPECT_NE(get16(packet, outer_header + 6), 0u);
  EXPECT_EQ(transport_sum(packet, outer_header, 17), 0xffffu);
}

TEST_P(AnyFamilies, APortThatOffersChecksumsGetsThePseudoHeader) {
  pair.a.shared.offloads[pair.outside] = {.ipv4_checksum = true, .udp_checksum = true};
  pair.a.workers[0] =
      std::make_unique<Gateway::Worker>(pair.a, crypto::make_aead(crypto::AeadBackend::Auto));
  const Turn turn = pair.a.receive(pair.inside, {pair.from_host_a(pair.a_to_b(inner, 60))});
  ASSERT_EQ(turn.sent.size(), 1u);
  EXPECT_TRUE(turn.sent[0].offload);
  Blob packet = without_ethernet(turn.sent[0].frame);
  if (pair.outer == Family::V4) {
    EXPECT_EQ(get16(packet, 10), 0u);
  }
  // What the port adds: the sum over the datagram, the field's part included.
  const unsigned rest = plain_sum(packet, outer_header, packet.size() - outer_header);
  put16(packet, outer_header + 6, ~rest & 0xffff);
  EXPECT_EQ(transport_sum(packet, outer_header, 17), 0xffffu);
}

TEST_P(AnyFamilies, FullBurstsKeepTheirOrder) {
  std::vector<Blob> frames;
  std::vector<Blob> expected;
  for (size_t i = 0; i < kBurstMax; ++i) {
    const Blob packet = pair.a_to_b(inner, i * 17);
    frames.push_back(pair.from_host_a(packet));
    expected.push_back(make_frame(kHostB, kInsideB, after_hop(after_hop(packet))));
  }
  const Turn out = pair.a.receive(pair.inside, frames);
  ASSERT_EQ(out.sent.size(), kBurstMax);
  std::vector<Blob> wire;
  for (const Sent& sent : out.sent) wire.push_back(sent.frame);
  const Turn in = pair.b.receive(pair.outside, wire);
  ASSERT_EQ(in.sent.size(), kBurstMax);
  for (size_t i = 0; i < kBurstMax; ++i) EXPECT_EQ(in.sent[i].frame, expected[i]) << i;
}

TEST_P(AnyFamilies, PaddingIsZeroToSixteenButNeverBeyondTheMtu) {
  for (const uint16_t mtu : {1299, 1300, 1420}) {
    pair.a.snapshot.tunnels[0].mtu_bytes = mtu;
    for (size_t total = mtu - 20u; total <= mtu; ++total) {
      const Blob frame = pair.sealed_by_a(pair.a_to_b(inner, total - header));
      const size_t text = frame.size() - 14 - outer_header - 8 - 32;
      EXPECT_EQ(text, std::min<size_t>(mtu, (total + 15) / 16 * 16)) << mtu << " " << total;
      const Turn in = pair.b.receive(pair.outside, {frame});
      ASSERT_EQ(in.sent.size(), 1u);
      EXPECT_EQ(in.sent[0].frame.size(), 14 + total);
    }
  }
}

TEST_P(AnyFamilies, EcnIsCarriedBothWaysAndDscpStaysInside) {
  // RFC 6040, 4.1 and 4.2: what the path makes of the outer field on the way, and what comes out.
  constexpr int kDropped = -1;
  // [inner][outer as it arrives], in the order not-ECT, ECT(1), ECT(0), CE.
  constexpr int kResult[4][4] = {{0, 0, 0, kDropped}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
  for (unsigned sent = 0; sent < 4; ++sent) {
    for (unsigned arrives = 0; arrives < 4; ++arrives) {
      const auto tos = static_cast<uint8_t>(0xb8 | sent);
      const Blob original = pair.a_to_b(inner, 64, {.tos = tos});
      Blob frame = pair.sealed_by_a(original);
      const bool v4 = pair.outer == Family::V4;
      const unsigned outer_tos = v4 ? frame[15] : (frame[14] << 4 | frame[15] >> 4) & 0xff;
      EXPECT_EQ(outer_tos, sent) << "ECN copied, DSCP zero";
      if (v4) {
        frame[15] = static_cast<uint8_t>(arrives);
        put16(frame, 24, 0);
        put16(frame, 24, ~plain_sum(frame, 14, 20) & 0xffff);
      } else {
        frame[15] = static_cast<uint8_t>((frame[15] & 0x0f) | arrives << 4);
      }
      const Turn in = pair.b.receive(pair.outside, {frame});
      if (kResult[sent][arrives] == kDropped) {
        EXPECT_EQ(in.drops_of(DropReason::EcnInvalid), 1u);
        continue;
      }
      ASSERT_EQ(in.sent.size(), 1u);
      const auto result = static_cast<uint8_t>(0xb8 | kResult[sent][arrives]);
      EXPECT_EQ(in.sent[0].frame,
                make_frame(kHostB, kInsideB,
                           after_hop(after_hop(pair.a_to_b(inner, 64, {.tos = result})))));
    }
  }
}

TEST(TwoGateways, BothWaysAndMixedFamiliesInOneBurst) {
  Pair pair(Family::V6);
  const Turn a = pair.a.receive(pair.inside, {pair.from_host_a(pair.a_to_b(Family::V4, 10)),
                                              pair.from_host_a(pair.a_to_b(Family::V6, 20)),
                                              pair.from_host_a(pair.a_to_b(Family::V4, 30))});
  ASSERT_EQ(a.sent.size(), 3u);
  const Turn b = pair.b.receive(pair.outside, {a.sent[0].frame, a.sent[1].frame, a.sent[2].frame});
  EXPECT_EQ(b.sent.size(), 3u);
  const Turn back = pair.b.receive(pair.inside, {pair.from_host_b(pair.b_to_a(Family::V6, 10))});
  ASSERT_EQ(back.sent.size(), 1u);
  EXPECT_EQ(pair.a.receive(pair.outside, {back.sent[0].frame}).sent.size(), 1u);
}

TEST(TwoGateways, LinkPaddingBehindAShortPacketIsTrimmed) {
  Pair pair;
  Blob inner = pair.from_host_a(pair.a_to_b(Family::V4, 6));
  inner.resize(60, 0xee);
  const Turn out = pair.a.receive(pair.inside, {inner});
  ASSERT_EQ(out.sent.size(), 1u);
  Blob wire = out.sent[0].frame;
  wire.insert(wire.end(), 9, 0xee);
  const Turn in = pair.b.receive(pair.outside, {wire});
  ASSERT_EQ(in.sent.size(), 1u);
  EXPECT_EQ(in.sent[0].frame.size(), 14u + 26);
}

TEST(TwoGateways, CountersAndTimesAreKept) {
  Pair pair;
  const Blob wire = pair.sealed_by_a(pair.a_to_b(Family::V4, 80));
  const auto& sender = pair.a.peers[0].activity;
  EXPECT_EQ(sender.tx_bytes.load(), 32u + 112);
  EXPECT_EQ(sender.last_sent.load(), kStart.nanoseconds);
  EXPECT_EQ(sender.unacknowledged_since.load(), kStart.nanoseconds);
  pair.b.peers[0].activity.unacknowledged_since.store(5);
  EXPECT_EQ(pair.b.receive(pair.outside, {wire}).sent.size(), 1u);
  const auto& receiver = pair.b.peers[0].activity;
  EXPECT_EQ(receiver.rx_bytes.value(), 32u + 112);
  EXPECT_EQ(receiver.last_received.load(), kStart.nanoseconds);
  EXPECT_EQ(receiver.unanswered_since.load(), kStart.nanoseconds);
  EXPECT_EQ(receiver.unacknowledged_since.load(), 0u);
  // An answer settles what was unanswered.
  pair.b.now = kStart + 1s;
  EXPECT_EQ(pair.b.receive(pair.inside, {pair.from_host_b(pair.b_to_a(Family::V4, 5))}).sent.size(),
            1u);
  EXPECT_EQ(receiver.unanswered_since.load(), 0u);
  EXPECT_EQ(receiver.unacknowledged_since.load(), (kStart + 1s).nanoseconds);

  const publish::Counters& counters = pair.b.workers[0]->door.counters;
  EXPECT_EQ(counters.tunnels[0].inbound_packets.value(), 1u);
  EXPECT_EQ(counters.tunnels[0].inbound_bytes.value(), 100u);
  EXPECT_EQ(counters.tunnels[0].outbound_packets.value(), 1u);
  EXPECT_EQ(counters.tunnels[0].outbound_bytes.value(), 25u);
  EXPECT_EQ(counters.ports[pair.outside].rx_packets.value(), 1u);
  EXPECT_EQ(counters.ports[pair.outside].rx_bytes.value(), wire.size());
}

}  // namespace
}  // namespace turnpike::pipeline::test

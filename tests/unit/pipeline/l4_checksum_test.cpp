// What senders left to a device is finished as they would have done it, and nothing else is touched.
#include "dataplane/pipeline/l4_checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17;

// A packet whose sender left the checksum to a device, and as it should become.
struct Case {
  Blob unfinished, finished;
};

[[nodiscard]] size_t field_of(uint8_t protocol) { return protocol == kTcp ? 16 : 6; }

// The sum of the pseudo-header alone: `last` is the destination's address in it.
[[nodiscard]] unsigned pseudo_sum(const Blob& packet, const Blob& last, unsigned protocol,
                                  size_t bytes) {
  const bool v4 = packet.at(0) >> 4 == 4;
  Blob rest(4);
  put16(rest, 0, static_cast<unsigned>(bytes));
  put16(rest, 2, protocol);
  unsigned sum = plain_sum(packet, v4 ? 12 : 8, v4 ? 4 : 16);
  sum = plain_sum(last, 0, last.size(), sum);
  return plain_sum(rest, 0, 4, sum);
}

// `packet` with L4 from `at` on, of `bytes`; checksums in it do not matter.
[[nodiscard]] Case make_case(Blob packet, size_t at, size_t bytes, uint8_t protocol,
                             const Blob& last) {
  const size_t field = at + field_of(protocol);
  const unsigned pseudo = pseudo_sum(packet, last, protocol, bytes);
  put16(packet, field, pseudo);
  Case made{.unfinished = packet, .finished = packet};
  put16(made.finished, field, 0);
  const unsigned sum = ~plain_sum(made.finished, at, bytes, pseudo) & 0xffff;
  put16(made.finished, field, protocol == kUdp && sum == 0 ? 0xffff : sum);
  return made;
}

[[nodiscard]] Blob destination_of(const Blob& packet) {
  const bool v4 = packet.at(0) >> 4 == 4;
  return v4 ? Blob(packet.begin() + 16, packet.begin() + 20)
            : Blob(packet.begin() + 24, packet.begin() + 40);
}

[[nodiscard]] Case make_case(const Blob& packet, size_t at, uint8_t protocol) {
  return make_case(packet, at, packet.size() - at, protocol, destination_of(packet));
}

[[nodiscard]] Blob l4(uint8_t protocol, size_t payload) {
  Blob bytes((protocol == kTcp ? 20u : 8u) + payload);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(7 * i + 3);
  if (protocol == kUdp) put16(bytes, 4, static_cast<unsigned>(bytes.size()));
  return bytes;
}

[[nodiscard]] Blob packet_of(Family family, uint8_t protocol, size_t payload) {
  const bool v4 = family == Family::V4;
  return make_ip(ip(v4 ? "10.0.0.2" : "fd00:a::2"), ip(v4 ? "10.1.0.2" : "fd00:b::2"),
                 l4(protocol, payload), {.protocol = protocol});
}

// On the heap and of just this size, so that ASan sees a step beyond.
[[nodiscard]] Blob finished(const Blob& packet) {
  Blob exact(packet);
  exact.shrink_to_fit();
  finish_l4_checksum(exact);
  return exact;
}

void expect_untouched(const Blob& packet) { EXPECT_EQ(finished(packet), packet); }

// IPv4 options in front of what is behind the first 20 bytes.
[[nodiscard]] Blob with_options(Blob packet, size_t bytes) {
  packet.insert(packet.begin() + 20, bytes, uint8_t{1});
  packet[0] = static_cast<uint8_t>(0x45 + bytes / 4);
  put16(packet, 2, static_cast<unsigned>(packet.size()));
  return packet;
}

// An extension header of `type` in front of what is behind the first 40 bytes.
[[nodiscard]] Blob with_extension(Blob packet, uint8_t type, size_t eights = 1,
                                  uint8_t segments_left = 0) {
  Blob header(8 * eights, 0);
  header[0] = packet[6];
  header[1] = static_cast<uint8_t>(eights - 1);
  header[3] = segments_left;
  packet[6] = type;
  packet.insert(packet.begin() + 40, header.begin(), header.end());
  put16(packet, 4, static_cast<unsigned>(packet.size() - 40));
  return packet;
}

TEST(L4Checksum, KnownDatagram) {
  // 10.0.0.1:1000 to 10.0.0.2:2000, "abc": words 0x141f + 0x0bc3 + 0xc462 = 0xe444 on paper.
  Blob packet = {0x45, 0, 0, 31, 0,    0,    0,    0,    64, 17, 0x66, 0xcc, 10,   0,    0,   1,
                 10,   0, 0, 2,  0x03, 0xe8, 0x07, 0xd0, 0,  11, 0x14, 0x1f, 0x61, 0x62, 0x63};
  Blob wanted = packet;
  put16(wanted, 26, 0x1bbb);
  EXPECT_EQ(finished(packet), wanted);
}

TEST(L4Checksum, EveryLengthOfBothProtocolsAndFamilies) {
  for (const Family family : {Family::V4, Family::V6}) {
    for (const uint8_t protocol : {kTcp, kUdp}) {
      for (size_t payload = 0; payload < 400; payload += payload < 70 ? 1 : 33) {
        const Case made = make_case(packet_of(family, protocol, payload),
                                    family == Family::V4 ? 20 : 40, protocol);
        EXPECT_EQ(finished(made.unfinished), made.finished) << payload;
        // Once more is once too often.
        EXPECT_EQ(finished(made.finished), made.finished) << payload;
      }
    }
  }
}

TEST(L4Checksum, BehindIpv4Options) {
  for (const size_t options : {4u, 40u}) {
    const Case made =
        make_case(with_options(packet_of(Family::V4, kTcp, 9), options), 20 + options, kTcp);
    EXPECT_EQ(finished(made.unfinished), made.finished);
  }
}

TEST(L4Checksum, BehindExtensionHeaders) {
  Blob packet = with_extension(packet_of(Family::V6, kUdp, 9), 60, 3);
  packet = with_extension(packet, 43, 2);
  packet = with_extension(packet, 0);
  const Case made = make_case(packet, 40 + 48, kUdp);
  EXPECT_EQ(finished(made.unfinished), made.finished);
}

TEST(L4Checksum, BehindEightExtensionHeadersAndNoMore) {
  Blob packet = packet_of(Family::V6, kUdp, 9);
  for (int i = 0; i < 8; ++i) packet = with_extension(packet, 60);
  const Case made = make_case(packet, 40 + 64, kUdp);
  EXPECT_EQ(finished(made.unfinished), made.finished);
  expect_untouched(make_case(with_extension(packet, 60), 40 + 72, kUdp).unfinished);
}

TEST(L4Checksum, ARoutingHeaderHasTheDestinationThatCounts) {
  const Blob packet = with_extension(packet_of(Family::V6, kTcp, 9), 43, 3, 1);
  const Blob last(packet.begin() + 48, packet.begin() + 64);
  const Case made = make_case(packet, 64, packet.size() - 64, kTcp, last);
  EXPECT_EQ(finished(made.unfinished), made.finished);
}

TEST(L4Checksum, BehindARoutingHeaderUdpWithoutAChecksumStays) {
  Blob packet = with_extension(packet_of(Family::V6, kUdp, 9), 43, 3, 1);
  put16(packet, 64 + 6, 0);
  expect_untouched(packet);
}

TEST(L4Checksum, UdpNeverSendsZero) {
  Blob packet = packet_of(Family::V4, kUdp, 4);
  // Data that make the sum come out as zero.
  put16(packet, 28, 0);
  const Case before = make_case(packet, 20, kUdp);
  put16(packet, 28, get16(before.finished, 26));
  const Case made = make_case(packet, 20, kUdp);
  EXPECT_EQ(get16(made.finished, 26), 0xffffu);
  EXPECT_EQ(finished(made.unfinished), made.finished);
}

TEST(L4Checksum, OnlyTheDatagramIsCovered) {
  // Bytes behind the datagram, and behind the packet (padding of the link).
  Blob packet = packet_of(Family::V4, kUdp, 20);
  put16(packet, 24, 8 + 11);
  Case made = make_case(packet, 20, 8 + 11, kUdp, destination_of(packet));
  EXPECT_EQ(finished(made.unfinished), made.finished);
  made = make_case(packet_of(Family::V6, kTcp, 3), 40, kTcp);
  append(made.unfinished, Blob(5, 0xee));
  append(made.finished, Blob(5, 0xee));
  EXPECT_EQ(finished(made.unfinished), made.finished);
}

TEST(L4Checksum, WhatIsNotUnfinishedStays) {
  expect_untouched({});
  expect_untouched(make_udp(ip("10.0.0.2"), ip("10.1.0.2"), 1, 2, Blob(20, 5)));
  Blob without = packet_of(Family::V4, kUdp, 20);
  put16(without, 26, 0);
  expect_untouched(without);
  for (const uint8_t protocol : {1, 50, 132}) {
    expect_untouched(make_ip(ip("10.0.0.2"), ip("10.1.0.2"), Blob(40, 9), {.protocol = protocol}));
    expect_untouched(make_ip(ip("fd00::2"), ip("fd00::3"), Blob(40, 9), {.protocol = protocol}));
  }
}

TEST(L4Checksum, FragmentsStay) {
  const Blob whole = make_case(packet_of(Family::V4, kUdp, 40), 20, kUdp).unfinished;
  for (const unsigned offset : {0x2000u, 0x0001u, 0x2005u}) {
    Blob fragment = whole;
    put16(fragment, 6, offset);
    expect_untouched(fragment);
  }
  expect_untouched(
      make_case(with_extension(packet_of(Family::V6, kUdp, 40), 44), 48, kUdp).unfinished);
}

TEST(L4Checksum, HeadersThatLieAboutLengthsHarmNothing) {
  const auto everywhere = [](const Case& made, size_t header, size_t smallest) {
    for (size_t bytes = 0; bytes < made.unfinished.size(); ++bytes) {
      // Cut off without a word, and with headers that agree.
      Blob cut(made.unfinished.begin(), made.unfinished.begin() + static_cast<long>(bytes));
      expect_untouched(cut);
      if (bytes < header || bytes >= header + smallest) continue;
      const bool v4 = cut[0] >> 4 == 4;
      put16(cut, v4 ? 2 : 4, static_cast<unsigned>(v4 ? bytes : bytes - 40));
      expect_untouched(cut);
    }
  };
  everywhere(make_case(packet_of(Family::V4, kTcp, 5), 20, kTcp), 20, 20);
  everywhere(make_case(packet_of(Family::V6, kTcp, 5), 40, kTcp), 40, 20);
  everywhere(make_case(packet_of(Family::V4, kUdp, 5), 20, kUdp), 20, 13);
  everywhere(make_case(packet_of(Family::V6, kUdp, 5), 40, kUdp), 40, 13);
  for (const unsigned length : {0u, 7u, 14u, 0xffffu}) {
    Blob packet = make_case(packet_of(Family::V4, kUdp, 5), 20, kUdp).unfinished;
    put16(packet, 24, length);
    expect_untouched(packet);
  }
  Blob packet = with_extension(packet_of(Family::V6, kTcp, 5), 60);
  packet[41] = 255;  // 2 KiB of it
  expect_untouched(packet);
  packet = make_ip(ip("fd00::2"), ip("fd00::3"), Blob(7, 0), {.protocol = 0});
  expect_untouched(packet);
  packet = make_ip(ip("fd00::2"), ip("fd00::3"), Blob(800, 0), {.protocol = 0});  // without end
  expect_untouched(packet);
}

TEST(L4Checksum, LikeTheNaiveModelForRandomPackets) {
  const char* given = std::getenv("TURNPIKE_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](size_t n) { return random() % n; };
  for (int i = 0; i < 20'000; ++i) {
    const bool v4 = below(2) == 0;
    const uint8_t protocol = below(2) == 0 ? kTcp : kUdp;
    Blob packet = packet_of(v4 ? Family::V4 : Family::V6, protocol, below(1400));
    size_t at = v4 ? 20 : 40;
    for (size_t b = at; b < packet.size(); ++b) packet[b] = static_cast<uint8_t>(random());
    if (protocol == kUdp) put16(packet, at + 4, static_cast<unsigned>(packet.size() - at));
    if (v4) {
      const size_t options = 4 * below(11);
      packet = with_options(packet, options);
      at += options;
    } else {
      static constexpr uint8_t kTypes[] = {0, 43, 60};
      for (size_t left = below(4); left-- > 0;) {
        const size_t eights = 1 + below(4);
        packet = with_extension(packet, kTypes[below(3)], eights);
        at += 8 * eights;
      }
    }
    const Case made = make_case(packet, at, protocol);
    ASSERT_EQ(finished(made.unfinished), made.finished) << "seed " << seed << " round " << i;
    // Spoilt it may be finished or not, but nothing else than one field changes.
    Blob spoilt = made.unfinished;
    for (size_t n = 1 + below(3); n-- > 0;)
      spoilt[below(std::min(at + 20, spoilt.size()))] = static_cast<uint8_t>(random());
    spoilt.resize(below(4) == 0 ? below(spoilt.size()) : spoilt.size());
    const Blob after = finished(spoilt);
    size_t first = after.size(), last = 0;
    for (size_t b = 0; b < after.size(); ++b) {
      if (after[b] == spoilt[b]) continue;
      first = std::min(first, b);
      last = b;
    }
    ASSERT_TRUE(first == after.size() || last - first < 2) << "seed " << seed << " round " << i;
  }
}

// ---- in the pipeline

class Unfinished : public testing::TestWithParam<Family> {
 protected:
  [[nodiscard]] Case a_to_b(uint8_t protocol, size_t payload = 60) const {
    return make_case(packet_of(GetParam(), protocol, payload), GetParam() == Family::V4 ? 20 : 40,
                     protocol);
  }
  [[nodiscard]] FrameIn frame(const Blob& packet, RxChecksum said) const {
    return {.bytes = pair.from_host_a(packet), .l4_checksum = said};
  }
  Pair pair;
};

TEST_P(Unfinished, APlainPacketIsFinishedOnItsWayIntoTheTunnel) {
  for (const uint8_t protocol : {kTcp, kUdp}) {
    const Case made = a_to_b(protocol);
    // One that its sender has finished stays, and so does one of which the port says nothing.
    const std::vector<FrameIn> frames = {frame(made.finished, RxChecksum::Good),
                                         frame(made.unfinished, RxChecksum::Unfinished),
                                         frame(made.unfinished, RxChecksum::Unknown)};
    const Turn sealed = pair.a.receive(pair.inside, frames);
    ASSERT_EQ(sealed.sent.size(), 3u);
    std::vector<Blob> messages;
    for (const Sent& sent : sealed.sent) messages.push_back(sent.frame);
    const Turn opened = pair.b.receive(pair.outside, messages);
    ASSERT_EQ(opened.sent.size(), 3u);
    EXPECT_EQ(without_ethernet(opened.sent[0].frame), after_hop(after_hop(made.finished)));
    EXPECT_EQ(without_ethernet(opened.sent[1].frame), after_hop(after_hop(made.finished)));
    EXPECT_EQ(without_ethernet(opened.sent[2].frame), after_hop(after_hop(made.unfinished)));
  }
}

TEST_P(Unfinished, WhatWaitsForAHandshakeIsFinishedBefore) {
  const Case made = a_to_b(kTcp);
  pair.a.now = pair.a.now + wireguard::kRejectAfterTime + 1s;
  const Turn turn = pair.a.receive(
      pair.inside, std::vector<FrameIn>{frame(made.unfinished, RxChecksum::Unfinished)});
  ASSERT_EQ(turn.punts.size(), 1u);
  EXPECT_EQ(turn.punts[0].header.kind, publish::PuntKind::NeedsHandshake);
  EXPECT_EQ(turn.punts[0].bytes, after_hop(made.finished));
}

TEST(UnfinishedIpv4, WhatIsToBeFragmentedIsFinishedBefore) {
  Pair pair;
  const Case made = make_case(packet_of(Family::V4, kUdp, 1'400), 20, kUdp);
  const Turn turn =
      pair.a.receive(pair.inside, std::vector<FrameIn>{{.bytes = pair.from_host_a(made.unfinished),
                                                        .l4_checksum = RxChecksum::Unfinished}});
  ASSERT_EQ(turn.punts.size(), 1u);
  EXPECT_EQ(turn.punts[0].header.kind, publish::PuntKind::NeedsFragments);
  EXPECT_EQ(turn.punts[0].bytes, after_hop(made.finished));
}

TEST_P(Unfinished, AMessageForATunnelIsTaken) {
  Blob message = pair.sealed_by_a(pair.a_to_b(GetParam(), 60));
  ASSERT_NE(get16(message, 14 + 26), 0u);
  put16(message, 14 + 26,
        pseudo_sum(without_ethernet(message), destination_of(without_ethernet(message)), kUdp,
                   message.size() - 34));
  EXPECT_EQ(pair.b.receive(pair.outside, {message}).drops_of(DropReason::UdpInvalid), 1u);
  // One alone goes the long way; of several the second is compared with the first.
  const FrameIn said{.bytes = message, .l4_checksum = RxChecksum::Unfinished};
  EXPECT_EQ(pair.b.receive(pair.outside, std::vector<FrameIn>{said}).sent.size(), 1u);
  const Turn again = pair.b.receive(pair.outside, std::vector<FrameIn>{said, said});
  EXPECT_EQ(again.drops_of(DropReason::ReplayedCounter), 2u);
}

// Drivers that could not look at a checksum say the same.
TEST_P(Unfinished, AMessageWithNeitherSumIsDropped) {
  Blob message = pair.sealed_by_a(pair.a_to_b(GetParam(), 60));
  const FrameIn whole{.bytes = message, .l4_checksum = RxChecksum::Unfinished};
  message[14 + 26] ^= 1;
  const FrameIn damaged{.bytes = message, .l4_checksum = RxChecksum::Unfinished};
  EXPECT_EQ(
      pair.b.receive(pair.outside, std::vector<FrameIn>{damaged}).drops_of(DropReason::UdpInvalid),
      1u);
  const Turn turn = pair.b.receive(pair.outside, std::vector<FrameIn>{whole, damaged});
  EXPECT_EQ(turn.drops_of(DropReason::UdpInvalid), 1u);
  EXPECT_EQ(turn.sent.size(), 1u);
}

// The inner packet of a message: what was said of the outer checksum is no word about its own.
TEST_P(Unfinished, APacketOutOfATunnelStays) {
  const Case made = a_to_b(kTcp);
  const Turn turn =
      pair.b.receive(pair.outside, std::vector<FrameIn>{{.bytes = pair.sealed_by_a(made.unfinished),
                                                         .l4_checksum = RxChecksum::Unfinished}});
  ASSERT_EQ(turn.sent.size(), 1u);
  EXPECT_EQ(without_ethernet(turn.sent[0].frame), after_hop(after_hop(made.unfinished)));
}

INSTANTIATE_TEST_SUITE_P(Families, Unfinished, testing::Values(Family::V4, Family::V6));

}  // namespace
}  // namespace turnpike::pipeline::test

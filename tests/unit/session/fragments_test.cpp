// Fragments are put together again by a receiver that knows RFC 791 and nothing else of ours.
#include "control/session/fragments.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "gateway.h"

namespace turnpike::session {
namespace {

using testing::ip;

Packet packet_of(size_t payload_bytes, std::initializer_list<uint8_t> options = {},
                 uint16_t flags_and_offset = 0) {
  Packet packet = make_ip_packet({.source = ip("10.0.0.2"),
                                  .destination = ip("10.8.0.2"),
                                  .protocol = kProtocolUdp,
                                  .identification = 0x1234},
                                 payload_bytes);
  packet.insert(packet.begin() + kIpv4HeaderBytes, options);
  packet[0] = static_cast<uint8_t>(0x45 + options.size() / 4);
  store_be16(&packet[2], static_cast<uint16_t>(packet.size()));
  store_be16(&packet[6], flags_and_offset);
  std::mt19937_64 random(payload_bytes);
  for (size_t i = packet.size() - payload_bytes; i < packet.size(); ++i) {
    packet[i] = static_cast<uint8_t>(random());
  }
  const size_t header = kIpv4HeaderBytes + options.size();
  store_be16(&packet[10], 0);
  store_be16(&packet[10], internet_checksum(Bytes(packet).first(header)));
  return packet;
}

std::vector<Packet> fragments_of(Bytes packet, size_t mtu) {
  std::vector<Packet> fragments;
  EXPECT_TRUE(
      for_each_fragment(packet, mtu, [&](Bytes f) { fragments.emplace_back(f.begin(), f.end()); }));
  return fragments;
}

size_t header_of(const Packet& packet) { return size_t{packet[0] & 0xfu} * 4; }

// The payload, when every byte of it is there once and only the last one says so.
std::optional<Packet> reassembled(const std::vector<Packet>& fragments) {
  std::map<size_t, Packet> pieces;
  std::optional<size_t> end;
  for (const Packet& f : fragments) {
    const size_t at = size_t{load_be16(&f[6]) & 0x1fffu} * 8;
    pieces[at] = Packet(f.begin() + static_cast<long>(header_of(f)), f.end());
    if ((load_be16(&f[6]) & 0x2000) == 0) end = at + pieces[at].size();
  }
  Packet whole;
  for (const auto& [at, piece] : pieces) {
    if (at != whole.size()) return std::nullopt;
    whole.insert(whole.end(), piece.begin(), piece.end());
  }
  return end == whole.size() ? std::optional(whole) : std::nullopt;
}

TEST(Fragments, OfEveryLengthAndMtuMakeThePacketAgain) {
  for (const size_t mtu : {28u, 68u, 576u, 1299u, 1300u, 1420u}) {
    for (const size_t payload : {0u, 1u, 8u, 547u, 556u, 1279u, 1280u, 1281u, 1472u, 8972u}) {
      SCOPED_TRACE(::testing::Message() << payload << " bytes over " << mtu);
      const Packet packet = packet_of(payload);
      const auto fragments = fragments_of(packet, mtu);
      for (const Packet& f : fragments) {
        EXPECT_LE(f.size(), mtu);
        EXPECT_EQ(load_be16(&f[2]), f.size());
        EXPECT_EQ(internet_checksum(Bytes(f).first(header_of(f))), 0);
        EXPECT_EQ(load_be16(&f[4]), 0x1234);
        EXPECT_EQ(f[8], packet[8]);
        EXPECT_EQ(Packet(f.begin() + 12, f.begin() + 20),
                  Packet(packet.begin() + 12, packet.begin() + 20));
      }
      EXPECT_EQ(reassembled(fragments), Packet(packet.begin() + 20, packet.end()));
    }
  }
}

TEST(Fragments, OfAFragmentKeepItsPlaceAndWhetherMoreFollow) {
  const Packet middle = packet_of(1000, {}, 0x2000 | 100);
  const auto fragments = fragments_of(middle, 576);
  ASSERT_EQ(fragments.size(), 2u);
  EXPECT_EQ(load_be16(&fragments[0][6]), 0x2000 | 100);
  EXPECT_EQ(load_be16(&fragments[1][6]), 0x2000 | (100 + 552 / 8));
  const auto last = fragments_of(packet_of(1000, {}, 100), 576);
  EXPECT_EQ(load_be16(&last[1][6]), 100 + 552 / 8);
}

TEST(Fragments, AfterTheFirstHaveOnlyTheOptionsThatAreToBeCopied) {
  // Record route (7, not copied), no operation, loose source route (0x83, copied), end.
  const Packet packet = packet_of(1000, {7, 7, 4, 0, 0, 0, 0, 1, 0x83, 7, 4, 1, 2, 3, 4, 0});
  const auto fragments = fragments_of(packet, 500);
  ASSERT_EQ(fragments.size(), 3u);
  EXPECT_EQ(header_of(fragments[0]), 36u);
  EXPECT_EQ(Packet(fragments[1].begin() + 20, fragments[1].begin() + 28),
            (Packet{0x83, 7, 4, 1, 2, 3, 4, 0}));
  EXPECT_EQ(header_of(fragments[2]), 28u);
  EXPECT_EQ(reassembled(fragments), Packet(packet.begin() + 36, packet.end()));
}

TEST(Fragments, AreNotMadeOfWhatSaysNoOrLies) {
  const auto refused = [](const Packet& packet, size_t mtu) {
    return !for_each_fragment(packet, mtu, [](Bytes) { FAIL(); });
  };
  EXPECT_TRUE(refused(packet_of(1000, {}, 0x4000), 576));
  EXPECT_TRUE(refused(packet_of(1000), 27));
  Packet longer = packet_of(1000);
  store_be16(&longer[2], 1021);
  EXPECT_TRUE(refused(longer, 576));
  EXPECT_TRUE(
      refused(make_ip_packet({.source = ip("fd00::1"), .destination = ip("fd00::2")}, 1400), 1300));
  // Any bytes at all: none read out of bounds, none loops.
  std::mt19937_64 random(11);
  for (int round = 0; round < 20'000; ++round) {
    Packet bytes = packet_of(random() % 200, {1, 1, 1, 1, 1, 1, 1, 1});
    for (int i = 0; i < 3; ++i) bytes[random() % 28] = static_cast<uint8_t>(random());
    bytes.resize(random() % (bytes.size() + 1));
    (void)for_each_fragment(bytes, 68 + random() % 100, [](Bytes f) { EXPECT_LE(f.size(), 168u); });
  }
}

}  // namespace
}  // namespace turnpike::session

#include "dataplane/pipeline/headers.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/pipeline/bytes_of.h"

namespace turnpike::pipeline::test {
namespace {

unsigned big_endian(uint16_t as_in_packet) { return byteswap16(as_in_packet); }

TEST(Checksum, ASumIsThatOfTheWordsOneByOneForEveryLengthAndAlignment) {
  std::mt19937_64 random(3);
  Blob bytes(1700);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (size_t start = 0; start < 17; ++start) {
    for (size_t length = 0; length + start <= bytes.size(); length += length < 200 ? 1 : 37) {
      // Zero and all ones are the same sum.
      EXPECT_EQ(big_endian(fold(sum_words(&bytes[start], length))) % 0xffff,
                plain_sum(bytes, start, length) % 0xffff)
          << start << " " << length;
    }
  }
}

TEST(Checksum, TheLargestSumDoesNotOverflow) {
  const Blob ones(9216, 0xff);
  EXPECT_EQ(fold(sum_words(ones.data(), ones.size())), 0xffff);
}

TEST(Checksum, AShortSumIsFoldedLikeAnyOther) {
  std::mt19937_64 random(5);
  for (const uint32_t sum : {0u, 1u, 0xffffu, 0x1'0000u, 0x1'fffeu, 0xffff'0000u, 0xffff'ffffu}) {
    EXPECT_EQ(fold_short(sum), fold(sum)) << sum;
  }
  for (int i = 0; i < 20'000; ++i) {
    const auto sum = static_cast<uint32_t>(random() >> random() % 32);
    ASSERT_EQ(fold_short(sum), fold(sum)) << sum;
  }
}

TEST(Checksum, AnUpdateIsWhatAddingAllAgainGives) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 20'000; ++i) {
    Blob header(20);
    for (uint8_t& byte : header) byte = static_cast<uint8_t>(random());
    if (i % 3 == 0) std::fill(header.begin() + 2, header.end(), uint8_t{0});
    put16(header, 10, 0);
    put16(header, 10, ~plain_sum(header, 0, 20) & 0xffff);
    const uint16_t before = load_le16(&header[8]);
    header[8] = static_cast<uint8_t>(random());
    store_le16(&header[10], update_checksum(load_le16(&header[10]), before, load_le16(&header[8])));
    EXPECT_EQ(plain_sum(header, 0, 20), 0xffffu);
  }
}

TEST(Checksum, UdpNeverSendsZero) {
  EXPECT_EQ(finish_udp_checksum(0xffff), 0xffff);
  EXPECT_EQ(finish_udp_checksum(0x1234), 0xedcb);
}

TEST(Ipv4, UnicastIsWhatARouterMayForward) {
  EXPECT_FALSE(ipv4_is_unicast(0x00000000));
  EXPECT_FALSE(ipv4_is_unicast(0x00ffffff));
  EXPECT_TRUE(ipv4_is_unicast(0x01000000));
  EXPECT_TRUE(ipv4_is_unicast(0x7effffff));
  EXPECT_FALSE(ipv4_is_unicast(0x7f000001));
  EXPECT_TRUE(ipv4_is_unicast(0x80000000));
  EXPECT_TRUE(ipv4_is_unicast(0xdfffffff));
  EXPECT_FALSE(ipv4_is_unicast(0xe0000000));
  EXPECT_FALSE(ipv4_is_unicast(0xffffffff));
}

TEST(Ipv6, TheLinkLocalAddressOfAMac) {
  uint8_t bytes[16];
  const lookup::Ipv6Key key = ipv6_link_local({{0x02, 0x11, 0x22, 0x33, 0x44, 0x55}});
  store_be64(bytes, key.high);
  store_be64(bytes + 8, key.low);
  EXPECT_EQ(IpAddress::v6_bytes(bytes), ip("fe80::11:22ff:fe33:4455"));
}

TEST(Headers, ChecksTakeWhatMakePacketsMakes) {
  for (const auto& [from, to] : {std::pair{"10.0.0.1", "10.0.0.2"}, {"fd00::1", "fd00::2"}}) {
    Blob packet = make_udp(ip(from), ip(to), 1, 2, Blob(33, 7));
    EXPECT_EQ(check_ip(packet.data(), packet.size()), packet.size());
    EXPECT_EQ(check_ip(packet.data(), packet.size() + 5), packet.size());
    EXPECT_FALSE(check_ip(packet.data(), packet.size() - 1));
    EXPECT_FALSE(check_ip(packet.data(), 0));
    const size_t header = packet.size() - 41;
    EXPECT_EQ(check_udp(&packet[header], 41), 41);
    EXPECT_FALSE(check_udp(&packet[header], 40));
    EXPECT_TRUE(udp_checksum_holds(packet.data(), &packet[header], 41));
    packet.back() ^= 1;
    EXPECT_FALSE(udp_checksum_holds(packet.data(), &packet[header], 41));
    EXPECT_EQ(ip_source(packet.data()), ip(from));
    EXPECT_EQ(ip_destination(packet.data()), ip(to));
  }
}

}  // namespace
}  // namespace turnpike::pipeline::test

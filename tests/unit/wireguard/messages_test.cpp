#include "dataplane/wireguard/messages.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace turnpike::wireguard {
namespace {

std::vector<uint8_t> counting(size_t length, uint8_t type) {
  std::vector<uint8_t> bytes(length);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  for (size_t i = 0; i < 4 && i < length; ++i) bytes[i] = i == 0 ? type : 0;
  return bytes;
}

template <typename Array>
std::vector<uint8_t> as_vector(const Array& bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST(Messages, ReadEachFieldFromItsPlaceAndWriteItBack) {
  const auto initiation = counting(kInitiationBytes, 1);
  const auto parsed_initiation = parse_initiation(initiation);
  ASSERT_TRUE(parsed_initiation);
  EXPECT_EQ(parsed_initiation->sender_index, 0x07060504u);
  EXPECT_EQ(parsed_initiation->ephemeral.bytes[0], 8);
  EXPECT_EQ(parsed_initiation->encrypted_static[0], 40);
  EXPECT_EQ(parsed_initiation->encrypted_timestamp[0], 88);
  EXPECT_EQ(parsed_initiation->mac1[0], 116);
  EXPECT_EQ(parsed_initiation->mac2[0], 132);
  EXPECT_EQ(as_vector(write_initiation(*parsed_initiation)), initiation);

  const auto response = counting(kResponseBytes, 2);
  const auto parsed_response = parse_response(response);
  ASSERT_TRUE(parsed_response);
  EXPECT_EQ(parsed_response->sender_index, 0x07060504u);
  EXPECT_EQ(parsed_response->receiver_index, 0x0b0a0908u);
  EXPECT_EQ(parsed_response->ephemeral.bytes[0], 12);
  EXPECT_EQ(parsed_response->encrypted_nothing[0], 44);
  EXPECT_EQ(parsed_response->mac1[0], 60);
  EXPECT_EQ(parsed_response->mac2[0], 76);
  EXPECT_EQ(as_vector(write_response(*parsed_response)), response);

  const auto reply = counting(kCookieReplyBytes, 3);
  const auto parsed_reply = parse_cookie_reply(reply);
  ASSERT_TRUE(parsed_reply);
  EXPECT_EQ(parsed_reply->receiver_index, 0x07060504u);
  EXPECT_EQ(parsed_reply->nonce[0], 8);
  EXPECT_EQ(parsed_reply->encrypted_cookie[0], 32);
  EXPECT_EQ(as_vector(write_cookie_reply(*parsed_reply)), reply);

  const auto data = counting(64, 4);
  const auto parsed_data = parse_data(data);
  ASSERT_TRUE(parsed_data);
  EXPECT_EQ(parsed_data->receiver_index, 0x07060504u);
  EXPECT_EQ(parsed_data->counter, 0x0f0e0d0c0b0a0908u);
  std::array<uint8_t, kDataHeaderBytes> header;
  write_data_header(header, *parsed_data);
  EXPECT_EQ(as_vector(header), as_vector(Bytes(data).first(kDataHeaderBytes)));
}

TEST(Messages, AreOfExactlyTheirLength) {
  for (size_t length = 0; length <= 200; ++length) {
    EXPECT_EQ(parse_initiation(counting(length, 1)).has_value(), length == 148) << length;
    EXPECT_EQ(parse_response(counting(length, 2)).has_value(), length == 92) << length;
    EXPECT_EQ(parse_cookie_reply(counting(length, 3)).has_value(), length == 64) << length;
    EXPECT_EQ(parse_data(counting(length, 4)).has_value(), length >= 32) << length;
  }
}

TEST(Messages, AreNotWhatTheirTypeWordDoesNotSay) {
  for (unsigned type = 0; type < 256; ++type) {
    const auto t = static_cast<uint8_t>(type);
    EXPECT_EQ(parse_initiation(counting(kInitiationBytes, t)).has_value(), type == 1);
    EXPECT_EQ(parse_response(counting(kResponseBytes, t)).has_value(), type == 2);
    EXPECT_EQ(parse_cookie_reply(counting(kCookieReplyBytes, t)).has_value(), type == 3);
    EXPECT_EQ(parse_data(counting(32, t)).has_value(), type == 4);
  }
  for (size_t reserved = 1; reserved < 4; ++reserved) {
    auto initiation = counting(kInitiationBytes, 1);
    auto data = counting(32, 4);
    initiation[reserved] = data[reserved] = 1;
    EXPECT_FALSE(parse_initiation(initiation));
    EXPECT_FALSE(parse_data(data));
    EXPECT_FALSE(peek_type(data));
  }
}

TEST(PaddedBytes, IsAMultipleOfSixteenButNeverBeyondTheMtu) {
  EXPECT_EQ(padded_bytes(0, 1420), 0u);
  EXPECT_EQ(padded_bytes(1, 1420), 16u);
  EXPECT_EQ(padded_bytes(16, 1420), 16u);
  EXPECT_EQ(padded_bytes(1409, 1420), 1420u);  // 1424 is beyond
  EXPECT_EQ(padded_bytes(1420, 1420), 1420u);
  EXPECT_EQ(padded_bytes(1297, 1299), 1299u);
  EXPECT_EQ(padded_bytes(1297, 1300), 1300u);
  EXPECT_EQ(padded_bytes(1297, 1400), 1312u);
  EXPECT_EQ(padded_bytes(1500, 1420), 1500u);  // the last segment, 80 bytes, is aligned as it is
  EXPECT_EQ(padded_bytes(1501, 1420), 1516u);
  EXPECT_EQ(padded_bytes(1501, 0), 1504u);
}

}  // namespace
}  // namespace turnpike::wireguard

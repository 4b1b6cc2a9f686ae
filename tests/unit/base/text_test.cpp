#include "dataplane/base/text.h"

#include <gtest/gtest.h>

#include <random>

namespace turnpike::base {
namespace {

TEST(Hex, GoesBothWaysAndRefusesEverythingElse) {
  std::array<uint8_t, 4> out{};
  EXPECT_TRUE(from_hex("00ffA9bc", out));
  EXPECT_EQ(to_hex(out), "00ffa9bc");
  for (const char* bad : {"00ffa9b", "00ffa9bcd", "00ffa9bg", "00ffa9b ", "0x00ffa9", "00ffa9b@"}) {
    EXPECT_FALSE(from_hex(bad, out)) << bad;
  }
  EXPECT_EQ(to_hex(out), "00ffa9bc");  // untouched by the refusals
  for (int c = 0; c < 256; ++c) {
    const std::string text{static_cast<char>(c), '0'};
    std::array<uint8_t, 1> one{};
    EXPECT_EQ(from_hex(text, one), std::isxdigit(c) != 0) << c;
  }
}

TEST(KeyBase64, GoesBothWaysForRandomKeys) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    std::array<uint8_t, 32> key;
    for (auto& byte : key) byte = static_cast<uint8_t>(random());
    const std::string text = key_to_base64(key);
    ASSERT_EQ(text.size(), 44u);
    ASSERT_EQ(key_from_base64(text), key);
  }
}

TEST(KeyBase64, KnowsTheStandardAlphabetAndRefusesStrayBits) {
  // RFC 4648: 32 zero bytes, and the all-ones key.
  EXPECT_EQ(key_to_base64(std::array<uint8_t, 32>{}), std::string(43, 'A') + "=");
  std::array<uint8_t, 32> ones;
  ones.fill(0xff);
  EXPECT_EQ(key_to_base64(ones), std::string(42, '/') + "8=");
  EXPECT_FALSE(key_from_base64(std::string(42, '/') + "9="));
  EXPECT_FALSE(key_from_base64(std::string(44, 'A')));
  EXPECT_FALSE(key_from_base64(std::string(42, 'A') + "="));
  EXPECT_FALSE(key_from_base64("-" + std::string(42, 'A') + "="));
  EXPECT_FALSE(key_from_base64("=" + std::string(42, 'A') + "="));
}

}  // namespace
}  // namespace turnpike::base

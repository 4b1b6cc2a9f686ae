#include "dataplane/crypto/blake2s.h"

#include <gtest/gtest.h>

#include "dataplane/base/text.h"
#include "tests/unit/crypto/vector_files.h"

namespace turnpike::crypto {
namespace {

Bytes text(std::string_view s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }

TEST(Blake2s, AgreesWithTheKnownAnswersHoweverTheInputIsCut) {
  const auto vectors = test::load_blake2s();
  ASSERT_EQ(vectors.size(), 256u);
  for (const auto& vector : vectors) {
    for (size_t cut = 0; cut <= vector.in.size(); cut += 17) {
      Hash got;
      blake2s_keyed(vector.key, {Bytes(vector.in).first(cut), Bytes(vector.in).subspan(cut)}, got);
      ASSERT_EQ(base::to_hex(got), base::to_hex(vector.hash)) << vector.in.size() << " " << cut;
    }
  }
}

TEST(Blake2s, GivesTheHashOfRfc7693) {
  EXPECT_EQ(base::to_hex(blake2s({text("abc")})),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
  EXPECT_EQ(blake2s({text("a"), {}, text("bc")}), blake2s({text("abc")}));
}

// The expected values come from Python's hashlib and hmac.
TEST(Blake2s, MacIsKeyedWithItsLengthAsParameterAndNoCutHash) {
  EXPECT_EQ(base::to_hex(blake2s_mac(text("0123456789abcdef0123456789abcdef"), {text("mac me")})),
            "148f0e99b01347cca27b18168fc2bd62");
  Hash longer;
  blake2s_keyed(text("0123456789abcdef0123456789abcdef"), {text("mac me")}, longer);
  EXPECT_EQ(base::to_hex(longer),
            "c810cf3dc52a64233618218f9f9da132c4f717a2ab7c31b4c067921db8d1337e");
}

TEST(Blake2s, HmacAgreesWithPython) {
  Hash out;
  hmac_blake2s(text("key"), {text("The quick brown fox "), text("jumps over the lazy dog")}, out);
  EXPECT_EQ(base::to_hex(out), "f93215bb90d4af4c3061cd932fb169fb8bb8a91d0b4022baea1271e1323cd9a0");
  hmac_blake2s({}, {}, out);
  EXPECT_EQ(base::to_hex(out), "eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd");
}

TEST(Blake2s, KdfIsHkdfWithOneByteCountersAndMayOverwriteItsKey) {
  const std::string_view key = "chaining key of 32 bytes, really";
  Hash first, second, third;
  kdf3(text(key), text("input"), first, second, third);
  EXPECT_EQ(base::to_hex(first),
            "0be9e203a1565c317fa7bd8ba9512f5b9961d74bddbbb5200bdeb731f8e4f34d");
  EXPECT_EQ(base::to_hex(second),
            "f79592f9f0d21a9afe0b40dd028b8c61b0600cc100fefdc8213286683c03f5ce");
  EXPECT_EQ(base::to_hex(third),
            "8d63328ef514cd919968bc07435b90d28c0950c8150564ae843cd6097301a7da");

  Hash in_place;
  std::copy(key.begin(), key.end(), in_place.begin());
  Hash other;
  kdf2(in_place, text("input"), in_place, other);
  EXPECT_EQ(in_place, first);
  EXPECT_EQ(other, second);
  std::copy(key.begin(), key.end(), in_place.begin());
  kdf1(in_place, text("input"), in_place);
  EXPECT_EQ(in_place, first);
}

}  // namespace
}  // namespace turnpike::crypto

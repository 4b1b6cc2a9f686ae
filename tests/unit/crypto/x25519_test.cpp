#include "dataplane/crypto/x25519.h"

#include <gtest/gtest.h>

#include <cstring>

#include "dataplane/base/text.h"
#include "dataplane/crypto/system_random.h"
#include "tests/unit/crypto/vector_files.h"

namespace turnpike::crypto {
namespace {

PublicKey public_of(const test::Blob& bytes) {
  PublicKey key;
  std::memcpy(key.bytes.data(), bytes.data(), kKeyBytes);
  return key;
}

PrivateKey private_of(const test::Blob& bytes) {
  return PrivateKey(std::span<const uint8_t, kKeyBytes>(bytes.data(), kKeyBytes));
}

TEST(X25519, AgreesWithWycheproofAndRefusesWhateverGivesZero) {
  const auto vectors = test::load_x25519();
  ASSERT_GE(vectors.size(), 500u);
  size_t refused = 0;
  for (const auto& vector : vectors) {
    SCOPED_TRACE(vector.id);
    SharedSecret secret;
    std::memset(secret.bytes().data(), 0x5a, kKeyBytes);
    const bool zero = vector.shared == test::Blob(kKeyBytes, 0);
    ASSERT_EQ(shared_secret(private_of(vector.private_key), public_of(vector.public_key), secret),
              !zero);
    const test::Blob got(secret.bytes().begin(), secret.bytes().end());
    EXPECT_EQ(got, zero ? test::Blob(kKeyBytes, 0x5a) : vector.shared);
    refused += zero;
  }
  EXPECT_GE(refused, 7u);
}

TEST(X25519, RefusesEveryPointOfLowOrderInBothEncodings) {
  // The points of order 1, 2, 4 and 8 and their non-canonical encodings (Curve25519's author's
  // list).
  SystemRandom random;
  for (const char* hex : {"0000000000000000000000000000000000000000000000000000000000000000",
                          "0100000000000000000000000000000000000000000000000000000000000000",
                          "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                          "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                          "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    for (const uint8_t top_bit : {uint8_t{0}, uint8_t{0x80}}) {
      test::Blob point = test::unhex(hex);
      point[31] |= top_bit;
      SharedSecret secret;
      EXPECT_FALSE(shared_secret(generate_private_key(random), public_of(point), secret)) << hex;
    }
  }
}

TEST(X25519, DerivesThePublicKeyOfRfc7748) {
  // Section 6.1, Bob.
  const PrivateKey bob =
      private_of(test::unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  EXPECT_EQ(base::to_hex(public_key(bob).bytes),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
}

TEST(X25519, ClampingChangesNoResult) {
  SystemRandom random;
  for (int round = 0; round < 100; ++round) {
    PrivateKey key;
    random.fill(key.bytes());
    const PrivateKey clamped = clamp(key);
    EXPECT_EQ(clamped.bytes()[0] & 7, 0);
    EXPECT_EQ(clamped.bytes()[31] & 0xc0, 0x40);
    EXPECT_EQ(clamp(clamped), clamped);
    EXPECT_EQ(public_key(key), public_key(clamped));
  }
}

TEST(X25519, GivesBothSidesTheSameSecret) {
  SystemRandom random;
  for (int round = 0; round < 50; ++round) {
    const PrivateKey a = generate_private_key(random);
    const PrivateKey b = generate_private_key(random);
    SharedSecret of_a;
    SharedSecret of_b;
    ASSERT_TRUE(shared_secret(a, public_key(b), of_a));
    ASSERT_TRUE(shared_secret(b, public_key(a), of_b));
    EXPECT_EQ(of_a, of_b);
  }
}

}  // namespace
}  // namespace turnpike::crypto

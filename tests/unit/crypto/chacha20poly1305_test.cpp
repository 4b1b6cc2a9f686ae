#include "dataplane/crypto/chacha20poly1305.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dataplane/crypto/xchacha20poly1305.h"
#include "tests/unit/crypto/vector_files.h"

namespace turnpike::crypto {
namespace {

template <size_t N>
std::array<uint8_t, N> fixed(const test::Blob& bytes) {
  std::array<uint8_t, N> out{};
  EXPECT_EQ(bytes.size(), N);
  std::copy_n(bytes.begin(), std::min(N, bytes.size()), out.begin());
  return out;
}

test::Blob joined(const test::AeadVector& vector) {
  test::Blob sealed = vector.sealed;
  sealed.insert(sealed.end(), vector.tag.begin(), vector.tag.end());
  return sealed;
}

// Runs one vector through `seal(out)` and `open(sealed, out)`.
template <typename Seal, typename Open>
void check_vector(const test::AeadVector& vector, Seal seal, Open open) {
  SCOPED_TRACE(vector.id);
  const test::Blob expected = joined(vector);
  if (vector.valid) {
    test::Blob sealed(vector.text.size() + 16);
    seal(sealed);
    EXPECT_EQ(sealed, expected);
  }
  test::Blob opened(vector.text.size(), 0xee);
  ASSERT_EQ(open(expected, opened), vector.valid);
  EXPECT_EQ(opened, vector.valid ? vector.text : test::Blob(vector.text.size(), 0));
}

TEST(ChaCha20Poly1305, AgreesWithWycheproof) {
  const auto vectors = test::load_aead("chacha20_poly1305_test.json", kNonceBytes);
  ASSERT_GE(vectors.size(), 300u);
  ASSERT_TRUE(std::ranges::any_of(vectors, [](const auto& v) { return !v.valid; }));
  for (const auto& vector : vectors) {
    const auto key = fixed<kKeyBytes>(vector.key);
    const auto nonce = fixed<kNonceBytes>(vector.nonce);
    check_vector(
        vector,
        [&](test::Blob& out) {
          chacha20poly1305_seal(key, nonce, vector.text, vector.associated, out);
        },
        [&](const test::Blob& sealed, test::Blob& out) {
          return chacha20poly1305_open(key, nonce, sealed, vector.associated, out);
        });
  }
}

TEST(XChaCha20Poly1305, AgreesWithWycheproof) {
  const auto vectors = test::load_aead("xchacha20_poly1305_test.json", kXNonceBytes);
  ASSERT_GE(vectors.size(), 280u);
  ASSERT_TRUE(std::ranges::any_of(vectors, [](const auto& v) { return !v.valid; }));
  for (const auto& vector : vectors) {
    const auto key = fixed<kKeyBytes>(vector.key);
    const auto nonce = fixed<kXNonceBytes>(vector.nonce);
    check_vector(
        vector,
        [&](test::Blob& out) {
          xchacha20poly1305_seal(key, nonce, vector.text, vector.associated, out);
        },
        [&](const test::Blob& sealed, test::Blob& out) {
          return xchacha20poly1305_open(key, nonce, sealed, vector.associated, out);
        });
  }
}

TEST(ChaCha20Poly1305, PutsTheCounterLittleEndianAfterFourZeroBytes) {
  const Nonce nonce = nonce_of(0x0102030405060708);
  const Nonce expected{0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
  EXPECT_EQ(nonce, expected);
}

}  // namespace
}  // namespace turnpike::crypto

#include "dataplane/crypto/aead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "dataplane/base/text.h"
#include "dataplane/crypto/chacha20poly1305.h"
#include "tests/unit/crypto/aead_cases.h"

namespace turnpike::crypto {
namespace {

using test::Key;

class EveryAead : public testing::TestWithParam<AeadBackend> {
 protected:
  void SetUp() override {
    aead_ = make_aead(GetParam());
    ASSERT_NE(aead_, nullptr);
    ASSERT_EQ(aead_->name(), to_string(GetParam()));
  }
  bool open_one(const Key& key, uint64_t counter, test::Blob& sealed) {
    const AeadJob job{key.data(), counter, sealed.data(),
                      static_cast<uint32_t>(sealed.size() - kAuthTagBytes)};
    uint8_t authentic = 2;
    aead_->open({&job, 1}, {&authentic, 1});
    EXPECT_LE(authentic, 1);
    return authentic == 1;
  }
  std::unique_ptr<Aead> aead_;
};

INSTANTIATE_TEST_SUITE_P(Backends, EveryAead,
                         testing::Values(AeadBackend::IpsecMb, AeadBackend::Libsodium),
                         [](const auto& tested) {
                           return tested.param == AeadBackend::IpsecMb ? "IpsecMb" : "Libsodium";
                         });

TEST_P(EveryAead, GivesTheTagsThatOpenSslGives) {
  const Key key = test::known_key();
  for (const test::KnownTag& known : test::kKnownTags) {
    SCOPED_TRACE(known.length);
    const test::Blob text = test::known_text(known.length);
    test::Blob buffer = text;
    buffer.resize(known.length + kAuthTagBytes);
    const AeadJob job{key.data(), known.counter, buffer.data(),
                      static_cast<uint32_t>(known.length)};
    aead_->seal({&job, 1});
    EXPECT_EQ(base::to_hex(Bytes(buffer).last(kAuthTagBytes)), known.tag);
    ASSERT_TRUE(open_one(key, known.counter, buffer));
    buffer.resize(known.length);
    EXPECT_EQ(buffer, text);
  }
}

TEST_P(EveryAead, SealsAndOpensRandomBurstsAsTheSingleShotDoes) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    test::RandomBurst burst(random);
    aead_->seal(burst.jobs());
    ASSERT_EQ(burst.buffers, burst.expected);
    ASSERT_NO_FATAL_FAILURE(test::damage_some_and_open(burst, *aead_, random));
  }
}

TEST_P(EveryAead, RefusesAChangeOfEveryByteOfTextTagCounterAndKeyAndLeavesNoPlaintext) {
  constexpr uint64_t kCounter = 0x1122334455667788;
  for (const size_t length :
       {size_t{0}, size_t{1}, size_t{16}, size_t{48}, size_t{65}, size_t{273}}) {
    SCOPED_TRACE(length);
    Key key;
    for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i * 7 + 1);
    const test::Blob text(length, 0x42);
    test::Blob sealed(length + kAuthTagBytes);
    chacha20poly1305_seal(key, nonce_of(kCounter), text, {}, sealed);
    const auto expect_refused = [&](const Key& k, uint64_t counter, test::Blob changed) {
      EXPECT_FALSE(open_one(k, counter, changed));
      changed.resize(length);
      EXPECT_EQ(changed, test::Blob(length, 0));
    };
    for (size_t i = 0; i < sealed.size(); ++i) {
      test::Blob changed = sealed;
      changed[i] ^= static_cast<uint8_t>(1u << (i % 8));
      expect_refused(key, kCounter, changed);
    }
    for (size_t i = 0; i < kKeyBytes; ++i) {
      Key other = key;
      other[i] ^= 0x80;
      expect_refused(other, kCounter, sealed);
    }
    for (int bit = 0; bit < 64; ++bit) expect_refused(key, kCounter ^ (uint64_t{1} << bit), sealed);
    EXPECT_TRUE(open_one(key, kCounter, sealed));
  }
}

TEST(MakeAead, KnowsItsBackendsByName) {
  for (const AeadBackend backend :
       {AeadBackend::Auto, AeadBackend::IpsecMb, AeadBackend::Libsodium, AeadBackend::Cryptodev}) {
    EXPECT_EQ(parse_aead_backend(to_string(backend)), backend);
  }
  EXPECT_EQ(parse_aead_backend("openssl"), std::nullopt);
  EXPECT_EQ(make_aead(AeadBackend::Auto)->name(), "ipsec-mb");
}

}  // namespace
}  // namespace turnpike::crypto

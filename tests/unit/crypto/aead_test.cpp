#include "dataplane/crypto/aead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "dataplane/base/text.h"
#include "dataplane/crypto/chacha20poly1305.h"
#include "tests/unit/crypto/vector_files.h"

namespace turnpike::crypto {
namespace {

using Key = std::array<uint8_t, kKeyBytes>;

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

// Wycheproof has no vector without associated data whose nonce begins with four zero bytes. These
// tags were made with OpenSSL 3; a tag covers every byte of the sealed text.
TEST_P(EveryAead, GivesTheTagsThatOpenSslGives) {
  struct KnownTag {
    size_t length;
    uint64_t counter;
    const char* tag;
  };
  constexpr KnownTag kKnown[] = {
      {0, 0x0, "5cc659e9518301de73d012128debbfb3"},
      {1, 0x1, "13a5b76dbe3678e8754425b18e7f8b61"},
      {15, 0xff, "6d3850fa3e414e1a0dd8fab0a62f991b"},
      {16, 0x100, "810180cc918d9c9850c352b8d82e2f45"},
      {17, 0xffffffff, "7469a30a21a98c6e49b2f89a2669c289"},
      {63, 0x100000000, "352494a343e5ef3f57a53b841a34698c"},
      {64, 0x1122334455667788, "25800fc1fafcf30b310a15a79a360d3c"},
      {65, 0xfffffffffffffffe, "77396800e23130f346fd02aa31054067"},
      {127, 0x0, "1664a9f88c922ff4e0e5e8b17a347627"},
      {128, 0x1, "e559a703bb3af448463179e699da783f"},
      {129, 0xff, "61b822428f64dc2b0b5959cf584bb603"},
      {255, 0x100, "cfb3f02c299a23f212490b736076dd44"},
      {256, 0xffffffff, "2768d90a2045c56a27ba4d3a8ed9e364"},
      {257, 0x100000000, "bdf95cea5670e6391112e18cfc154172"},
      {511, 0x1122334455667788, "c428bb86067de95a99518a67e679f881"},
      {512, 0xfffffffffffffffe, "69774b6c6e0941bb7a512cbad9546948"},
      {576, 0x0, "e3c37b2154b5147e176d3621eb4552cb"},
      {1024, 0x1, "02794bc117b43f78f9084206481706b6"},
      {1025, 0xff, "926cf1a0a8a6be8dc3788e9e6113ca60"},
      {1420, 0x100, "acae7843397ea33d9174ee13e8bbcc3b"},
      {1500, 0xffffffff, "03c72ab807e7bcb761bbe64d28e28164"},
      {2000, 0x100000000, "49925b0c2c6c019b9b2a7345974c09a4"},
  };
  Key key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i * 7 + 1);
  for (const KnownTag& known : kKnown) {
    SCOPED_TRACE(known.length);
    test::Blob text(known.length);
    for (size_t i = 0; i < known.length; ++i) text[i] = static_cast<uint8_t>(i * 31 + known.length);
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

// A burst of random size, lengths, keys and counters, each text in a buffer with a guard behind the
// tag.
struct RandomBurst {
  explicit RandomBurst(std::mt19937_64& random) {
    constexpr size_t kGuardBytes = 24;
    const size_t count = random() % (kBurstMax + 1);
    for (auto& key : keys)
      std::ranges::generate(key, [&] { return static_cast<uint8_t>(random()); });
    for (size_t i = 0; i < count; ++i) {
      const auto length =
          static_cast<uint32_t>(random() % 4 == 0 ? random() % 40 : random() % 2001);
      test::Blob text(length);
      std::ranges::generate(text, [&] { return static_cast<uint8_t>(random()); });
      texts.push_back(text);
      key_of.push_back(random() % keys.size());
      counters.push_back(random() % 3 == 0 ? random() : random() % 1000);
      test::Blob sealed(length + kAuthTagBytes);
      chacha20poly1305_seal(keys[key_of[i]], nonce_of(counters[i]), text, {}, sealed);
      sealed.resize(sealed.size() + kGuardBytes, 0xc3);
      expected.push_back(sealed);
      text.resize(sealed.size(), 0xc3);
      buffers.push_back(text);
    }
  }
  std::vector<AeadJob> jobs() {
    std::vector<AeadJob> out;
    for (size_t i = 0; i < texts.size(); ++i) {
      out.push_back({keys[key_of[i]].data(), counters[i], buffers[i].data(),
                     static_cast<uint32_t>(texts[i].size())});
    }
    return out;
  }
  std::array<Key, 5> keys;
  std::vector<size_t> key_of;
  std::vector<uint64_t> counters;
  std::vector<test::Blob> texts, expected, buffers;
};

TEST_P(EveryAead, SealsAndOpensRandomBurstsAsTheSingleShotDoes) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    RandomBurst burst(random);
    const auto jobs = burst.jobs();
    aead_->seal(jobs);
    ASSERT_EQ(burst.buffers, burst.expected);

    // Some of the burst are damaged; the others must not notice.
    std::vector<uint8_t> damaged(jobs.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
      damaged[i] = random() % 3 == 0;
      if (damaged[i] != 0) {
        burst.buffers[i][random() % (burst.texts[i].size() + kAuthTagBytes)] ^=
            static_cast<uint8_t>(1u << (random() % 8));
      }
    }
    std::vector<uint8_t> authentic(jobs.size(), 7);
    aead_->open(jobs, authentic);
    for (size_t i = 0; i < jobs.size(); ++i) {
      ASSERT_EQ(authentic[i], 1 - damaged[i]);
      burst.buffers[i].resize(burst.texts[i].size());
      ASSERT_EQ(burst.buffers[i],
                damaged[i] != 0 ? test::Blob(burst.texts[i].size(), 0) : burst.texts[i]);
    }
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
       {AeadBackend::Auto, AeadBackend::IpsecMb, AeadBackend::Libsodium}) {
    EXPECT_EQ(parse_aead_backend(to_string(backend)), backend);
  }
  EXPECT_EQ(parse_aead_backend("openssl"), std::nullopt);
  EXPECT_EQ(make_aead(AeadBackend::Auto)->name(), "ipsec-mb");
}

}  // namespace
}  // namespace turnpike::crypto

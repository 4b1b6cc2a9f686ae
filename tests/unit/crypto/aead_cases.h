// What tests of AEADs have in common: tags that are known, and bursts of random jobs with what is to come out.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "dataplane/base/keys.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/crypto/chacha20poly1305.h"
#include "tests/unit/crypto/vector_files.h"

namespace turnpike::crypto::test {

using turnpike::test::Blob;
using Key = std::array<uint8_t, kKeyBytes>;

// Wycheproof has no vector without associated data whose nonce begins with four zero bytes. These
// tags were made with OpenSSL 3; a tag covers every byte of the sealed text.
struct KnownTag {
  size_t length;
  uint64_t counter;
  const char* tag;
};
inline constexpr KnownTag kKnownTags[] = {
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
inline Key known_key() {
  Key key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i * 7 + 1);
  return key;
}
inline Blob known_text(size_t length) {
  Blob text(length);
  for (size_t i = 0; i < length; ++i) text[i] = static_cast<uint8_t>(i * 31 + length);
  return text;
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
      Blob text(length);
      std::ranges::generate(text, [&] { return static_cast<uint8_t>(random()); });
      texts.push_back(text);
      key_of.push_back(random() % keys.size());
      counters.push_back(random() % 3 == 0 ? random() : random() % 1000);
      Blob sealed(length + kAuthTagBytes);
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
  std::vector<Blob> texts, expected, buffers;
};

// Opens what is sealed in it, some of it damaged, which the others must not notice. Leaves texts without tags.
inline void damage_some_and_open(RandomBurst& burst, Aead& aead, std::mt19937_64& random) {
  const auto jobs = burst.jobs();
  std::vector<uint8_t> damaged(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    damaged[i] = random() % 3 == 0;
    if (damaged[i] == 0) continue;
    burst.buffers[i][random() % (burst.texts[i].size() + kAuthTagBytes)] ^=
        static_cast<uint8_t>(1u << (random() % 8));
  }
  std::vector<uint8_t> authentic(jobs.size(), 7);
  aead.open(jobs, authentic);
  for (size_t i = 0; i < jobs.size(); ++i) {
    ASSERT_EQ(authentic[i], 1 - damaged[i]);
    burst.buffers[i].resize(burst.texts[i].size());
    ASSERT_EQ(burst.buffers[i], damaged[i] != 0 ? Blob(burst.texts[i].size(), 0) : burst.texts[i]);
  }
}

}  // namespace turnpike::crypto::test

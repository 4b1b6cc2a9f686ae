// The AEAD by crypto devices, with DPDK's two drivers in software that have ChaCha20-Poly1305.
#include "dataplane/io/crypto_device.h"

#include <gtest/gtest.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <time.h>

#include "dataplane/base/text.h"
#include "dataplane/io/crypto_queue.h"
#include "dataplane/io/log.h"
#include "tests/unit/crypto/aead_cases.h"
#include "tests/unit/io/eal_environment.h"

namespace turnpike::io {
namespace {

using crypto::AeadDirection;
using crypto::AeadJob;
using crypto::kAuthTagBytes;
using crypto::test::Blob;
using crypto::test::Key;

const auto* const environment =
    testing::AddGlobalTestEnvironment(new test::EalEnvironment("crypto-test"));

std::unique_ptr<CryptoDevice> open_device(const CryptoDeviceOptions& options) {
  auto device = CryptoDevice::open(options);
  EXPECT_TRUE(device) << device.error();
  return device ? std::move(*device) : nullptr;
}

class EveryDriver : public testing::TestWithParam<const char*> {
 protected:
  void make(CryptoDeviceOptions options = {.sessions = 64}) {
    options.device = GetParam();
    device_ = open_device(options);
    ASSERT_NE(device_, nullptr);
    aead_ = device_->aead(0);
    ASSERT_NE(aead_, nullptr);
  }
  void TearDown() override { aead_.reset(); }  // before the device

  // For a while.
  class Admitted {
   public:
    Admitted(CryptoDevice& device, const Key& key) : device_(device), key_(key) {
      EXPECT_TRUE(device.admit(key.data(), AeadDirection::Seal));
      EXPECT_TRUE(device.admit(key.data(), AeadDirection::Open));
    }
    ~Admitted() {
      device_.forget(key_.data(), AeadDirection::Seal);
      device_.forget(key_.data(), AeadDirection::Open);
    }
    Admitted(const Admitted&) = delete;
    Admitted& operator=(const Admitted&) = delete;

   private:
    CryptoDevice& device_;
    const Key& key_;
  };

  bool open_one(const Key& key, uint64_t counter, Blob& sealed) {
    const AeadJob job{key.data(), counter, sealed.data(),
                      static_cast<uint32_t>(sealed.size() - kAuthTagBytes)};
    uint8_t authentic = 2;
    aead_->open({&job, 1}, {&authentic, 1});
    EXPECT_LE(authentic, 1);
    return authentic == 1;
  }

  void seal_and_open_random_bursts(int seeds);

  std::unique_ptr<CryptoDevice> device_;
  std::unique_ptr<crypto::Aead> aead_;
};

INSTANTIATE_TEST_SUITE_P(Drivers, EveryDriver,
                         testing::Values("crypto_aesni_mb0", "crypto_chacha20_poly13050"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(EveryDriver, GivesTheTagsThatOpenSslGives) {
  make();
  const Key key = crypto::test::known_key();
  const Admitted admitted(*device_, key);
  for (const crypto::test::KnownTag& known : crypto::test::kKnownTags) {
    SCOPED_TRACE(known.length);
    Blob buffer = crypto::test::known_text(known.length);
    buffer.resize(known.length + kAuthTagBytes);
    const AeadJob job{key.data(), known.counter, buffer.data(),
                      static_cast<uint32_t>(known.length)};
    aead_->seal({&job, 1});
    EXPECT_EQ(base::to_hex(Bytes(buffer).last(kAuthTagBytes)), known.tag);
    ASSERT_TRUE(open_one(key, known.counter, buffer));
    buffer.resize(known.length);
    EXPECT_EQ(buffer, crypto::test::known_text(known.length));
  }
}

// Mixed lengths and keys, beside ipsec-mb on the same jobs. Some are damaged before they are opened.
void EveryDriver::seal_and_open_random_bursts(int seeds) {
  const auto ipsec_mb = crypto::make_aead(crypto::AeadBackend::IpsecMb);
  ASSERT_NE(ipsec_mb, nullptr);
  for (int seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(static_cast<uint64_t>(seed)), again(static_cast<uint64_t>(seed));
    crypto::test::RandomBurst burst(random), same(again);
    std::vector<std::unique_ptr<Admitted>> admitted;
    for (const Key& key : burst.keys) admitted.push_back(std::make_unique<Admitted>(*device_, key));
    aead_->seal(burst.jobs());
    ipsec_mb->seal(same.jobs());
    ASSERT_EQ(burst.buffers, same.buffers);
    ASSERT_EQ(burst.buffers, burst.expected);
    ASSERT_NO_FATAL_FAILURE(crypto::test::damage_some_and_open(burst, *aead_, random));
  }
}

TEST_P(EveryDriver, SealsAndOpensRandomBurstsAsIpsecMbDoes) {
  make();
  seal_and_open_random_bursts(150);
  EXPECT_EQ(device_->sessions_in_use(), 0u);
}

TEST_P(EveryDriver, TakesBurstsThatAreLargerThanItsQueue) {
  make({.sessions = 64, .descriptors = 8});
  seal_and_open_random_bursts(60);
}

TEST_P(EveryDriver, RefusesAChangeOfEveryByteAndLeavesNoPlaintext) {
  make();
  const Key key = crypto::test::known_key();
  const Admitted admitted(*device_, key);
  for (const size_t length : {size_t{0}, size_t{1}, size_t{16}, size_t{65}, size_t{273}}) {
    SCOPED_TRACE(length);
    Blob sealed(length + kAuthTagBytes);
    crypto::chacha20poly1305_seal(key, crypto::nonce_of(9), Blob(length, 0x42), {}, sealed);
    for (size_t i = 0; i < sealed.size(); ++i) {
      Blob changed = sealed;
      changed[i] ^= static_cast<uint8_t>(1u << (i % 8));
      ASSERT_FALSE(open_one(key, 9, changed)) << i;
      changed.resize(length);
      ASSERT_EQ(changed, Blob(length, 0)) << i;
    }
    for (int bit = 0; bit < 64; ++bit) {
      Blob copy = sealed;
      ASSERT_FALSE(open_one(key, 9 ^ (uint64_t{1} << bit), copy)) << bit;
    }
    EXPECT_TRUE(open_one(key, 9, sealed));
  }
}

TEST_P(EveryDriver, FailsJobsWhoseKeyItWasNotToldAndDoesTheOthers) {
  make();
  const Key known = crypto::test::known_key(), unknown{7};
  const Admitted admitted(*device_, known);
  Blob first(100 + kAuthTagBytes, 1), second(100 + kAuthTagBytes, 1), third(100 + kAuthTagBytes, 1);
  const AeadJob jobs[] = {{known.data(), 1, first.data(), 100},
                          {unknown.data(), 2, second.data(), 100},
                          {known.data(), 3, third.data(), 100}};
  std::array<uint8_t, 3> sealed{7, 7, 7};
  EXPECT_FALSE(aead_->try_seal(jobs, sealed));
  EXPECT_EQ(sealed, (std::array<uint8_t, 3>{1, 0, 1}));
  second.resize(100);
  EXPECT_EQ(second, Blob(100, 0)) << "the text that was not sealed must not be there";
  EXPECT_TRUE(open_one(known, 1, first));
  EXPECT_TRUE(open_one(known, 3, third));
  Blob other(100 + kAuthTagBytes, 1);
  EXPECT_FALSE(open_one(unknown, 2, other));
}

TEST_P(EveryDriver, TakesAsManySessionsAsItHasRoomForAndOneMoreForEachThatIsForgotten) {
  make({.sessions = 8});
  std::array<Key, 5> keys{};
  for (size_t i = 0; i < keys.size(); ++i) keys[i].fill(static_cast<uint8_t>(i + 1));
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(device_->admit(keys[i].data(), AeadDirection::Seal));
    ASSERT_TRUE(device_->admit(keys[i].data(), AeadDirection::Open));
  }
  EXPECT_EQ(device_->sessions_in_use(), 8u);
  EXPECT_FALSE(device_->admit(keys[4].data(), AeadDirection::Seal));
  EXPECT_FALSE(device_->admit(keys[4].data(), AeadDirection::Open));
  EXPECT_EQ(device_->sessions_in_use(), 8u);
  device_->forget(keys[0].data(), AeadDirection::Seal);
  EXPECT_TRUE(device_->admit(keys[4].data(), AeadDirection::Open));
  Blob sealed(50 + kAuthTagBytes);
  crypto::chacha20poly1305_seal(keys[4], crypto::nonce_of(1), Blob(50, 9), {}, sealed);
  EXPECT_TRUE(open_one(keys[4], 1, sealed));
}

// Another key at the same address, as the keypairs' arena gives memory out again.
TEST_P(EveryDriver, WorksUnderTheNewKeyWhereAnAddressIsUsedAgain) {
  make();
  Key key{1};
  for (uint8_t life = 1; life < 20; ++life) {
    key.fill(life);
    const Admitted admitted(*device_, key);
    Blob text(64, life), sealed(64 + kAuthTagBytes);
    crypto::chacha20poly1305_seal(key, crypto::nonce_of(life), text, {}, sealed);
    ASSERT_TRUE(open_one(key, life, sealed));
  }
}

TEST_P(EveryDriver, LeavesNoKeyBehindInTheMemoryOfItsSessions) {
  make();
  Key key;
  std::mt19937_64 random(11);
  std::ranges::generate(key, [&] { return static_cast<uint8_t>(random()); });
  ASSERT_TRUE(device_->admit(key.data(), AeadDirection::Seal));
  ASSERT_TRUE(device_->admit(key.data(), AeadDirection::Open));
  ASSERT_TRUE(device_->session_memory_has(key)) << "then this test sees nothing";
  device_->forget(key.data(), AeadDirection::Seal);
  EXPECT_TRUE(device_->session_memory_has(key));
  device_->forget(key.data(), AeadDirection::Open);
  EXPECT_FALSE(device_->session_memory_has(key));
  EXPECT_EQ(device_->sessions_in_use(), 0u);
}

TEST_P(EveryDriver, LeavesNoKeyBehindOfASessionThatTheDriverRefused) {
  make({.sessions = 8, .tag_bytes = 12});
  Key key;
  std::mt19937_64 random(12);
  std::ranges::generate(key, [&] { return static_cast<uint8_t>(random()); });
  for (int i = 0; i < 20; ++i) {
    ASSERT_FALSE(device_->admit(key.data(), AeadDirection::Seal));
    ASSERT_FALSE(device_->admit(key.data(), AeadDirection::Open));
  }
  EXPECT_FALSE(device_->session_memory_has(key));
  EXPECT_EQ(device_->sessions_in_use(), 0u);
}

// DPDK's, in one piece to a device.
class DpdkMemory {
 public:
  static constexpr size_t kBytes = 4'096;
  ~DpdkMemory() { rte_free(memory_); }
  [[nodiscard]] std::span<uint8_t> bytes() const {
    return {static_cast<uint8_t*>(memory_), memory_ == nullptr ? 0 : kBytes};
  }

 private:
  void* memory_ = rte_zmalloc("test", kBytes, kBytes);
};

TEST(DeviceAddresses, AreThoseOfDpdksMemoryAndOfNoOther) {
  const DpdkMemory memory;
  const auto bytes = memory.bytes();
  ASSERT_FALSE(bytes.empty());
  for (const auto& part : {bytes, bytes.first(1), bytes.last(1), bytes.subspan(100, 1'436)}) {
    EXPECT_EQ(device_address(part), rte_mem_virt2iova(part.data()));
  }
  const Blob heap(1'436);
  EXPECT_EQ(device_address(heap), std::nullopt);
  const uint8_t stack[64] = {};
  EXPECT_EQ(device_address(stack), std::nullopt);
  EXPECT_EQ(device_address({static_cast<const uint8_t*>(nullptr), 1}), std::nullopt);
}

TEST_P(EveryDriver, FailsJobsInMemoryThatItCannotReachWhereVirtualAddressesAreNotEnough) {
  make({.sessions = 64, .look_up_addresses = true});
  const Key key = crypto::test::known_key();
  const Admitted admitted(*device_, key);
  const DpdkMemory memory;
  const std::span<uint8_t> reached = memory.bytes().first(100 + kAuthTagBytes);
  ASSERT_EQ(reached.size(), 100 + kAuthTagBytes);
  std::ranges::fill(reached, 1);
  Blob heap(reached.size(), 1);
  const AeadJob jobs[] = {{key.data(), 1, heap.data(), 100}, {key.data(), 2, reached.data(), 100}};
  std::array<uint8_t, 2> sealed{7, 7};
  EXPECT_FALSE(aead_->try_seal(jobs, sealed));
  EXPECT_EQ(sealed, (std::array<uint8_t, 2>{0, 1}));
  heap.resize(100);
  EXPECT_EQ(heap, Blob(100, 0)) << "the text that was not sealed must not be there";
  Blob expected(reached.size());
  crypto::chacha20poly1305_seal(key, crypto::nonce_of(2), Blob(100, 1), {}, expected);
  EXPECT_EQ(Blob(reached.begin(), reached.end()), expected);
  EXPECT_FALSE(open_one(key, 2, expected)) << "this, too, is not DPDK's memory";
  uint8_t authentic = 2;
  aead_->open({&jobs[1], 1}, {&authentic, 1});
  EXPECT_EQ(authentic, 1);
  EXPECT_EQ(Blob(reached.begin(), reached.begin() + 100), Blob(100, 1));
}

TEST_P(EveryDriver, CanBeMeasuredWhereVirtualAddressesAreNotEnough) {
  make({.sessions = 64, .look_up_addresses = true});
  aead_.reset();
  static uint64_t now = 0;
  EXPECT_GT(device_->measure([] { return Instant{now += 1'000}; }), 0);
}

TEST_P(EveryDriver, CanBeMeasured) {
  make();
  aead_.reset();
  const double speed = device_->measure([] {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return Instant{static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u +
                   static_cast<uint64_t>(t.tv_nsec)};
  });
  EXPECT_GT(speed, 1e8);
  EXPECT_EQ(device_->sessions_in_use(), 0u);
}

TEST(OpenCryptoDevice, SaysInOneLineWhatIsWrongAndWhatIsThere) {
  const auto there = open_device({.device = "crypto_aesni_mb3", .sessions = 8});
  struct Case {
    const char* device;
    const char* says;
  };
  for (const auto& [name, says] : {Case{"crypto_no_such_driver0", "cannot be opened"},
                                   Case{"ffff:00:1f.7", "DPDK found no such crypto device"},
                                   Case{"crypto_null0", "has no ChaCha20-Poly1305"},
                                   Case{"net_ring5", "DPDK found no such crypto device"}}) {
    const auto device = CryptoDevice::open({.device = name});
    ASSERT_FALSE(device) << name;
    const std::string& error = device.error();
    EXPECT_EQ(error.find("dataplane.crypto_device (" + std::string(name) + "): "), 0u) << error;
    EXPECT_NE(error.find(says), std::string::npos) << error;
    EXPECT_NE(error.find("crypto_aesni_mb3 with "), std::string::npos) << error;
    EXPECT_NE(error.find("chacha20-poly1305"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(OpenCryptoDevice, RefusesMoreWorkersThanItHasQueuePairs) {
  const auto device =
      CryptoDevice::open({.device = "crypto_aesni_mb4,max_nb_queue_pairs=2", .queue_pairs = 3});
  ASSERT_FALSE(device);
  EXPECT_NE(device.error().find("has 2 queue pairs, but there are 3 workers"), std::string::npos)
      << device.error();
}

TEST(OpenCryptoDevice, SaysWhichMemoryIsShort) {
  const auto device = CryptoDevice::open({.device = "crypto_aesni_mb5", .sessions = 1u << 20});
  ASSERT_FALSE(device);
  EXPECT_NE(device.error().find("memory for 1048576 sessions is short"), std::string::npos)
      << device.error();
}

}  // namespace
}  // namespace turnpike::io

#include "dataplane/wireguard/source_limiter.h"

#include <gtest/gtest.h>

#include <random>

namespace turnpike::wireguard {
namespace {

class FixedRandom final : public RandomSource {
 public:
  void fill(std::span<uint8_t> out) noexcept override {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(engine_());
  }

 private:
  std::mt19937 engine_{1};
};

class Limiter : public testing::Test {
 protected:
  bool allow(std::string_view source) { return limiter.allow(*parse_ip(source), now); }
  int allowed(std::string_view source, int attempts) {
    int count = 0;
    for (int i = 0; i < attempts; ++i) count += allow(source);
    return count;
  }

  FixedRandom random;
  SourceLimiter limiter{random};
  Instant now{1'000'000'000'000};
};

TEST_F(Limiter, GivesFiveAtOnceAndTwentyASecond) {
  EXPECT_EQ(allowed("192.0.2.1", 20), 5);
  now = now + 49ms;
  EXPECT_EQ(allowed("192.0.2.1", 3), 0);
  now = now + 1ms;
  EXPECT_EQ(allowed("192.0.2.1", 3), 1);
  now = now + 100ms;
  EXPECT_EQ(allowed("192.0.2.1", 9), 2);
  int in_a_second = 0;
  for (int i = 0; i < 1'000; ++i) {
    now = now + 1ms;
    in_a_second += allow("192.0.2.1");
  }
  EXPECT_EQ(in_a_second, 20);
}

TEST_F(Limiter, FillsUpToFiveAndNoFurther) {
  EXPECT_EQ(allowed("192.0.2.1", 9), 5);
  now = now + 1h;
  EXPECT_EQ(allowed("192.0.2.1", 9), 5);
  now = now + 200ms;
  EXPECT_EQ(allowed("192.0.2.1", 9), 4);
}

TEST_F(Limiter, CountsEachIpv4AddressByItself) {
  EXPECT_EQ(allowed("192.0.2.1", 9), 5);
  EXPECT_EQ(allowed("192.0.2.2", 9), 5);
  EXPECT_EQ(allowed("192.0.2.1", 9), 0);
}

TEST_F(Limiter, CountsIpv6ByItsSlash64) {
  EXPECT_EQ(allowed("2001:db8:0:1::1", 3), 3);
  EXPECT_EQ(allowed("2001:db8:0:1:ffff::2", 9), 2) << "the same /64";
  EXPECT_EQ(allowed("2001:db8:0:2::1", 9), 5) << "another one";
}

TEST_F(Limiter, DoesNotTakeAnIpv4AddressForTheIpv6NetworkOfTheSameBytes) {
  EXPECT_EQ(allowed("192.0.2.1", 9), 5);
  EXPECT_EQ(allowed("c000:201::", 9), 5);
}

// Its table is bounded; a set that is full refuses newcomers, forgets nobody, and recovers by itself.
TEST_F(Limiter, RefusesNewcomersWhenItsTableIsFullAndRecoversByItself) {
  EXPECT_EQ(allowed("192.0.2.1", 9), 5);
  int taken_in = 0;
  constexpr uint32_t kSources = 4 * SourceLimiter::kSets * SourceLimiter::kWays;
  for (uint32_t i = 0; i < kSources; ++i) {
    taken_in += limiter.allow(IpAddress::v4(0x0a00'0000 + i), now);
  }
  EXPECT_LE(taken_in, static_cast<int>(SourceLimiter::kSets * SourceLimiter::kWays));
  EXPECT_GE(taken_in, static_cast<int>(SourceLimiter::kSets * SourceLimiter::kWays * 9 / 10));
  EXPECT_FALSE(allow("192.0.2.1")) << "pushed out, it would have a full bucket again";
  now = now + SourceLimiter::kForgetAfter;
  EXPECT_EQ(allowed("198.51.100.1", 9), 5);
}

}  // namespace
}  // namespace turnpike::wireguard

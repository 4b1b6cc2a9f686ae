#include "dataplane/crypto/aead_speed.h"

#include <gtest/gtest.h>

namespace turnpike::crypto {
namespace {

// The first back end is asked first: each of its rounds takes two ticks of 100 us, of every later one one tick.
Instant slow_at_first() {
  static uint64_t calls = 0;
  static uint64_t now = 1;
  // A round asks twice; the measurement of a back end has 16 rounds.
  const bool first_backend = calls++ < 32;
  now += first_backend ? 200'000 : 100'000;
  return {now};
}

TEST(MeasureAeads, PutsTheFastestFirst) {
  const auto speeds = measure_aeads(AeadBackend::Auto, slow_at_first);
  ASSERT_EQ(speeds.size(), 2u) << "both back ends work on every machine that the tests run on";
  EXPECT_EQ(speeds[0].backend, AeadBackend::Libsodium);
  EXPECT_EQ(speeds[1].backend, AeadBackend::IpsecMb);
  EXPECT_DOUBLE_EQ(speeds[0].bits_per_second, 2 * speeds[1].bits_per_second);
  EXPECT_DOUBLE_EQ(speeds[0].bits_per_second, kRxBurst * kMeasuredBytes * 8.0 / 100e-6);
}

TEST(MeasureAeads, MeasuresOnlyWhatIsAsked) {
  const auto speeds = measure_aeads(AeadBackend::Libsodium, slow_at_first);
  ASSERT_EQ(speeds.size(), 1u);
  EXPECT_EQ(speeds[0].backend, AeadBackend::Libsodium);
}

}  // namespace
}  // namespace turnpike::crypto

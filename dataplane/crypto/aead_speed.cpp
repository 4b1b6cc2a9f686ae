#include "dataplane/crypto/aead_speed.h"

#include <algorithm>
#include <array>

namespace turnpike::crypto {
namespace {

constexpr int kRounds = 16;

double measure(Aead& aead, Instant (*clock)()) {
  constexpr size_t kStride = kMeasuredBytes + kAuthTagBytes;
  std::vector<uint8_t> room(kRxBurst * kStride);
  const std::array<uint8_t, 32> key{1};  // of nobody
  std::array<AeadJob, kRxBurst> jobs;
  Duration best = Duration::max();
  uint64_t counter = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      jobs[i] = {.key = key.data(),
                 .counter = counter++,
                 .data = &room[i * kStride],
                 .length_bytes = kMeasuredBytes};
    }
    const Instant began = clock();
    aead.seal(jobs);
    best = std::min(best, clock() - began);
  }
  constexpr double kBits = kRxBurst * kMeasuredBytes * 8.0;
  return kBits * 1e9 / static_cast<double>(std::max<int64_t>(best.count(), 1));
}

}  // namespace

std::vector<AeadSpeed> measure_aeads(AeadBackend which, Instant (*clock)()) {
  std::vector<AeadSpeed> speeds;
  for (const AeadBackend backend : {AeadBackend::IpsecMb, AeadBackend::Libsodium}) {
    if (which != AeadBackend::Auto && which != backend) continue;
    const auto aead = make_aead(backend);
    if (aead != nullptr) speeds.push_back({backend, measure(*aead, clock)});
  }
  std::ranges::stable_sort(speeds, std::ranges::greater{}, &AeadSpeed::bits_per_second);
  return speeds;
}

}  // namespace turnpike::crypto

#include "dataplane/crypto/aead_speed.h"

#include <algorithm>
#include <array>

namespace turnpike::crypto {
namespace {

constexpr int kRounds = 16;

}  // namespace

double measure_aead(Aead& aead, AeadKeys* keys, std::span<uint8_t> room, Instant (*clock)()) {
  constexpr size_t kStride = kMeasuredBytes + kAuthTagBytes;
  CHECK(room.size() >= kMeasuringRoomBytes);
  const std::array<uint8_t, 32> key{1};  // of nobody
  if (keys != nullptr && !keys->admit(key.data(), AeadDirection::Seal)) return 0;
  std::array<AeadJob, kRxBurst> jobs;
  std::array<uint8_t, kRxBurst> sealed;
  Duration best = Duration::max();
  uint64_t counter = 0;
  bool works = true;
  for (int round = 0; round < kRounds && works; ++round) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      jobs[i] = {.key = key.data(),
                 .counter = counter++,
                 .data = &room[i * kStride],
                 .length_bytes = kMeasuredBytes};
    }
    const Instant began = clock();
    works = aead.try_seal(jobs, sealed);
    best = std::min(best, clock() - began);
  }
  if (keys != nullptr) keys->forget(key.data(), AeadDirection::Seal);
  if (!works) return 0;
  constexpr double kBits = kRxBurst * kMeasuredBytes * 8.0;
  return kBits * 1e9 / static_cast<double>(std::max<int64_t>(best.count(), 1));
}

std::vector<AeadSpeed> measure_aeads(AeadBackend which, Instant (*clock)()) {
  std::vector<AeadSpeed> speeds;
  std::vector<uint8_t> room(kMeasuringRoomBytes);
  for (const AeadBackend backend : {AeadBackend::IpsecMb, AeadBackend::Libsodium}) {
    if (which != AeadBackend::Auto && which != backend) continue;
    const auto aead = make_aead(backend);
    if (aead != nullptr) speeds.push_back({backend, measure_aead(*aead, nullptr, room, clock)});
  }
  std::ranges::stable_sort(speeds, std::ranges::greater{}, &AeadSpeed::bits_per_second);
  return speeds;
}

}  // namespace turnpike::crypto

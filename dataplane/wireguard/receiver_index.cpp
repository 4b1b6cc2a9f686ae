#include "dataplane/wireguard/receiver_index.h"

#include "dataplane/base/check.h"

namespace turnpike::wireguard {
namespace {

// Modulo 2^32, by Newton's method: each step doubles the bits that are right, and of an odd number itself three are.
[[nodiscard]] uint32_t inverse(uint32_t odd) noexcept {
  uint32_t x = odd;
  for (int step = 0; step < 4; ++step) x *= 2 - odd * x;
  return x;
}

}  // namespace

ReceiverIndexes::ReceiverIndexes(RandomSource& random) noexcept {
  for (size_t i = 0; i < kRounds; ++i) {
    rounds_[i] = {.addend = random.next_u32(), .factor = random.next_u32() | 1};
    inverse_factors_[i] = inverse(rounds_[i].factor);
  }
}

uint32_t ReceiverIndexes::index_of(KeypairPlace place) const noexcept {
  DCHECK(place.slot < KeypairPlace::kSlots && place.generation < KeypairPlace::kGenerations);
  uint32_t index = place.generation * KeypairPlace::kSlots + place.slot;
  for (size_t i = kRounds; i-- > 0;) {
    index ^= index >> 16;
    index = index * inverse_factors_[i] - rounds_[i].addend;
  }
  return index;
}

}  // namespace turnpike::wireguard

// A receiver index says by itself where its keypair lies: indexes are places behind a keyed permutation of all 32-bit
// numbers, so that nothing has to be looked up, and who does not have the key sees random numbers. A place is a slot
// of the keypair arena and which of the slot's lives is meant.
//   Threads: the constructor aside, pure functions of the key, any thread.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/random.h"

namespace turnpike::wireguard {

struct KeypairPlace {
  static constexpr unsigned kSlotBits = 22;
  static constexpr uint32_t kSlots = 1u << kSlotBits;
  static constexpr uint32_t kGenerations = 1u << (32 - kSlotBits);

  uint32_t slot;
  uint32_t generation;  // the next life of a slot has the next one, after the last comes the first
  friend bool operator==(const KeypairPlace&, const KeypairPlace&) = default;
};

// Rounds of steps that can each be undone: a keyed addition, a multiplication by a keyed odd number, which carries
// every bit to those above it, and a shift that brings the upper half down to the lower. No cipher: who saw
// very many indexes and knew their places could work out the key, and would then guess indexes of others. What he
// sends to them still has to be authentic.
class ReceiverIndexes {
 public:
  explicit ReceiverIndexes(RandomSource& random) noexcept;

  [[nodiscard]] KeypairPlace place_of(uint32_t index) const noexcept {
    for (const Round& round : rounds_) {
      index = (index + round.addend) * round.factor;
      index ^= index >> 16;
    }
    return {.slot = index % KeypairPlace::kSlots, .generation = index / KeypairPlace::kSlots};
  }
  // Of several indexes at once: compilers make vectors of it.
  template <size_t kCount>
  [[nodiscard]] std::array<uint32_t, kCount> slots_of(
      const std::array<uint32_t, kCount>& indexes) const noexcept {
    std::array<uint32_t, kCount> words = indexes;
    for (const Round& round : rounds_) {
      for (uint32_t& word : words) {
        word = (word + round.addend) * round.factor;
        word ^= word >> 16;
      }
    }
    for (uint32_t& word : words) word %= KeypairPlace::kSlots;
    return words;
  }
  [[nodiscard]] uint32_t index_of(KeypairPlace place) const noexcept;

 private:
  static constexpr size_t kRounds = 4;
  struct Round {
    uint32_t addend;
    uint32_t factor;  // odd
  };
  std::array<Round, kRounds> rounds_;
  std::array<uint32_t, kRounds> inverse_factors_;
};

}  // namespace turnpike::wireguard

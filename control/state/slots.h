// Objects in numbered slots that never move: chunks of 128 with a free list, so that growing copies
// nothing and a number stays good until its object is released.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "control/state/hash_index.h"
#include "dataplane/base/check.h"

namespace turnpike::state {

template <typename T>
class Slots {
 public:
  // A slot with a default-made object. Numbers of released slots come back, the last released first.
  [[nodiscard]] uint32_t allocate() {
    ++size_;
    if (!free_.empty()) {
      const uint32_t slot = free_.back();
      free_.pop_back();
      return slot;
    }
    CHECK(used_ < kNoSlot);
    if (used_ % kChunk == 0) chunks_.push_back(std::make_unique<T[]>(kChunk));
    return used_++;
  }
  void release(uint32_t slot) {
    (*this)[slot] = T{};
    free_.push_back(slot);
    --size_;
  }
  [[nodiscard]] T& operator[](uint32_t slot) {
    DCHECK(slot < used_);
    return chunks_[slot / kChunk][slot % kChunk];
  }
  [[nodiscard]] const T& operator[](uint32_t slot) const {
    DCHECK(slot < used_);
    return chunks_[slot / kChunk][slot % kChunk];
  }
  // Every number given out so far is below it.
  [[nodiscard]] uint32_t end() const noexcept { return used_; }
  [[nodiscard]] uint32_t size() const noexcept { return size_; }
  [[nodiscard]] uint64_t memory_bytes() const noexcept {
    return chunks_.size() * (kChunk * sizeof(T)) + free_.capacity() * sizeof(uint32_t);
  }

 private:
  static constexpr uint32_t kChunk = 128;
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<uint32_t> free_;
  uint32_t used_ = 0;
  uint32_t size_ = 0;
};

}  // namespace turnpike::state

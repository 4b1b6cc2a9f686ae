// Rooms of addresses of one size, one for each copy of a table, that have memory at the same offsets. What is built
// in the first is copied to the others; references are offsets, so that it means the same there.
//   Threads: the writer's.
//   Errors:  what one source refuses is done in none.
#pragma once

#include <array>
#include <cstring>

#include "dataplane/base/replica_pages.h"

namespace turnpike::lookup {

class Rooms {
 public:
  explicit Rooms(const ReplicaPages& pages) noexcept : pages_(pages) {}

  [[nodiscard]] size_t size() const noexcept { return pages_.size(); }
  // nullptr: not reserved.
  [[nodiscard]] uint8_t* base(size_t replica) const noexcept { return bases_[replica]; }

  [[nodiscard]] bool reserve(size_t bytes) noexcept {
    for (size_t i = 0; i < size(); ++i) {
      bases_[i] = static_cast<uint8_t*>(pages_[i].reserve(bytes));
      if (bases_[i] != nullptr) continue;
      give_up_first(i, bytes);
      return false;
    }
    return true;
  }
  void give_up(size_t bytes) noexcept { give_up_first(size(), bytes); }

  [[nodiscard]] bool back(size_t offset, size_t bytes) noexcept {
    for (size_t i = 0; i < size(); ++i) {
      if (pages_[i].back(bases_[i] + offset, bytes)) continue;
      unback_first(i, offset, bytes);
      return false;
    }
    return true;
  }
  void unback(size_t offset, size_t bytes) noexcept { unback_first(size(), offset, bytes); }

  void expect_growth(bool expected) noexcept {
    for (size_t i = 0; i < size(); ++i) pages_[i].expect_growth(expected);
  }

  // From the first to all others.
  void copy(size_t offset, size_t bytes) noexcept {
    for (size_t i = 1; i < size(); ++i) std::memcpy(bases_[i] + offset, bases_[0] + offset, bytes);
  }

 private:
  void give_up_first(size_t count, size_t bytes) noexcept {
    for (size_t i = 0; i < count; ++i) pages_[i].give_up(bases_[i], bytes);
    bases_ = {};
  }
  void unback_first(size_t count, size_t offset, size_t bytes) noexcept {
    for (size_t i = 0; i < count; ++i) pages_[i].unback(bases_[i] + offset, bytes);
  }

  const ReplicaPages pages_;
  std::array<uint8_t*, kMaxReplicas> bases_{};
};

}  // namespace turnpike::lookup

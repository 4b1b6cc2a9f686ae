// Where tables lie of which each NUMA node has a copy of its own: one source of memory for each copy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/check.h"
#include "dataplane/base/pages.h"

namespace turnpike {

// Which copy. A dense number of the nodes on which workers run, not the machine's number of a node.
using ReplicaIndex = uint8_t;

// Copies of a table. Workers on further nodes read the first one.
inline constexpr size_t kMaxReplicas = 16;

// A value: the sources are the maker's, and outlive what lies in them.
class ReplicaPages {
 public:
  // One copy, as on a machine with one node. Implicit, because that is what most have.
  ReplicaPages(RoomSource& only) noexcept : sources_{&only}, size_(1) {}
  // By ReplicaIndex.
  explicit ReplicaPages(std::span<RoomSource* const> each) noexcept : size_(each.size()) {
    CHECK(size_ >= 1 && size_ <= kMaxReplicas);
    for (size_t i = 0; i < size_; ++i) sources_[i] = each[i];
  }

  [[nodiscard]] size_t size() const noexcept { return size_; }
  [[nodiscard]] RoomSource& operator[](size_t replica) const noexcept { return *sources_[replica]; }

 private:
  std::array<RoomSource*, kMaxReplicas> sources_{};
  size_t size_;
};

}  // namespace turnpike

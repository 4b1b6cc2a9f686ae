// Which packets of a burst are meant, and which of them belong together.
//   A lane is the position of a packet in the burst; stages pass lists of lanes on and keep their order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/base/check.h"
#include "dataplane/base/limits.h"

namespace turnpike::pipeline {

using Lane = uint8_t;
static_assert(kBurstMax <= 128,
              "lanes and groups are bytes, and the table below is no more than half full");

template <typename T>
using PerLane = std::array<T, kBurstMax>;

class Lanes {
 public:
  void push(Lane lane) noexcept {
    DCHECK(size_ < kBurstMax);
    lanes_[size_++] = lane;
  }
  void clear() noexcept { size_ = 0; }
  [[nodiscard]] size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] Lane operator[](size_t i) const noexcept { return lanes_[i]; }
  [[nodiscard]] const Lane* begin() const noexcept { return lanes_.data(); }
  [[nodiscard]] const Lane* end() const noexcept { return lanes_.data() + size_; }

  // Puts both behind what is here: of the next of each the lower one first. Either keeps its order, also where that is
  // not ascending, which std::merge would want.
  void append_merged(const Lanes& a, const Lanes& b) noexcept {
    DCHECK(size_ + a.size_ + b.size_ <= kBurstMax);
    const Lane *next_a = a.begin(), *next_b = b.begin();
    Lane* out = lanes_.data() + size_;
    while (next_a != a.end() && next_b != b.end()) {
      *out++ = *next_b < *next_a ? *next_b++ : *next_a++;
    }
    std::copy(next_b, b.end(), std::copy(next_a, a.end(), out));
    size_ += a.size_ + b.size_;
  }

  // Keeps the lanes that `keep(lane)` is true for; it has ended the others.
  template <typename Keep>
  void filter(Keep&& keep) noexcept {
    size_t kept = 0;
    for (size_t i = 0; i < size_; ++i) {
      const Lane lane = lanes_[i];
      lanes_[kept] = lane;
      kept += keep(lane) ? 1 : 0;
    }
    size_ = kept;
  }

 private:
  size_t size_ = 0;
  std::array<Lane, kBurstMax> lanes_;
};

// Lanes grouped by a key, stably: the order within a group is the order of the burst.
class Groups {
 public:
  // `key(lane)` is a uint64_t. Groups are numbered in the order in which their keys first appear.
  template <typename Key>
  void build(const Lanes& lanes, Key&& key) noexcept {
    count_ = 0;
    const size_t total = lanes.size();
    if (total == 0) return;
    const uint64_t first = key(lanes[0]);
    size_t same = 1;
    while (same < total && key(lanes[same]) == first) ++same;
    count_ = 1;
    keys_[0] = first;
    if (same == total) {  // all for one: nothing to sort
      begin_[0] = 0;
      size_[0] = static_cast<uint8_t>(total);
      std::copy(lanes.begin(), lanes.end(), order_.begin());
      return;
    }
    build_mixed(lanes, key);
  }

  [[nodiscard]] size_t count() const noexcept { return count_; }
  [[nodiscard]] uint64_t key(size_t group) const noexcept { return keys_[group]; }
  [[nodiscard]] std::span<const Lane> lanes(size_t group) const noexcept {
    return {order_.data() + begin_[group], size_[group]};
  }

  // Groups that are worked on together: [first, end), as few as have `lanes` lanes. Empty from count() on.
  [[nodiscard]] size_t batch_end(size_t first, size_t lanes) const noexcept {
    size_t end = first;
    for (size_t have = 0; end < count_ && have < lanes; ++end) have += size_[end];
    return end;
  }

  // Forgets the lanes of the group from `first` on; the caller has ended them.
  void truncate(size_t group, size_t first) noexcept {
    DCHECK(first <= size_[group]);
    size_[group] = static_cast<uint8_t>(first);
  }
  // Forgets the lane at `place` of the group; the caller has ended it.
  void remove(size_t group, size_t place) noexcept {
    DCHECK(place < size_[group]);
    Lane* lanes = order_.data() + begin_[group];
    std::copy(lanes + place + 1, lanes + size_[group], lanes + place);
    --size_[group];
  }
  // Keeps the lanes that `keep(lane)` is true for; it has ended the others.
  template <typename Keep>
  void filter(size_t group, Keep&& keep) noexcept {
    Lane* lanes = order_.data() + begin_[group];
    size_t kept = 0;
    for (size_t i = 0; i < size_[group]; ++i) {
      const Lane lane = lanes[i];
      lanes[kept] = lane;
      kept += keep(lane) ? 1 : 0;
    }
    size_[group] = static_cast<uint8_t>(kept);
  }

 private:
  static constexpr size_t kPlaces =
      256;  // four times a burst: few keys meet in one, and a wrong guess costs 15 cycles
  static constexpr uint8_t kEmpty = 0xff;

  // Arrays of bytes that are its own: a store to one of the object's might be to anything, and all would be
  // loaded again behind it.
  template <typename Key>
  void build_mixed(const Lanes& lanes, Key& key) noexcept {
    const size_t total = lanes.size();
    std::array<uint8_t, kPlaces> group_at;
    group_at.fill(kEmpty);
    // Where a key is, or would be.
    const auto place_of = [&](uint64_t own) {
      // The upper bits of a multiplicative hash; pointers and dense indexes spread well under it.
      size_t place = own * 0x9e37'79b9'7f4a'7c15 >> 56;
      while (group_at[place] != kEmpty && keys_[group_at[place]] != own)
        place = (place + 1) % kPlaces;
      return place;
    };
    size_t count = 0;
    for (; count < total; ++count) {
      const uint64_t own = key(lanes[count]);
      const size_t place = place_of(own);
      if (group_at[place] != kEmpty) break;
      group_at[place] = static_cast<uint8_t>(count);
      keys_[count] = own;
    }
    if (count == total) {  // no two for one: nothing to sort
      count_ = count;
      for (size_t g = 0; g < count; ++g) begin_[g] = static_cast<uint8_t>(g);
      std::fill_n(size_.begin(), count, uint8_t{1});
      std::copy(lanes.begin(), lanes.end(), order_.begin());
      return;
    }
    PerLane<uint8_t> group_of, size;
    for (size_t i = 0; i < count; ++i) group_of[i] = static_cast<uint8_t>(i);
    std::fill_n(size.begin(), count, uint8_t{1});
    for (size_t i = count; i < total; ++i) {
      const uint64_t own = key(lanes[i]);
      const size_t place = place_of(own);
      if (group_at[place] == kEmpty) {
        group_at[place] = static_cast<uint8_t>(count);
        keys_[count] = own;
        size[count] = 0;
        ++count;
      }
      const uint8_t group = group_at[place];
      group_of[i] = group;
      ++size[group];
    }
    count_ = count;
    PerLane<uint8_t> next;
    uint8_t at = 0;
    for (size_t g = 0; g < count; ++g) {
      begin_[g] = next[g] = at;
      size_[g] = size[g];
      at = static_cast<uint8_t>(at + size[g]);
    }
    for (size_t i = 0; i < total; ++i) order_[next[group_of[i]]++] = lanes[i];
  }

  size_t count_ = 0;
  PerLane<uint64_t> keys_;
  PerLane<uint8_t> begin_;
  PerLane<uint8_t> size_;
  std::array<Lane, kBurstMax> order_;
};

// Groups that are worked on together, with so many packets at least. Fewer, and the AEAD is called more often;
// more, and the lines that come meanwhile are more than the core has miss buffers (DECISIONS.md, 13).
inline constexpr size_t kBatchLanes = 8;

struct Batch {
  size_t first, end;
};
// Empty after the last one.
[[nodiscard]] inline Batch next_batch(const Groups& groups, const Batch& before) noexcept {
  return {before.end, groups.batch_end(before.end, kBatchLanes)};
}

}  // namespace turnpike::pipeline

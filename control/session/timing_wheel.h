// Many timers with one deadline each, known by dense numbers: a hierarchical timing wheel (Varghese and Lauck,
// scheme 6). Arming and cancelling cost the same however many there are.
//   Threads:   one owner.
//   Units:     deadlines are rounded up to kTick; a timer never fires early, and at most a tick late.
//   Bounds:    memory grows with the highest id; expire() fires at most `budget` timers a call, the others
//              keep their turn. A timer that fires may arm itself again in the callback.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/base/time.h"

namespace turnpike::session {

class TimingWheel {
 public:
  using Id = uint32_t;
  static constexpr unsigned kTickBits = 23;  // 8.4 ms
  static constexpr Duration kTick{int64_t{1} << kTickBits};

  explicit TimingWheel(Instant now) noexcept : done_(now.nanoseconds >> kTickBits) {
    for (auto& level : heads_) level.fill(kNone);
  }

  // Arms or moves.
  void arm(Id id, Instant deadline) {
    if (id >= nodes_.size()) nodes_.resize(size_t{id} + 1);
    cancel(id);
    const uint64_t tick = (deadline.nanoseconds >> kTickBits) +
                          ((deadline.nanoseconds & ((uint64_t{1} << kTickBits) - 1)) != 0);
    place(id, tick > done_ ? tick : done_ + 1);
    ++size_;
  }
  void cancel(Id id) noexcept {
    if (!armed(id)) return;
    unlink(id);
    --size_;
  }
  [[nodiscard]] bool armed(Id id) const noexcept {
    return id < nodes_.size() && nodes_[id].bucket != kUnarmed;
  }
  [[nodiscard]] size_t size() const noexcept { return size_; }

  // Calls fire(id) for timers whose deadline is not after `now`; returns how many.
  template <typename Fire>
  size_t expire(Instant now, size_t budget, Fire&& fire) {
    const uint64_t until = now.nanoseconds >> kTickBits;
    size_t fired = 0;
    while (fired < budget) {
      if (due_ == kNone && !advance(until)) break;
      if (due_ == kNone) continue;  // a slot of a higher level went down
      const Id id = due_;
      unlink(id);
      --size_;
      ++fired;
      fire(id);
    }
    return fired;
  }

  // No timer fires before it; Instant of all ones when none is armed. It may be early by what a slot of a
  // higher level spans: then expire() does no more than sort.
  [[nodiscard]] Instant next_deadline() const noexcept {
    if (due_ != kNone) return {done_ << kTickBits};
    const Position next = earliest();
    return next.level == kLevels ? Instant{~uint64_t{0}} : Instant{next.tick << kTickBits};
  }

 private:
  static constexpr unsigned kSlotBits = 6;
  static constexpr unsigned kSlots = 1u << kSlotBits;
  static constexpr unsigned kLevels = 7;  // 42 bits of ticks: every Instant has its place
  static_assert(kLevels * kSlotBits >= 64 - kTickBits);
  static constexpr Id kNone = ~Id{0};
  static constexpr uint16_t kUnarmed = 0xffff;
  static constexpr uint16_t kDueBucket = kLevels * kSlots;

  struct Node {
    uint64_t tick = 0;
    Id previous = kNone;
    Id next = kNone;
    uint16_t bucket = kUnarmed;
  };
  struct Position {
    unsigned level = kLevels;
    unsigned slot = 0;
    uint64_t tick = 0;  // where the slot begins
  };

  // The level is that of the highest group of bits in which the deadline differs from done_; so in each
  // level only slots after done_'s own are in use.
  void place(Id id, uint64_t tick) noexcept {
    nodes_[id].tick = tick;
    const uint64_t difference = tick ^ done_;
    if (difference == 0) {
      push(id, due_, kDueBucket);
      return;
    }
    const unsigned level = (63u - static_cast<unsigned>(std::countl_zero(difference))) / kSlotBits;
    const unsigned slot = (tick >> (level * kSlotBits)) & (kSlots - 1);
    push(id, heads_[level][slot], static_cast<uint16_t>(level * kSlots + slot));
    occupied_[level] |= uint64_t{1} << slot;
  }

  void push(Id id, Id& head, uint16_t bucket) noexcept {
    Node& node = nodes_[id];
    node.previous = kNone;
    node.next = head;
    node.bucket = bucket;
    if (head != kNone) nodes_[head].previous = id;
    head = id;
  }

  void unlink(Id id) noexcept {
    Node& node = nodes_[id];
    const bool due = node.bucket == kDueBucket;
    Id& head = due ? due_ : heads_[node.bucket / kSlots][node.bucket % kSlots];
    if (node.previous != kNone) nodes_[node.previous].next = node.next;
    if (node.next != kNone) nodes_[node.next].previous = node.previous;
    if (head == id) head = node.next;
    if (!due && head == kNone) {
      occupied_[node.bucket / kSlots] &= ~(uint64_t{1} << (node.bucket % kSlots));
    }
    node.bucket = kUnarmed;
  }

  // The first slot in use after done_. Lower levels come first: what stands in them is nearer.
  [[nodiscard]] Position earliest() const noexcept {
    for (unsigned level = 0; level < kLevels; ++level) {
      const unsigned here = (done_ >> (level * kSlotBits)) & (kSlots - 1);
      const uint64_t after = occupied_[level] & ~((uint64_t{2} << here) - 1);
      if (after == 0) continue;
      const auto slot = static_cast<unsigned>(std::countr_zero(after));
      const unsigned above = (level + 1) * kSlotBits;
      return {level, slot, (done_ >> above << above) | uint64_t{slot} << (level * kSlotBits)};
    }
    return {};
  }

  // Moves done_ to the next slot in use that is not after `until`, and what stands in it one level down or
  // to the due list. False, done_ at `until`, when there is none.
  bool advance(uint64_t until) noexcept {
    const Position next = earliest();
    if (next.level == kLevels || next.tick > until) {
      if (until > done_) done_ = until;
      return false;
    }
    done_ = next.tick;
    Id id = heads_[next.level][next.slot];
    heads_[next.level][next.slot] = kNone;
    occupied_[next.level] &= ~(uint64_t{1} << next.slot);
    while (id != kNone) {
      const Id following = nodes_[id].next;
      place(id, nodes_[id].tick);
      id = following;
    }
    return true;
  }

  uint64_t done_;  // every tick up to this one has been looked at
  size_t size_ = 0;
  Id due_ = kNone;
  std::vector<Node> nodes_;
  std::array<uint64_t, kLevels> occupied_{};
  std::array<std::array<Id, kSlots>, kLevels> heads_;
};

}  // namespace turnpike::session

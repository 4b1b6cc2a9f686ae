#include "dataplane/lookup/allowed_ips_arena.h"

#include <algorithm>

#include "dataplane/base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace turnpike::lookup {
namespace {

// A large region is one huge page. A small table starts with one chunk.
constexpr uint32_t kLargeRegionChunks = kHugePageBytes / kChunkBytes;
constexpr uint32_t kSmallRegions = 2;
constexpr uint32_t kRoomChunksMin = 2 * kLargeRegionChunks;
constexpr unsigned kLongGarbageOrder = 4;

}  // namespace

NodeArena::NodeArena(const ReplicaPages& pages) noexcept : rooms_(pages) {}

NodeArena::~NodeArena() {
  for (uint32_t chunk = 0; chunk < chunks_end_;) {
    const uint32_t count = backed_[chunk] ? header(chunk).region_chunks : 1;
    if (backed_[chunk]) {
      unpoison(chunk << kChunkLinesLog2, count * kChunkBytes);
      rooms_.unback(chunk * kChunkBytes, count * kChunkBytes);
    }
    chunk += count;
  }
  regions_ = 0;
  tell_of_growth();
  give_up_room();
}

#if defined(__SANITIZE_ADDRESS__)
void NodeArena::poison(Line line, size_t bytes) noexcept {
  for (size_t i = 0; i < replicas(); ++i) {
    ASAN_POISON_MEMORY_REGION(as_in<uint8_t>(i, line), bytes);
  }
}
void NodeArena::unpoison(Line line, size_t bytes) noexcept {
  for (size_t i = 0; i < replicas(); ++i) {
    ASAN_UNPOISON_MEMORY_REGION(as_in<uint8_t>(i, line), bytes);
  }
}
#endif

bool NodeArena::ensure() noexcept { return free_[kOrderMax] != 0 || add_region(); }

// As many addresses as lines can be numbered, or what there is.
bool NodeArena::reserve_room() noexcept {
  for (uint32_t chunks = kChunksMax; chunks >= kRoomChunksMin; chunks /= 2) {
    if (!rooms_.reserve(chunks * kChunkBytes)) continue;
    base_ = rooms_.base(0);
    room_chunks_ = chunks;
    return true;
  }
  room_chunks_ = 0;
  return false;
}

void NodeArena::give_up_room() noexcept {
  if (base_ != nullptr) rooms_.give_up(room_chunks_ * kChunkBytes);
  base_ = nullptr;
}

bool NodeArena::add_region() noexcept {
  if (base_ == nullptr && !reserve_room()) return false;
  const uint32_t count = regions_ < kSmallRegions ? 1 : kLargeRegionChunks;
  // A large region lies where a huge page can. Room of released regions is used again.
  const auto is_free = [&](uint32_t from) {
    for (uint32_t i = 0; i < count; ++i) {
      if (backed_[from + i]) return false;
    }
    return true;
  };
  uint32_t first = 0;
  while (first < room_chunks_ && !is_free(first)) first += count;
  if (first == room_chunks_) return false;
  if (!rooms_.back(first * kChunkBytes, count * kChunkBytes)) {
    if (chunks_end_ == 0) give_up_room();
    return false;
  }
  reserved_bytes_ += count * kChunkBytes;
  ++regions_;
  ++idle_regions_;
  tell_of_growth();
  chunks_end_ = std::max(chunks_end_, first + count);
  for (uint32_t i = count; i-- > 0;) {
    backed_.set(first + i);
    header(first + i).region_first = first;
    header(first + i).region_retiring = 0;
    header(first + i).region_chunks = count;
    // What the header leaves, as the largest aligned blocks.
    const Line start = (first + i) << kChunkLinesLog2;
    for (Line line = kChunkLines; line > kHeaderLines;) {
      unsigned order = std::min<unsigned>(kOrderMax, std::countr_zero(line));
      while (line - (1u << order) < kHeaderLines) --order;
      line -= 1u << order;
      push_free(start + line, order);
    }
  }
  return true;
}

void NodeArena::release_region(uint32_t first) noexcept {
  const uint32_t count = header(first).region_chunks;
  for (uint32_t chunk = first; chunk < first + count; ++chunk) {
    for (Line line = 0; line < kChunkLines; ++line) {
      if (header(chunk).meta[line] & kFree) unlink_free((chunk << kChunkLinesLog2) + line);
    }
    backed_.reset(chunk);
  }
  while (chunks_end_ > 0 && !backed_[chunks_end_ - 1]) --chunks_end_;
  unpoison(first << kChunkLinesLog2, count * kChunkBytes);
  rooms_.unback(first * kChunkBytes, count * kChunkBytes);
  reserved_bytes_ -= count * kChunkBytes;
  --regions_;
  --idle_regions_;
  tell_of_growth();
}

// With the last small region in use, the next one is large.
void NodeArena::tell_of_growth() noexcept {
  const bool grows = regions_ >= kSmallRegions;
  if (grows != grows_) rooms_.expect_growth(grows);
  grows_ = grows;
}

// One idle region stays, so that a table at the edge of one does not ask for it again and again;
// an empty table keeps nothing.
void NodeArena::release_idle_regions(uint32_t region) noexcept {
  if (used_lines_ == 0) {
    while (chunks_end_ > 0) release_region(header(chunks_end_ - 1).region_first);
    give_up_room();
  } else if (idle_regions_ > 1 || header(region).region_retiring != 0) {
    release_region(region);
  }
}

void NodeArena::retire_regions() noexcept {
  for (uint32_t chunk = 0; chunk < chunks_end_;) {
    const uint32_t count = backed_[chunk] ? header(chunk).region_chunks : 1;
    if (backed_[chunk]) {
      // What retired before stands in the other lists already.
      if (header(chunk).region_used_lines == 0) {
        release_region(chunk);
      } else {
        header(chunk).region_retiring = 1;
      }
    }
    chunk += count;
  }
  for (unsigned order = 0; order <= kOrderMax; ++order) {
    while (const Line line = free_[order]) {
      // Both heads are the same block's for a moment: it leaves the one list and enters the other.
      const Line next = as<FreeBlock>(line)->next;
      free_[order] = next;
      if (next != 0) as<FreeBlock>(next)->previous = 0;
      push_free(line, order);
    }
  }
}

void NodeArena::push_free(Line line, unsigned order) noexcept {
  meta(line) = kFree | order;
  poison(line, kLineBytes << order);
  unpoison(line, sizeof(FreeBlock));
  auto& block = *as<FreeBlock>(line);
  Line& head = free_head(line, order);
  block = {.next = head, .previous = 0};
  if (block.next != 0) as<FreeBlock>(block.next)->previous = line;
  head = line;
}

void NodeArena::unlink_free(Line line) noexcept {
  const unsigned order = order_of(line);
  const FreeBlock block = *as<FreeBlock>(line);
  if (block.next != 0) as<FreeBlock>(block.next)->previous = block.previous;
  if (block.previous != 0) {
    as<FreeBlock>(block.previous)->next = block.next;
  } else {
    free_head(line, order) = block.next;
  }
  meta(line) = 0;
}

void NodeArena::count_used(Line line, int64_t lines) noexcept {
  ChunkHeader& region = header(header(line >> kChunkLinesLog2).region_first);
  if (region.region_used_lines == 0) --idle_regions_;
  region.region_used_lines = static_cast<uint32_t>(region.region_used_lines + lines);
  if (region.region_used_lines == 0) ++idle_regions_;
  used_lines_ = static_cast<size_t>(static_cast<int64_t>(used_lines_) + lines);
}

Line NodeArena::allocate(unsigned order) noexcept {
  unsigned from = order;
  while (from <= kOrderMax && free_[from] == 0) ++from;
  CHECK(from <= kOrderMax);  // ensure() was asked, and the edit is within kEditLines
  const Line line = free_[from];
  unlink_free(line);
  while (from > order) {
    --from;
    push_free(line + (1u << from), from);
  }
  meta(line) = kAllocated | kFresh | order;
  unpoison(line, kLineBytes << order);
  count_used(line, int64_t{1} << order);
  if (fresh_count_ < kFreshListed) fresh_[fresh_count_] = line;
  ++fresh_count_;
  return line;
}

void NodeArena::free(Line line) noexcept {
  unsigned order = order_of(line);
  CHECK((meta(line) & kAllocated) != 0);
  meta(line) = 0;
  const uint32_t region = header(line >> kChunkLinesLog2).region_first;
  count_used(line, -(int64_t{1} << order));
  for (; order < kOrderMax; ++order) {
    const Line buddy = line ^ 1u << order;
    if (meta(buddy) != (kFree | order)) break;
    unlink_free(buddy);
    line = std::min(line, buddy);
  }
  push_free(line, order);
  if (header(region).region_used_lines == 0) release_idle_regions(region);
}

void NodeArena::remember_garbage(Line line) noexcept {
  const auto capacity = [this](Line block) {
    return ((kLineBytes << order_of(block)) - sizeof(GarbageBlock)) / sizeof(Line);
  };
  if (garbage_last_ == 0 || as<GarbageBlock>(garbage_last_)->count == capacity(garbage_last_)) {
    const Line block = allocate(garbage_last_ == 0 ? 0 : kLongGarbageOrder);
    as<GarbageBlock>(block)->next = 0;
    as<GarbageBlock>(block)->count = 0;
    if (garbage_last_ == 0) {
      garbage_first_ = block;
    } else {
      as<GarbageBlock>(garbage_last_)->next = block;
    }
    garbage_last_ = block;
  }
  auto& block = *as<GarbageBlock>(garbage_last_);
  block.lines[block.count++] = line;
}

void NodeArena::drop(Line line) noexcept {
  if (is_fresh(line)) {
    free(line);
  } else {
    remember_garbage(line);
  }
}

template <typename F>
void NodeArena::for_each_fresh(F f) noexcept {
  if (fresh_count_ <= kFreshListed) {
    // A line can be listed twice, or be inside a block by now.
    for (size_t i = 0; i < fresh_count_; ++i) {
      const Line line = fresh_[i];
      if (backed_[line >> kChunkLinesLog2] && is_fresh(line)) f(line);
    }
    return;
  }
  for (uint32_t chunk = 0; chunk < chunks_end_; ++chunk) {
    for (Line i = kHeaderLines; i < kChunkLines; ++i) {
      if (!backed_[chunk]) break;
      if (header(chunk).meta[i] & kFresh) f((chunk << kChunkLinesLog2) + i);
    }
  }
}

void NodeArena::copy_fresh() noexcept {
  for_each_fresh(
      [this](Line line) { rooms_.copy(size_t{line} * kLineBytes, kLineBytes << order_of(line)); });
}

uint64_t NodeArena::commit() noexcept {
  for_each_fresh([this](Line line) { meta(line) &= ~kFresh; });
  fresh_count_ = 0;
  if (garbage_first_ == 0) return 0;
  const uint64_t sequence = ++sequence_;
  as<GarbageBlock>(garbage_first_)->sequence = sequence;
  const uint64_t ticket = sequence << 24 | garbage_first_;
  garbage_first_ = garbage_last_ = 0;
  return ticket;
}

void NodeArena::abort() noexcept {
  garbage_first_ = garbage_last_ = 0;  // its blocks are fresh, too
  for_each_fresh([this](Line line) { free(line); });
  fresh_count_ = 0;
}

void NodeArena::reclaim(uint64_t ticket) noexcept {
  if (ticket == 0) return;
  Line block = ticket & (kLinesMax - 1);
  CHECK(block < chunks_end_ << kChunkLinesLog2 && (meta(block) & kAllocated) != 0 &&
        as<GarbageBlock>(block)->sequence == ticket >> 24);
  while (block != 0) {
    const auto& garbage = *as<GarbageBlock>(block);
    for (uint32_t i = 0; i < garbage.count; ++i) free(garbage.lines[i]);
    const Line next = garbage.next;
    free(block);
    block = next;
  }
}

}  // namespace turnpike::lookup

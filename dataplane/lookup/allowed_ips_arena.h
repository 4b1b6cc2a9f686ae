// Memory of one allowed-IPs table: cache lines in blocks of 2^order, in one room of addresses from a
// RoomSource, with the batch that is being prepared and what committed batches replaced. Where the table has
// several copies, all bookkeeping is of the first; the others have the same memory at the same offsets.
//   Threads:   the writer's. Readers see lines of committed versions only.
//   Bounds:    1 GiB of lines, less where a source has fewer addresses. ensure() gets the memory of a whole edit or says no; after that no
//              allocation of the edit can fail, so that an edit is never half done.
//   Blocks made in the present batch are fresh: only these may be changed.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "dataplane/base/replica_pages.h"
#include "dataplane/lookup/allowed_ips_node.h"
#include "dataplane/lookup/allowed_ips_rooms.h"

namespace turnpike::lookup {

// A chunk is lines behind a header that says what they are.
inline constexpr unsigned kChunkLinesLog2 = 12;
inline constexpr Line kChunkLines = 1u << kChunkLinesLog2;
inline constexpr size_t kChunkBytes = kChunkLines * kLineBytes;
inline constexpr size_t kChunksMax = kLinesMax / kChunkLines;

class NodeArena {
 public:
  static constexpr unsigned kOrderMax = kChunkLinesLog2 - 1;
  // The most lines that one edit may allocate, less than one block of kOrderMax can give.
  static constexpr size_t kEditLines = (size_t{1} << kOrderMax) - 128;

  explicit NodeArena(const ReplicaPages& pages) noexcept;
  ~NodeArena();
  NodeArena(const NodeArena&) = delete;
  NodeArena& operator=(const NodeArena&) = delete;

  // Makes sure of kEditLines. False: a page source said no.
  [[nodiscard]] bool ensure() noexcept;
  // 2^order lines, not cleared.
  [[nodiscard]] Line allocate(unsigned order) noexcept;
  // The block is no longer part of the version that is being made.
  void drop(Line line) noexcept;

  [[nodiscard]] uint8_t* at(Line line) const noexcept { return base_ + size_t{line} * kLineBytes; }
  template <typename T>
  [[nodiscard]] T* as(Line line) const noexcept {
    return reinterpret_cast<T*>(at(line));
  }
  [[nodiscard]] bool is_fresh(Line line) const noexcept { return (meta(line) & kFresh) != 0; }
  [[nodiscard]] unsigned order_of(Line line) const noexcept { return meta(line) & kOrderBits; }
  // A line number that belongs to a block and that readers do not see; 0 in a new one.
  [[nodiscard]] Line attached(Line line) const noexcept { return meta(line) >> kAttachedShift; }
  void attach(Line line, Line other) noexcept {
    meta(line) = (meta(line) & ((1u << kAttachedShift) - 1)) | other << kAttachedShift;
  }

  [[nodiscard]] size_t replicas() const noexcept { return rooms_.size(); }
  // The same line in another copy, as of the last copy_fresh().
  template <typename T>
  [[nodiscard]] T* as_in(size_t replica, Line line) const noexcept {
    return reinterpret_cast<T*>(rooms_.base(replica) + size_t{line} * kLineBytes);
  }
  // Brings what the batch made to the other copies. What it did not make is there, and does not change.
  void copy_fresh() noexcept;

  // Ends the batch. The ticket is what it replaced, 0 when that is nothing.
  [[nodiscard]] uint64_t commit() noexcept;
  // Ends the batch and frees what it made.
  void abort() noexcept;
  void reclaim(uint64_t ticket) noexcept;

  [[nodiscard]] const uint8_t* base() const noexcept { return base_; }

  // Much memory holds little: the blocks should move together.
  [[nodiscard]] bool is_sparse() const noexcept {
    return reserved_bytes_ > kSparseBytes && used_bytes() * kSparseShare < reserved_bytes_;
  }
  // Whatever region there is gives no more blocks and goes when its last one does.
  void retire_regions() noexcept;
  [[nodiscard]] bool is_retiring(Line line) const noexcept {
    return region_of(line).region_retiring != 0;
  }
  // Of each copy.
  [[nodiscard]] size_t used_bytes() const noexcept { return used_lines_ * kLineBytes; }
  [[nodiscard]] size_t reserved_bytes() const noexcept { return reserved_bytes_; }

 private:
  // An eighth, of what is more than a few regions.
  static constexpr size_t kSparseBytes = size_t{4} << 20;
  static constexpr size_t kSparseShare = 8;

  // One word for each line; that of a block's first line says what it is, the others are 0.
  static constexpr uint32_t kOrderBits = 0x0f;
  static constexpr uint32_t kAllocated = 0x10;
  static constexpr uint32_t kFresh = 0x20;
  static constexpr uint32_t kFree = 0x40;
  static constexpr unsigned kAttachedShift = 8;

  // Stands at the start of each chunk. Chunks of one region come from one allocation.
  struct ChunkHeader {
    std::array<uint32_t, kChunkLines> meta;
    uint32_t region_first;  // chunk numbers
    uint32_t region_chunks;
    uint32_t region_used_lines;  // kept in the region's first chunk, as the next
    uint32_t region_retiring;
  };
  static constexpr Line kHeaderLines = (sizeof(ChunkHeader) + kLineBytes - 1) / kLineBytes;
  struct FreeBlock {
    Line next, previous;
  };
  // What one batch replaced: a list of blocks' lines.
  struct GarbageBlock {
    Line next;
    uint32_t count;
    uint64_t sequence;  // of the ticket, in the first block
    Line lines[];
  };

  [[nodiscard]] ChunkHeader& header(uint32_t chunk) const noexcept {
    return *reinterpret_cast<ChunkHeader*>(base_ + chunk * kChunkBytes);
  }
  [[nodiscard]] uint32_t& meta(Line line) const noexcept {
    return header(line >> kChunkLinesLog2).meta[line & (kChunkLines - 1)];
  }
  [[nodiscard]] ChunkHeader& region_of(Line line) const noexcept {
    return header(header(line >> kChunkLinesLog2).region_first);
  }
  // The head of the list in which a free block of `order` at `line` stands.
  [[nodiscard]] Line& free_head(Line line, unsigned order) noexcept {
    return (is_retiring(line) ? free_retiring_ : free_)[order];
  }
  [[nodiscard]] bool reserve_room() noexcept;
  void give_up_room() noexcept;
  [[nodiscard]] bool add_region() noexcept;
  void release_region(uint32_t first) noexcept;
  void release_idle_regions(uint32_t region) noexcept;
  void tell_of_growth() noexcept;
  void push_free(Line line, unsigned order) noexcept;
  void unlink_free(Line line) noexcept;
  void count_used(Line line, int64_t lines) noexcept;
  void free(Line line) noexcept;
  void remember_garbage(Line line) noexcept;
  template <typename F>
  void for_each_fresh(F f) noexcept;

  // In every copy. Here, so that nothing of them is left in other builds: an edit frees and takes many blocks.
#if defined(__SANITIZE_ADDRESS__)
  void poison(Line line, size_t bytes) noexcept;
  void unpoison(Line line, size_t bytes) noexcept;
#else
  void poison(Line, size_t) noexcept {}
  void unpoison(Line, size_t) noexcept {}
#endif

  uint8_t* base_ = nullptr;  // of the first
  uint32_t room_chunks_ = 0;
  std::bitset<kChunksMax> backed_;  // chunks with memory
  uint32_t chunks_end_ = 0;
  std::array<Line, kOrderMax + 1> free_{};
  std::array<Line, kOrderMax + 1> free_retiring_{};
  uint32_t regions_ = 0, idle_regions_ = 0;
  bool grows_ = false;  // the source expects large regions
  size_t used_lines_ = 0;
  size_t reserved_bytes_ = 0;

  // Fresh blocks are listed as long as they fit, else found by a scan of all chunks.
  static constexpr size_t kFreshListed = 1024;
  std::array<Line, kFreshListed> fresh_;
  size_t fresh_count_ = 0;

  Line garbage_first_ = 0, garbage_last_ = 0;
  uint64_t sequence_ = 0;

  Rooms rooms_;  // last: an edit needs the rest
};

}  // namespace turnpike::lookup

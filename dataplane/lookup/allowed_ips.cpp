#include "dataplane/lookup/allowed_ips.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/base/prefetch.h"
#include "dataplane/lookup/allowed_ips_arena.h"
#include "dataplane/lookup/allowed_ips_kernel.h"
#include "dataplane/lookup/allowed_ips_stamps.h"
#include "dataplane/lookup/allowed_ips_trie.h"

namespace turnpike::lookup {

namespace {

const Kernel& kernel = best_kernel();

}  // namespace

void lookup_burst(RootV4 root, std::span<const uint32_t> addresses,
                  std::span<PeerIndex> peers) noexcept {
  DCHECK(addresses.size() <= kBurstMax && peers.size() >= addresses.size());
  if (root.node == nullptr) {
    std::fill_n(peers.begin(), addresses.size(), kNoPeer);
  } else if (addresses.size() == 1) {
    peers[0] = walk_one_v4(root.node, addresses[0]);
  } else {
    kernel.v4(root.node, addresses.data(), addresses.size(), peers.data());
  }
}

void lookup_burst(RootV6 root, std::span<const Ipv6Key> addresses,
                  std::span<PeerIndex> peers) noexcept {
  static_assert(sizeof(Ipv6Key) == 16 && offsetof(Ipv6Key, low) == 8);
  DCHECK(addresses.size() <= kBurstMax && peers.size() >= addresses.size());
  if (root.node == nullptr) {
    std::fill_n(peers.begin(), addresses.size(), kNoPeer);
  } else if (addresses.size() == 1) {
    peers[0] = walk_one_v6(root.node, addresses[0].high, addresses[0].low);
  } else {
    kernel.v6(root.node, &addresses.data()->high, addresses.size(), peers.data());
  }
}

template <typename Root>
struct Writer<Root>::Impl {
  static constexpr Family kFamily = std::is_same_v<Root, RootV4> ? Family::V4 : Family::V6;

  // IPv6: as fine as nodes fan out below a /32, so that a node, its leaves and what they link to come to lie together.
  static constexpr unsigned kBucketBits = kFamily == Family::V4 ? 12 : 16;
  static constexpr size_t kBuckets = size_t{1} << kBucketBits;
  static constexpr size_t kLargeBatch = 2'048;
  static constexpr size_t kAhead = 16;
  static constexpr size_t kPageBytes = 4'096;
  // Half of a second-level cache.
  static constexpr size_t kNearBytes = 512 << 10;

  Impl(const ReplicaPages& each, Stamps stamps) noexcept
      : pages(each[0]), arena(each), trie(arena, kFamily), keeps_stamps(stamps == Stamps::Kept) {}

  RoomSource& pages;  // of the first copy, and of what a batch needs meanwhile
  NodeArena arena;
  Trie trie;
  Line head = 0;  // 0: the empty table
  Line next = 0;
  uint64_t head_size = 0;
  uint64_t next_size = 0;
  bool prepared = false;
  const bool keeps_stamps;
  StampClock clock;
  bool all_renewed = false;  // the stamps, by this batch

  [[nodiscard]] RootLine& root_line(Line line) const noexcept { return *arena.as<RootLine>(line); }
  [[nodiscard]] Root root(Line line, ReplicaIndex replica) const noexcept {
    CHECK(replica < arena.replicas());
    return Root{line == 0 ? nullptr : arena.as_in<RootLine>(replica, line)};
  }

  // A root that the batch may change.
  void own_root() noexcept {
    if (next != 0 && arena.is_fresh(next)) return;
    const Line line = arena.allocate(0);
    RootLine& made = root_line(line);
    made = next == 0 ? RootLine{} : root_line(next);
    made.base = arena.base();
    made.line = line;
    if (next != 0) arena.drop(next);
    next = line;
    if (keeps_stamps) own_stamps(made);
  }

  [[nodiscard]] Line moved_stamps(Line from) noexcept {
    const Line to = arena.allocate(kStampsOrder);
    std::memcpy(arena.at(to), arena.at(from), kStamps * sizeof(uint32_t));
    arena.drop(from);
    return to;
  }
  // What is of another era says nothing in this one.
  void own_stamps(RootLine& root) noexcept {
    root.stamps = root.stamps == 0 ? arena.allocate(kStampsOrder) : moved_stamps(root.stamps);
    if (root.era != clock.era()) renew(root, {.first = 0, .count = kStamps});
    root.era = clock.era();
  }
  void renew(const RootLine& root, const StampRange& range) noexcept {
    if (all_renewed) return;
    std::fill_n(arena.as<uint32_t>(root.stamps) + range.first, range.count, clock.number());
    all_renewed = range.count == kStamps;
  }
  void drop_root() noexcept {
    if (const Line stamps = root_line(next).stamps; stamps != 0) arena.drop(stamps);
    arena.drop(next);
    next = 0;
  }

  // The new version is whole: it goes to the other copies. Only its root knows where it lies.
  void replicate() noexcept {
    if (arena.replicas() == 1) return;
    arena.copy_fresh();
    for (size_t i = 1; i < arena.replicas(); ++i) {
      arena.as_in<RootLine>(i, next)->base = arena.as_in<uint8_t>(i, 0);
    }
  }

  // Moves the new version together when much memory holds little, so that regions fall empty when what was
  // before is reclaimed. For want of memory it may stay in part where it is.
  void compact_if_sparse() noexcept {
    if (next == 0 || next_size == 0 || !arena.is_sparse()) return;
    arena.retire_regions();
    if (!arena.ensure()) return;
    RootLine made = root_line(next);
    made.line = arena.allocate(0);
    if (made.stamps != 0) made.stamps = moved_stamps(made.stamps);
    trie.compact(made.top);
    root_line(made.line) = made;
    arena.drop(next);
    next = made.line;
  }

  // Where a prefix is in the table, roughly: neighbours together.
  static size_t bucket_of(const Prefix& p) noexcept {
    if constexpr (kFamily == Family::V4) return p.address.v4_host_order() >> (32 - kBucketBits);
    // Most tables have few /32, and fan out below them.
    const uint64_t high = load_be64(p.address.bytes.data());
    const uint64_t net = high >> 32;
    constexpr unsigned kBelow = kBucketBits - 4;
    return ((net ^ net >> 8 ^ net >> 19) & 0xf) << kBelow | (high & 0xffff'ffff) >> (32 - kBelow);
  }

  // A large batch goes bucket by bucket, so that the nodes it changes stay in the cache; edits of one prefix
  // stay in their order. Without memory for that it goes as it came.
  bool apply_all(std::span<const Edit> edits) noexcept {
    const size_t bytes = ((kBuckets + 1 + edits.size()) * sizeof(uint32_t) + kPageBytes - 1) /
                         kPageBytes * kPageBytes;
    auto* starts = edits.size() < kLargeBatch || edits.size() > UINT32_MAX
                       ? nullptr
                       : static_cast<uint32_t*>(pages.allocate(bytes));
    if (starts == nullptr) {
      return std::ranges::all_of(edits, [this](const Edit& e) { return apply(e); });
    }
    uint32_t* order = starts + kBuckets + 1;
    std::fill_n(starts, kBuckets + 1, 0u);
    for (const Edit& e : edits) ++starts[bucket_of(e.prefix) + 1];
    for (size_t i = 1; i <= kBuckets; ++i) starts[i] += starts[i - 1];
    for (uint32_t i = 0; i < edits.size(); ++i) order[starts[bucket_of(edits[i].prefix)]++] = i;
    bool done = true;
    for (size_t k = 0; k < edits.size() && done; ++k) {
      // In this order they lie far apart.
      if (k + kAhead < edits.size()) prefetch(&edits[order[k + kAhead]]);
      done = apply(edits[order[k]]);
    }
    pages.release(starts, bytes);
    return done;
  }

  bool apply(const Edit& e) noexcept {
    CHECK(e.prefix.address.family == kFamily && e.prefix.length <= e.prefix.address.width_bits());
    if (next == 0 && e.peer == kNoPeer) return true;
    if (!arena.ensure()) return false;
    const Slot before = next == 0 ? Slot{} : root_line(next).top;
    Slot top = before;
    next_size =
        static_cast<uint64_t>(static_cast<int64_t>(next_size) + trie.edit(top, e.prefix, e.peer));
    const bool is_new = next != 0 && arena.is_fresh(next);
    // What is fresh below it may have changed in place.
    if (top.child == before.child && top.peer == before.peer && !is_new) return true;
    own_root();
    RootLine& root = root_line(next);
    root.top = top;
    if (keeps_stamps) renew(root, stamps_below(e.prefix));
    return true;
  }
};

template <typename Root>
Writer<Root>::Writer(const ReplicaPages& pages, Stamps stamps)
    : impl_(std::make_unique<Impl>(pages, stamps)) {}
template <typename Root>
Writer<Root>::~Writer() = default;

template <typename Root>
Root Writer<Root>::head(ReplicaIndex replica) const noexcept {
  return impl_->root(impl_->head, replica);
}

template <typename Root>
bool Writer<Root>::prepare(std::span<const Edit> edits) noexcept {
  CHECK(!impl_->prepared);
  impl_->prepared = true;
  impl_->next = impl_->head;
  impl_->next_size = impl_->head_size;
  impl_->clock.advance();
  impl_->all_renewed = false;
  if (!impl_->apply_all(edits)) {
    abort();
    return false;
  }
  if (impl_->next != 0 && impl_->next_size == 0) impl_->drop_root();
  impl_->compact_if_sparse();
  if (impl_->next != impl_->head && impl_->next != 0) {
    impl_->root_line(impl_->next).near = impl_->arena.used_bytes() <= Impl::kNearBytes ? 1 : 0;
    impl_->replicate();
  }
  return true;
}

template <typename Root>
Root Writer<Root>::prepared(ReplicaIndex replica) const noexcept {
  CHECK(impl_->prepared);
  return impl_->root(impl_->next, replica);
}

template <typename Root>
Garbage Writer<Root>::commit() noexcept {
  CHECK(impl_->prepared);
  impl_->prepared = false;
  impl_->head = impl_->next;
  impl_->head_size = impl_->next_size;
  return Garbage{impl_->arena.commit()};
}

template <typename Root>
void Writer<Root>::abort() noexcept {
  CHECK(impl_->prepared);
  impl_->prepared = false;
  impl_->arena.abort();
}

template <typename Root>
void Writer<Root>::reclaim(Garbage garbage) noexcept {
  impl_->arena.reclaim(garbage.ticket);
}

template <typename Root>
PeerIndex Writer<Root>::find(const Prefix& exact) const noexcept {
  CHECK(exact.address.family == Impl::kFamily && exact.length <= exact.address.width_bits());
  return impl_->head == 0 ? kNoPeer : impl_->trie.find(impl_->root_line(impl_->head), exact);
}

template <typename Root>
uint64_t Writer<Root>::size() const noexcept {
  return impl_->head_size;
}

template <typename Root>
void Writer<Root>::walk(const std::function<bool(const Prefix&, PeerIndex)>& visit) const {
  if (impl_->head != 0) impl_->trie.walk(impl_->root_line(impl_->head), visit);
}

template <typename Root>
size_t Writer<Root>::used_bytes() const noexcept {
  return impl_->arena.used_bytes();
}

template <typename Root>
size_t Writer<Root>::reserved_bytes() const noexcept {
  return impl_->arena.reserved_bytes();
}

template class Writer<RootV4>;
template class Writer<RootV6>;

}  // namespace turnpike::lookup

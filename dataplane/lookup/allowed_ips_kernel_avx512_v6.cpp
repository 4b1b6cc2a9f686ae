// The IPv6 kernel for processors with AVX-512: eight lanes a vector.
//   1. All lanes stand at the top. Nodes until no lane stands at one, then skips, and so on: lanes wait for
//      each other, so that a step finds its vectors full.
//   2. Leaves one by one, because a leaf is compared as a vector. Their links lead to skips again.
//   3. Owners at the end. Each step prefetches what it leads to, where the table is not near.
#include "dataplane/lookup/allowed_ips_kernel_avx512_begin.h"

namespace turnpike::lookup {
namespace {

inline constexpr unsigned kWidth = 8;
// Fewer lanes than this take their steps one by one.
inline constexpr int kFew = 5;

struct alignas(kCacheLine) Lanes {
  uint64_t key[kBurstMax];  // what of the address comes behind that at which the lane stands
  uint64_t line
      [kBurstMax];  // the address of what the lane looks at next: a slot, an owner, a leaf, a skip
  uint64_t ref[kBurstMax];
  uint64_t best[kBurstMax];
  uint32_t list[kBurstMax + 16];  // stored a vector at a time
};
// Eight of them.
struct Group {
  __m512i key, line, ref, best;
};

inline __m512i all(uint64_t v) noexcept { return _mm512_set1_epi64(static_cast<long long>(v)); }
inline __m512i kinds(__m512i ref) noexcept { return _mm512_and_si512(ref, all(7)); }
inline __mmask8 standing_at(__m512i kind, Kind which) noexcept {
  return _mm512_cmpeq_epi64_mask(kind, all(static_cast<uint64_t>(which)));
}

inline Group load(const Lanes& lanes, unsigned g) noexcept {
  return {.key = _mm512_load_si512(lanes.key + g * kWidth),
          .line = _mm512_load_si512(lanes.line + g * kWidth),
          .ref = _mm512_load_si512(lanes.ref + g * kWidth),
          .best = _mm512_load_si512(lanes.best + g * kWidth)};
}
inline void store(Lanes& lanes, unsigned g, const Group& group) noexcept {
  _mm512_store_si512(lanes.key + g * kWidth, group.key);
  _mm512_store_si512(lanes.line + g * kWidth, group.line);
  _mm512_store_si512(lanes.ref + g * kWidth, group.ref);
  _mm512_store_si512(lanes.best + g * kWidth, group.best);
}
inline void store_ahead(Lanes& lanes, unsigned g, const Group& group) noexcept {
  store(lanes, g, group);
  for (unsigned i = 0; i < kWidth; ++i) {
    __builtin_prefetch(reinterpret_cast<const void*>(lanes.line[g * kWidth + i]), 0, 3);
  }
}

// The lanes `who` go on at `ref` with `key` left of their addresses. Returns which now stand at a node.
inline __mmask8 arrive(const uint8_t* base, Group& group, __mmask8 who, __m512i ref,
                       __m512i key) noexcept {
  // Leaves and skips have stride 0: their index is 0. Owners take 4 bytes, slots 8.
  const __m512i stride = _mm512_and_si512(_mm512_srli_epi64(ref, 3), all(15));
  const __m512i index = _mm512_srlv_epi64(key, _mm512_sub_epi64(all(64), stride));
  const __m512i kind = kinds(ref);
  const __m512i offset =
      _mm512_mask_slli_epi64(_mm512_slli_epi64(index, 3), standing_at(kind, Kind::Peers), index, 2);
  const __m512i start = _mm512_add_epi64(all(reinterpret_cast<uint64_t>(base)),
                                         _mm512_slli_epi64(_mm512_srli_epi64(ref, kLineShift), 6));
  group.key = _mm512_mask_sllv_epi64(group.key, who, key, stride);
  group.line = _mm512_mask_add_epi64(group.line, who, start, offset);
  group.ref = _mm512_mask_mov_epi64(group.ref, who, ref);
  return standing_at(kind, Kind::Node) & who;
}

inline __mmask8 take_slots(const uint8_t* base, Group& group, __mmask8 who, __m512i slots,
                           __m512i key) noexcept {
  const __m512i peer = _mm512_srli_epi64(slots, 32);
  const __mmask8 owned = _mm512_mask_cmpneq_epi64_mask(who, peer, all(kNoPeer));
  group.best = _mm512_mask_mov_epi64(group.best, owned, peer);
  return arrive(base, group, who, _mm512_and_si512(slots, all(0xffffffff ^ kExactMark)), key);
}

inline __mmask8 take_nodes(const uint8_t* base, Group& group, __mmask8 who) noexcept {
  const __m512i slots =
      _mm512_mask_i64gather_epi64(_mm512_setzero_si512(), who, group.line, nullptr, 1);
  return take_slots(base, group, who, slots, group.key);
}

// All eight stand at nodes, and what the group holds is in memory at `lines`: loads and shuffles are faster
// than a gather.
inline __mmask8 take_full_nodes(const uint8_t* base, Group& group, const uint64_t* lines) noexcept {
  const auto slot = [lines](unsigned i) { return *reinterpret_cast<const long long*>(lines[i]); };
  const __m512i slots =
      _mm512_set_epi64(slot(7), slot(6), slot(5), slot(4), slot(3), slot(2), slot(1), slot(0));
  return take_slots(base, group, 0xff, slots, group.key);
}

// `pairs`: both halves of the lanes' addresses, in turn.
inline __mmask8 take_skips(const uint8_t* base, Group& group, __mmask8 who, const uint8_t* readable,
                           const uint64_t* pairs) noexcept {
  alignas(kCacheLine) uint64_t from[kWidth];
  _mm512_store_si512(
      from, _mm512_mask_mov_epi64(all(reinterpret_cast<uint64_t>(readable)), who, group.line));
  // Four words of each, two in a vector, to columns.
  const auto rows = [&from](unsigned i) {
    const auto half = [&from](unsigned k) {
      return _mm256_load_si256(reinterpret_cast<const __m256i*>(from[k]));
    };
    return _mm512_inserti64x4(_mm512_castsi256_si512(half(i)), half(i + 4), 1);
  };
  const __m512i a = rows(0), b = rows(1), c = rows(2), d = rows(3);
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
  const __m512i second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  const __m512i even_ab = _mm512_unpacklo_epi64(a, b), even_cd = _mm512_unpacklo_epi64(c, d);
  const __m512i bits = _mm512_permutex2var_epi64(even_ab, first, even_cd);
  const __m512i slots = _mm512_permutex2var_epi64(even_ab, second, even_cd);
  const __m512i what =
      _mm512_permutex2var_epi64(_mm512_unpackhi_epi64(a, b), first, _mm512_unpackhi_epi64(c, d));
  static_assert(offsetof(Skip, bits) == 0 && offsetof(Skip, length) == 8 &&
                offsetof(Skip, crosses) == 12 && offsetof(Skip, slot) == 16);
  __m512i key = group.key;
  const __m512i low = _mm512_permutex2var_epi64(_mm512_load_si512(pairs),
                                                _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15),
                                                _mm512_load_si512(pairs + kWidth));
  const __mmask8 crosses = _mm512_cmpge_epu64_mask(what, all(uint64_t{1} << 32));
  key = _mm512_mask_mov_epi64(key, crosses, low);
  const __m512i length = _mm512_and_si512(what, all(0xffffffff));
  const __m512i differs =
      _mm512_srlv_epi64(_mm512_xor_si512(key, bits), _mm512_sub_epi64(all(64), length));
  const __m512i agreed = _mm512_mask_mov_epi64(all(uint64_t{kNoPeer} << 32),
                                               _mm512_testn_epi64_mask(differs, differs), slots);
  return take_slots(base, group, who, agreed, _mm512_sllv_epi64(key, length));
}

// True when the lane stands at a node again.
inline bool take_node(const uint8_t* base, Lanes& lanes, unsigned lane) noexcept {
  const Slot slot = *reinterpret_cast<const Slot*>(lanes.line[lane]);
  lanes.best[lane] = slot.peer != kNoPeer ? slot.peer : lanes.best[lane];
  const Ref ref = slot.below();
  const unsigned stride = stride_of(ref);
  const uint64_t key = lanes.key[lane];
  const uint64_t offset = take(key, stride) << 3 >> (kind_of(ref) == Kind::Peers);
  const uint8_t* line = at(base, line_of(ref)) + offset;
  __builtin_prefetch(line, 0, 3);
  lanes.key[lane] = key << stride;
  lanes.line[lane] = reinterpret_cast<uint64_t>(line);
  lanes.ref[lane] = ref;
  return kind_of(ref) == Kind::Node;
}

// Whether an entry is a link, and whether one matches behind it, is as random as the traffic: no
// branches.
template <typename L>
inline void take_leaf(const uint8_t* base, Lanes& lanes, unsigned lane) noexcept {
  constexpr uint32_t kLast = 1u << (L::kCapacity - 1);
  const L& leaf = *reinterpret_cast<const L*>(lanes.line[lane]);
  uint32_t found = matches(leaf, lanes.key[lane]);
  const auto first = static_cast<unsigned>(__builtin_ctz(found | kLast));
  const uint32_t link = leaf.links >> first & uint32_t{found != 0};
  const Ref to = leaf.values[first] & -link;
  const uint8_t* line = at(base, line_of(to));
  __builtin_prefetch(line, 0, 3);
  lanes.line[lane] = reinterpret_cast<uint64_t>(line);
  lanes.ref[lane] = to;
  found &= found - link;
  // All ones, kNoPeer, where nothing matches.
  const uint64_t peer =
      leaf.values[__builtin_ctz(found | kLast)] | -static_cast<uint32_t>(found == 0);
  const uint64_t none = -((peer + 1) >> 32);  // all ones where it does not
  lanes.best[lane] = peer ^ ((peer ^ lanes.best[lane]) & none);
}

inline void take_leaves(const uint8_t* base, Lanes& lanes, unsigned n) noexcept {
  const auto take_as = [&]<typename L>(unsigned lane) { take_leaf<L>(base, lanes, lane); };
  for (unsigned i = 0; i < n; ++i) {
    const unsigned lane = lanes.list[i];
    switch (kind_of(static_cast<Ref>(lanes.ref[lane]))) {
      case Kind::Leaf16:
        take_as.template operator()<Leaf16>(lane);
        break;
      case Kind::Leaf32:
        take_as.template operator()<Leaf32>(lane);
        break;
      default:
        take_as.template operator()<Leaf64>(lane);
    }
  }
}

inline __mmask8 of_group(uint64_t who, unsigned g) noexcept {
  return static_cast<__mmask8>(who >> g * kWidth);
}
inline uint64_t in_burst(__mmask8 who, unsigned g) noexcept { return uint64_t{who} << g * kWidth; }
inline __mmask8 first_of(size_t count, unsigned g) noexcept {
  const size_t left = count - g * kWidth;
  return static_cast<__mmask8>(left >= kWidth ? 0xff : (1u << left) - 1);
}

// All lanes in `nodes` go on until they stand at something else.
inline void leave_nodes(const uint8_t* base, Lanes& lanes, unsigned groups,
                        uint64_t nodes) noexcept {
  while (nodes != 0) {
    uint64_t who = std::exchange(nodes, 0);
    if (__builtin_popcountll(who) < kFew) {
      for (; who != 0; who &= who - 1) {
        const auto lane = static_cast<unsigned>(__builtin_ctzll(who));
        nodes |= uint64_t{take_node(base, lanes, lane)} << lane;
      }
      continue;
    }
    for (unsigned g = 0; g < groups; ++g) {
      const __mmask8 some = of_group(who, g);
      if (some == 0) continue;
      Group group = load(lanes, g);
      nodes |= in_burst(some == 0xff ? take_full_nodes(base, group, lanes.line + g * kWidth)
                                     : take_nodes(base, group, some),
                        g);
      store_ahead(lanes, g, group);
    }
  }
}

// The keys, first halves of the addresses, are in the lanes. `pairs` has both halves of all.
template <bool kNear>
inline void walk(const RootLine& root, Lanes& lanes, size_t count, const uint64_t* pairs,
                 PeerIndex* peers) noexcept {
  const uint8_t* base = root.base;
  const auto* readable = reinterpret_cast<const uint8_t*>(&root);
  const auto groups = static_cast<unsigned>((count + kWidth - 1) / kWidth);
  uint64_t nodes = 0;
  for (unsigned g = 0; g < groups; ++g) {
    Group group{.key = {}, .line = {}, .ref = {}, .best = all(root.top.peer)};
    const __m512i key = _mm512_load_si512(lanes.key + g * kWidth);
    __mmask8 some = arrive(base, group, 0xff, all(root.top.child), key);
    // What is near needs no prefetch, and each group goes its way at once.
    while (kNear && some != 0) some = take_nodes(base, group, some);
    store(lanes, g, group);
    nodes |= in_burst(some, g);
  }
  uint64_t owners = 0;
  for (;;) {
    if constexpr (!kNear) leave_nodes(base, lanes, groups, std::exchange(nodes, 0));
    uint64_t skips = 0, leaves = 0;
    owners = 0;
    for (unsigned g = 0; g < groups; ++g) {
      const __m512i kind = kinds(_mm512_load_si512(lanes.ref + g * kWidth));
      skips |= in_burst(standing_at(kind, Kind::Skip), g);
      owners |= in_burst(standing_at(kind, Kind::Peers), g);
      leaves |= in_burst(_mm512_cmplt_epu64_mask(_mm512_sub_epi64(kind, all(3)), all(3)), g);
    }
    if (skips != 0) {
      for (unsigned g = 0; g < groups; ++g) {
        const __mmask8 who = of_group(skips, g);
        if (who == 0) continue;
        Group group = load(lanes, g);
        __mmask8 some = take_skips(base, group, who, readable, pairs + 2 * g * kWidth);
        if constexpr (kNear) {
          while (some != 0) some = take_nodes(base, group, some);
          store(lanes, g, group);
        } else {
          store_ahead(lanes, g, group);
          nodes |= in_burst(some, g);
        }
      }
      continue;
    }
    if (leaves == 0) break;
    take_leaves(base, lanes, list_lanes(leaves, lanes.list));
  }
  for (unsigned g = 0; g < groups; ++g) {
    const __m256i best = _mm512_cvtepi64_epi32(_mm512_load_si512(lanes.best + g * kWidth));
    _mm256_mask_storeu_epi32(peers + g * kWidth, first_of(count, g), best);
  }
  const unsigned n = list_lanes(owners, lanes.list);
  for (unsigned i = 0; i < n; ++i) {
    const unsigned lane = lanes.list[i];
    const PeerIndex peer = *reinterpret_cast<const PeerIndex*>(lanes.line[lane]);
    if (peer != kNoPeer) peers[lane] = peer;
  }
}

}  // namespace

// `halves` are the upper and the lower half of each address in turn.
void avx512_walk_v6(const void* node, const uint64_t* halves, size_t count,
                    PeerIndex* peers) noexcept {
  Lanes lanes;
  alignas(kCacheLine) uint64_t pairs[2 * kBurstMax];
  const auto& root = *static_cast<const RootLine*>(node);
  const __m512i upper = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  for (unsigned g = 0; g * kWidth < count; ++g) {
    const size_t words = 2 * g * kWidth;
    const __m512i a = _mm512_maskz_loadu_epi64(first_of(2 * count, 2 * g), halves + words);
    const __m512i b =
        2 * count > words + kWidth
            ? _mm512_maskz_loadu_epi64(first_of(2 * count, 2 * g + 1), halves + words + kWidth)
            : _mm512_setzero_si512();
    _mm512_store_si512(pairs + words, a);
    _mm512_store_si512(pairs + words + kWidth, b);
    _mm512_store_si512(lanes.key + g * kWidth, _mm512_permutex2var_epi64(a, upper, b));
  }
  if (root.near != 0) {
    walk<true>(root, lanes, count, pairs, peers);
  } else {
    walk<false>(root, lanes, count, pairs, peers);
  }
}

}  // namespace turnpike::lookup

#include "dataplane/lookup/allowed_ips_kernel_avx512_end.h"

// The IPv4 kernel for processors with AVX-512: sixteen lanes a vector.
//   1. What all addresses have in common is walked once. If that leads all of them to one leaf, that is all.
//   2. All lanes stand where they part. Nodes until no lane stands at one, then skips, and so on: lanes wait for
//      each other, so that a step finds its vectors full.
//   3. Leaves one by one, because a leaf is compared as a vector.
//   4. Owners at the end. Each step prefetches what it leads to, where the table is not near.
#include <algorithm>

#include "dataplane/lookup/allowed_ips_kernel_avx512_begin.h"

namespace turnpike::lookup {
namespace {

inline constexpr unsigned kWidth = 16;
// Fewer lanes than this take their steps one by one.
inline constexpr int kFew = 5;

struct alignas(kCacheLine) Lanes {
  uint32_t key[kBurstMax];  // what of the address comes behind that at which the lane stands
  uint32_t at[kBurstMax];  // what the lane looks at next: bytes from the base
  Ref ref[kBurstMax];
  PeerIndex best[kBurstMax];
  uint32_t list[kBurstMax + 16];  // stored a vector at a time
};
// Sixteen of them.
struct Group {
  __m512i key, at, ref, best;
};

inline __m512i all(uint32_t v) noexcept { return _mm512_set1_epi32(static_cast<int>(v)); }
inline __m512i kinds(__m512i ref) noexcept { return _mm512_and_si512(ref, all(7)); }
inline __mmask16 standing_at(__m512i kind, Kind which) noexcept {
  return _mm512_cmpeq_epi32_mask(kind, all(static_cast<uint32_t>(which)));
}

inline Group load(const Lanes& lanes, unsigned g) noexcept {
  return {.key = _mm512_load_si512(lanes.key + g * kWidth),
          .at = _mm512_load_si512(lanes.at + g * kWidth),
          .ref = _mm512_load_si512(lanes.ref + g * kWidth),
          .best = _mm512_load_si512(lanes.best + g * kWidth)};
}
inline void store(Lanes& lanes, unsigned g, const Group& group) noexcept {
  _mm512_store_si512(lanes.key + g * kWidth, group.key);
  _mm512_store_si512(lanes.at + g * kWidth, group.at);
  _mm512_store_si512(lanes.ref + g * kWidth, group.ref);
  _mm512_store_si512(lanes.best + g * kWidth, group.best);
}
inline void store_ahead(const uint8_t* base, Lanes& lanes, unsigned g,
                        const Group& group) noexcept {
  store(lanes, g, group);
  for (unsigned i = 0; i < kWidth; ++i) {
    __builtin_prefetch(base + lanes.at[g * kWidth + i], 0, 3);
  }
}

// The lanes `who` go on at `ref` with `key` left of their addresses. Returns which now stand at a node.
inline __mmask16 arrive(Group& group, __mmask16 who, __m512i ref, __m512i key) noexcept {
  // Leaves and skips have stride 0: their index is 0. Owners take 4 bytes, slots 8.
  const __m512i stride = _mm512_and_si512(_mm512_srli_epi32(ref, 3), all(15));
  const __m512i index = _mm512_srlv_epi32(key, _mm512_sub_epi32(all(32), stride));
  const __m512i kind = kinds(ref);
  const __m512i offset =
      _mm512_mask_slli_epi32(_mm512_slli_epi32(index, 3), standing_at(kind, Kind::Peers), index, 2);
  static_assert(kLineBytes == 1u << (kLineShift - 2));
  const __m512i start = _mm512_srli_epi32(_mm512_and_si512(ref, all(~0u << kLineShift)), 2);
  group.key = _mm512_mask_sllv_epi32(group.key, who, key, stride);
  group.at = _mm512_mask_add_epi32(group.at, who, start, offset);
  group.ref = _mm512_mask_mov_epi32(group.ref, who, ref);
  return standing_at(kind, Kind::Node) & who;
}

// Slots come as those of the first and of the second eight lanes.
inline __mmask16 take_slots(Group& group, __mmask16 who, __m512i first, __m512i second,
                            __mmask16 valid, __m512i key) noexcept {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, all(1));
  const __m512i peer = _mm512_permutex2var_epi32(first, odd, second);
  const __m512i child = _mm512_permutex2var_epi32(first, even, second);
  const __mmask16 owned = _mm512_mask_cmpneq_epi32_mask(valid, peer, all(kNoPeer));
  group.best = _mm512_mask_mov_epi32(group.best, owned, peer);
  return arrive(group, who, _mm512_maskz_and_epi32(valid, child, all(~kExactMark)), key);
}

inline __m512i gather_words(const uint8_t* base, __mmask16 who, __m512i at,
                            unsigned half) noexcept {
  const __m256i where = half == 0 ? _mm512_castsi512_si256(at) : _mm512_extracti64x4_epi64(at, 1);
  return _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), static_cast<__mmask8>(who >> 8 * half),
                                     where, base, 1);
}
inline __m512i gather_halves(const uint8_t* base, __mmask16 who, __m512i at) noexcept {
  return _mm512_mask_i32gather_epi32(all(kNoPeer), who, at, base, 1);
}

inline __mmask16 take_nodes(const uint8_t* base, Group& group, __mmask16 who) noexcept {
  return take_slots(group, who, gather_words(base, who, group.at, 0),
                    gather_words(base, who, group.at, 1), who, group.key);
}

// All sixteen stand at nodes, and where is in memory: loads and shuffles are faster than gathers.
inline __mmask16 take_full_nodes(const uint8_t* base, Group& group, const uint32_t* at) noexcept {
  const auto eight = [base](const uint32_t* from) {
    const auto slot = [base, from](unsigned i) {
      return *reinterpret_cast<const long long*>(base + from[i]);
    };
    return _mm512_set_epi64(slot(7), slot(6), slot(5), slot(4), slot(3), slot(2), slot(1), slot(0));
  };
  return take_slots(group, 0xffff, eight(at), eight(at + 8), 0xffff, group.key);
}

inline __mmask16 take_skips(const uint8_t* base, Group& group, __mmask16 who) noexcept {
  // The bits are at most 32: the upper half of the word.
  const __m512i bits = gather_halves(base + offsetof(Skip, bits) + 4, who, group.at);
  const __m512i length = gather_halves(base + offsetof(Skip, length), who, group.at);
  const __m512i differs =
      _mm512_srlv_epi32(_mm512_xor_si512(group.key, bits), _mm512_sub_epi32(all(32), length));
  const __mmask16 agrees = _mm512_mask_testn_epi32_mask(who, differs, differs);
  const uint8_t* slots = base + offsetof(Skip, slot);
  return take_slots(group, who, gather_words(slots, agrees, group.at, 0),
                    gather_words(slots, agrees, group.at, 1), agrees,
                    _mm512_sllv_epi32(group.key, length));
}

// True when the lane stands at a node again.
inline bool take_node(const uint8_t* base, Lanes& lanes, unsigned lane) noexcept {
  const Slot slot = *reinterpret_cast<const Slot*>(base + lanes.at[lane]);
  lanes.best[lane] = slot.peer != kNoPeer ? slot.peer : lanes.best[lane];
  const Ref ref = slot.below();
  // Left of the shift's upper half stands the index, in the lower half the rest.
  const uint64_t key = uint64_t{lanes.key[lane]} << stride_of(ref);
  const uint64_t offset = key >> 32 << 3 >> (kind_of(ref) == Kind::Peers);
  const auto at = static_cast<uint32_t>(line_of(ref) * kLineBytes + offset);
  __builtin_prefetch(base + at, 0, 3);
  lanes.key[lane] = static_cast<uint32_t>(key);
  lanes.at[lane] = at;
  lanes.ref[lane] = ref;
  return kind_of(ref) == Kind::Node;
}

// An entry that matches is the rule, so the branches are foreseen.
template <typename L>
inline void take_leaf(const uint8_t* base, Lanes& lanes, unsigned lane) noexcept {
  const L& leaf = *reinterpret_cast<const L*>(base + lanes.at[lane]);
  const uint32_t found = matches(leaf, uint64_t{lanes.key[lane]} << 32);
  if (found == 0) return;
  const PeerIndex peer = leaf.values[__builtin_ctz(found)];
  if (peer != kNoPeer) lanes.best[lane] = peer;
}

inline void take_leaves(const uint8_t* base, Lanes& lanes, unsigned n) noexcept {
  for (unsigned i = 0; i < n; ++i) {
    const unsigned lane = lanes.list[i];
    switch (kind_of(lanes.ref[lane])) {
      case Kind::Leaf16:
        take_leaf<Leaf16>(base, lanes, lane);
        break;
      case Kind::Leaf32:
        take_leaf<Leaf32>(base, lanes, lane);
        break;
      default:
        take_leaf<Leaf64>(base, lanes, lane);
    }
  }
}

inline __mmask16 of_group(uint64_t who, unsigned g) noexcept {
  return static_cast<__mmask16>(who >> g * kWidth);
}
inline uint64_t in_burst(__mmask16 who, unsigned g) noexcept { return uint64_t{who} << g * kWidth; }
inline __mmask16 first_of(size_t count, unsigned g) noexcept {
  const size_t left = count - g * kWidth;
  return static_cast<__mmask16>(left >= kWidth ? 0xffff : (1u << left) - 1);
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
      const __mmask16 some = of_group(who, g);
      if (some == 0) continue;
      Group group = load(lanes, g);
      nodes |= in_burst(some == 0xffff ? take_full_nodes(base, group, lanes.at + g * kWidth)
                                       : take_nodes(base, group, some),
                        g);
      store_ahead(base, lanes, g, group);
    }
  }
}

// Where the lanes part: behind the bits that all of them have in common, with the owner that was met on the way.
struct Start {
  Ref ref;
  PeerIndex best;
  unsigned bits;  // behind so many, at most 32
};

[[nodiscard]] inline unsigned common_bits(const Lanes& lanes, size_t count) noexcept {
  __m512i differences = _mm512_setzero_si512();
  for (unsigned g = 0; g * kWidth < count; ++g) {
    const __m512i keys = _mm512_load_si512(lanes.key + g * kWidth);
    differences = _mm512_mask_or_epi32(differences, first_of(count, g), differences,
                                       _mm512_xor_si512(keys, all(lanes.key[0])));
  }
  return _lzcnt_u32(static_cast<uint32_t>(_mm512_reduce_or_epi32(differences)));
}

// Hosts of a pool have their first bits in common, and one of them goes that way for all, by plain steps. `common`:
// how many bits.
inline Start start(const RootLine& root, Start from, uint32_t address, unsigned common) noexcept {
  for (;;) {
    const uint8_t* line = at(root.base, line_of(from.ref));
    const uint64_t key = rest(uint64_t{address} << 32, from.bits);
    const unsigned left = common - from.bits;
    Slot slot;
    if (kind_of(from.ref) == Kind::Node) {
      const unsigned stride = stride_of(from.ref);
      if (stride > left) return from;
      slot = reinterpret_cast<const Slot*>(line)[take(key, stride)];
      from.bits += stride;
    } else if (kind_of(from.ref) == Kind::Skip) {
      const Skip& skip = *reinterpret_cast<const Skip*>(line);
      const auto agreed = static_cast<unsigned>(__builtin_clzll((key ^ skip.bits) | 1));
      if (agreed < left && agreed < skip.length) {
        from.ref = 0;  // no lane goes on
        return from;
      }
      if (skip.length > left) return from;
      slot = skip.slot;
      from.bits += skip.length;
    } else {
      return from;
    }
    from.best = slot.peer != kNoPeer ? slot.peer : from.best;
    from.ref = slot.below();
  }
}

[[nodiscard]] inline __m512i keys_behind(const Lanes& lanes, unsigned g, unsigned bits) noexcept {
  return _mm512_sll_epi32(_mm512_load_si512(lanes.key + g * kWidth),
                          _mm_cvtsi32_si128(static_cast<int>(bits)));
}

// All lanes stand at one leaf: its entries are compared one by one, with sixteen lanes at once.
template <typename L>
inline void take_one_leaf(const RootLine& root, const Start& from, const Lanes& lanes, size_t count,
                          PeerIndex* peers) noexcept {
  const L& leaf = *reinterpret_cast<const L*>(at(root.base, line_of(from.ref)));
  for (unsigned g = 0; g * kWidth < count; ++g) {
    const __m512i keys = keys_behind(lanes, g, from.bits);
    __m512i found = all(kNoPeer);
    for (size_t i = L::kCapacity; i-- > 0;) {  // the longest prefix last
      const uint64_t key = uint64_t{leaf.keys[i]} << (64 - L::kKeyBits);
      const __m512i differs = _mm512_xor_si512(keys, all(static_cast<uint32_t>(key >> 32)));
      const __m512i marker_and_below = all(static_cast<uint32_t>((key ^ (key - 1)) >> 32));
      found = _mm512_mask_mov_epi32(found, _mm512_cmple_epu32_mask(differs, marker_and_below),
                                    all(leaf.values[i]));
    }
    const __mmask16 owned = _mm512_cmpneq_epi32_mask(found, all(kNoPeer));
    _mm512_mask_storeu_epi32(peers + g * kWidth, first_of(count, g),
                             _mm512_mask_mov_epi32(all(from.best), owned, found));
  }
}

// The keys, the addresses, are in the lanes.
template <bool kNear>
inline void walk(const RootLine& root, const Start& from, Lanes& lanes, size_t count,
                 PeerIndex* peers) noexcept {
  const uint8_t* base = root.base;
  const auto groups = static_cast<unsigned>((count + kWidth - 1) / kWidth);
  uint64_t nodes = 0;
  for (unsigned g = 0; g < groups; ++g) {
    Group group{.key = {}, .at = {}, .ref = {}, .best = all(from.best)};
    __mmask16 some = arrive(group, 0xffff, all(from.ref), keys_behind(lanes, g, from.bits));
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
      leaves |= in_burst(_mm512_cmplt_epu32_mask(_mm512_sub_epi32(kind, all(3)), all(3)), g);
    }
    if (skips == 0) {
      take_leaves(base, lanes, list_lanes(leaves, lanes.list));
      break;
    }
    for (unsigned g = 0; g < groups; ++g) {
      const __mmask16 who = of_group(skips, g);
      if (who == 0) continue;
      Group group = load(lanes, g);
      __mmask16 some = take_skips(base, group, who);
      if constexpr (kNear) {
        while (some != 0) some = take_nodes(base, group, some);
        store(lanes, g, group);
      } else {
        store_ahead(base, lanes, g, group);
        nodes |= in_burst(some, g);
      }
    }
  }
  for (unsigned g = 0; g < groups; ++g) {
    __m512i best = _mm512_load_si512(lanes.best + g * kWidth);
    if (const __mmask16 who = of_group(owners, g); who != 0) {
      const __m512i peer = gather_halves(base, who, _mm512_load_si512(lanes.at + g * kWidth));
      best = _mm512_mask_mov_epi32(best, _mm512_cmpneq_epi32_mask(peer, all(kNoPeer)), peer);
    }
    _mm512_mask_storeu_epi32(peers + g * kWidth, first_of(count, g), best);
  }
}

}  // namespace

void avx512_walk_v4(const void* node, const uint32_t* addresses, size_t count,
                    PeerIndex* peers) noexcept {
  if (count == 0) return;
  Lanes lanes;
  const auto& root = *static_cast<const RootLine*>(node);
  for (unsigned g = 0; g * kWidth < count; ++g) {
    _mm512_store_si512(lanes.key + g * kWidth,
                       _mm512_maskz_loadu_epi32(first_of(count, g), addresses + g * kWidth));
  }
  Start from{.ref = root.top.below(), .best = root.top.peer, .bits = 0};
  // Two of them say at once when they part at the first node.
  if (kind_of(from.ref) != Kind::Node ||
      _lzcnt_u32(addresses[0] ^ addresses[count - 1]) >= stride_of(from.ref)) {
    from = start(root, from, addresses[0], common_bits(lanes, count));
  }
  switch (kind_of(from.ref)) {
    case Kind::None:
      std::fill_n(peers, count, from.best);
      return;
    case Kind::Leaf16:
      return take_one_leaf<Leaf16>(root, from, lanes, count, peers);
    case Kind::Leaf32:
      return take_one_leaf<Leaf32>(root, from, lanes, count, peers);
    case Kind::Leaf64:
      return take_one_leaf<Leaf64>(root, from, lanes, count, peers);
    default:
      break;
  }
  if (root.near != 0) {
    walk<true>(root, from, lanes, count, peers);
  } else {
    walk<false>(root, from, lanes, count, peers);
  }
}

}  // namespace turnpike::lookup

#include "dataplane/lookup/allowed_ips_kernel_avx512_end.h"

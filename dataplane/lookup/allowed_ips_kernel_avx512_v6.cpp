// The IPv6 kernel for processors with AVX-512: groups of eight lanes, of which four stay in registers.
//   1. All lanes stand at the top. Nodes until no lane stands at one, then skips, and so on: lanes wait for
//      each other, so that a step finds its vectors full.
//   2. Leaves. Each is compared by itself, as a vector; what matched is worked up eight lanes at a time. Their
//      links lead to skips again.
//   3. Owners at the end. Each step prefetches what it leads to, where the table is not near.
// With the table in the cache instructions count: some 110 for a look-up of six or seven steps.
#include <array>
#include <cstddef>
#include <type_traits>

#include "dataplane/lookup/allowed_ips_kernel_avx512_begin.h"

namespace turnpike::lookup {
namespace {

inline constexpr unsigned kWidth = 8;
// As many groups as there are registers for. Longer bursts are twice as many, in part in memory.
inline constexpr unsigned kGroups = 4;
inline constexpr unsigned kLanes = kWidth * kGroups;
static_assert(2 * kLanes == kBurstMax);

// What is read lane by lane.
template <unsigned kCount>
struct alignas(kCacheLine) Lanes {
  // As a group's; eight bytes can be read there, from the second of two owners, too.
  uint64_t line[kCount];
  uint64_t from[kCount];  // the same for lanes at skips, for others something readable
  uint64_t key[kCount];
  uint64_t low[kCount];  // the second halves of the addresses
  uint64_t matched[kCount];  // of a leaf's values: the first that matched, above it the second
  uint64_t link[kCount];  // not 0: the first of them leads on
};
struct Group {
  __m512i key;  // what of the address comes behind that at which the lane stands
  __m512i line;  // the address of what the lane looks at next: a slot, an owner, a leaf, a skip
  __m512i ref;
  __m512i best;  // the owner in the upper half, as in a slot
};

inline __m512i all(uint64_t v) noexcept { return _mm512_set1_epi64(static_cast<long long>(v)); }
inline __m512i kinds(__m512i ref) noexcept { return _mm512_and_si512(ref, all(7)); }
inline __mmask8 standing_at(__m512i kind, Kind which) noexcept {
  return _mm512_cmpeq_epi64_mask(kind, all(static_cast<uint64_t>(which)));
}
inline constexpr uint64_t kNobody = uint64_t{kNoPeer} << 32;

// Calls `f` with the number of each group as a constant: an array in registers has no other index.
template <size_t kN, typename F>
[[gnu::always_inline]] inline void each_group(F f) noexcept {
  f(std::integral_constant<unsigned, 0>());
  f(std::integral_constant<unsigned, 1>());
  f(std::integral_constant<unsigned, 2>());
  f(std::integral_constant<unsigned, 3>());
  if constexpr (kN == 8) {
    f(std::integral_constant<unsigned, 4>());
    f(std::integral_constant<unsigned, 5>());
    f(std::integral_constant<unsigned, 6>());
    f(std::integral_constant<unsigned, 7>());
  } else {
    static_assert(kN == 4);
  }
}
template <size_t kN>
[[gnu::always_inline]] inline uint64_t in_burst(const std::array<__mmask8, kN>& masks) noexcept {
  uint64_t lanes = 0;
  each_group<kN>(
      [&](auto g) __attribute__((always_inline)) { lanes |= uint64_t{masks[g]} << (g * kWidth); });
  return lanes;
}
template <size_t kN>
[[gnu::always_inline]] inline bool any(const std::array<__mmask8, kN>& masks) noexcept {
  unsigned some = 0;
  each_group<kN>([&](auto g) __attribute__((always_inline)) { some |= masks[g]; });
  return some != 0;
}
inline __mmask8 first_of(size_t count, unsigned from) noexcept {
  const size_t left = count > from ? count - from : 0;
  return static_cast<__mmask8>(left >= kWidth ? 0xff : (1u << left) - 1);
}

template <bool kNear, typename Lanes>
[[gnu::always_inline]] inline void show(Lanes& lanes, unsigned g, __m512i line) noexcept {
  uint64_t* lines = lanes.line + g * kWidth;
  _mm512_store_si512(lines, _mm512_and_si512(line, all(~uint64_t{7})));
  if constexpr (!kNear) {
    // To be read back: taking the vector apart in registers costs more.
    asm volatile("" : "+m"(lanes.line));
    for (unsigned i = 0; i < kWidth; ++i) {
      __builtin_prefetch(reinterpret_cast<const void*>(lines[i]), 0, 3);
    }
  }
}

// The lanes `who` go on at `ref` with `key` left of their addresses. Returns which now stand at a node. A lane
// that is led nowhere keeps its line, so that all lines are readable.
[[gnu::always_inline]] inline __mmask8 arrive(const uint8_t* base, Group& group, __mmask8 who,
                                              __m512i ref, __m512i key) noexcept {
  // By kind: 64 less the bits of an index, without the stride, and the bytes within a line's block. Leaves and
  // skips have stride 0: their index is 0. Owners take 4 bytes, slots 8.
  const __m512i shifts = _mm512_setr_epi64(64, 61, 62, 64, 64, 64, 64, 64);
  const __m512i within = _mm512_setr_epi64(0, ~7, ~3, 0, 0, 0, 0, 0);
  const __m512i stride = _mm512_and_si512(_mm512_srli_epi64(ref, 3), all(15));
  const __m512i shift = _mm512_permutexvar_epi64(ref, shifts);
  const __m512i offset = _mm512_and_si512(_mm512_srlv_epi64(key, _mm512_sub_epi64(shift, stride)),
                                          _mm512_permutexvar_epi64(ref, within));
  const __m512i start = _mm512_add_epi64(all(reinterpret_cast<uint64_t>(base)),
                                         _mm512_slli_epi64(_mm512_srli_epi64(ref, kLineShift), 6));
  group.key = _mm512_mask_sllv_epi64(group.key, who, key, stride);
  const __mmask8 led = _mm512_mask_test_epi64_mask(who, ref, ref);
  group.line = _mm512_mask_add_epi64(group.line, led, start, offset);
  group.ref = _mm512_mask_mov_epi64(group.ref, who, ref);
  return _mm512_mask_cmpeq_epi64_mask(who, shift, all(61));
}

[[gnu::always_inline]] inline __mmask8 take_slots(const uint8_t* base, Group& group, __mmask8 who,
                                                  __m512i slots, __m512i key) noexcept {
  const __mmask8 owned = _mm512_mask_cmplt_epu64_mask(who, slots, all(kNobody));
  group.best = _mm512_mask_mov_epi64(group.best, owned, slots);
  return arrive(base, group, who, _mm512_and_si512(slots, all(0xffffffff ^ kExactMark)), key);
}

// Eight loads and shuffles are faster than a gather, also where not all lanes stand at nodes: the others read
// something, too.
[[gnu::always_inline]] inline __mmask8 take_nodes(const uint8_t* base, Group& group, __mmask8 who,
                                                  const uint64_t* lines) noexcept {
  const auto slot = [lines](unsigned i) { return *reinterpret_cast<const long long*>(lines[i]); };
  const __m512i slots =
      _mm512_set_epi64(slot(7), slot(6), slot(5), slot(4), slot(3), slot(2), slot(1), slot(0));
  return take_slots(base, group, who, slots, group.key);
}

template <typename Lanes>
[[gnu::always_inline]] inline __mmask8 take_skips(const uint8_t* base, Group& group, __mmask8 who,
                                                  const void* readable, Lanes& lanes,
                                                  unsigned g) noexcept {
  uint64_t* from = lanes.from + g * kWidth;
  _mm512_store_si512(
      from, _mm512_mask_mov_epi64(all(reinterpret_cast<uint64_t>(readable)), who, group.line));
  asm volatile("" : "+m"(lanes.from));  // to be read back, as in show()
  // Four words of each, two in a vector, to columns.
  const auto rows = [from](unsigned i) {
    const auto half = [from](unsigned k) {
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
  const __mmask8 crosses = _mm512_cmpge_epu64_mask(what, all(uint64_t{1} << 32));
  const __m512i key =
      _mm512_mask_mov_epi64(group.key, crosses, _mm512_load_si512(lanes.low + g * kWidth));
  const __m512i length = _mm512_and_si512(what, all(0xffffffff));
  const __m512i differs =
      _mm512_srlv_epi64(_mm512_xor_si512(key, bits), _mm512_sub_epi64(all(64), length));
  const __m512i agreed =
      _mm512_mask_mov_epi64(all(kNobody), _mm512_testn_epi64_mask(differs, differs), slots);
  return take_slots(base, group, who, agreed, _mm512_sllv_epi64(key, length));
}

// One leaf each: the first two values that match, longest first, and whether the first is a link.
template <typename Lanes>
inline void compare(const Leaf16& leaf, Lanes& lanes, size_t lane) noexcept {
  constexpr unsigned kFirst = offsetof(Leaf16, values) / 4;
  const uint32_t found = matches(leaf, lanes.key[lane]);
  const __m512i values = _mm512_mask_compress_epi32(
      _mm512_set1_epi32(-1), static_cast<__mmask16>(found << kFirst), _mm512_load_si512(&leaf));
  lanes.matched[lane] = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm512_castsi512_si128(values)));
  lanes.link[lane] = found & -found & leaf.links;
}
template <typename Leaf, typename Lanes>
inline void compare(const Leaf& leaf, Lanes& lanes, size_t lane) noexcept {
  constexpr size_t kHalf = kLineBytes / 2;
  constexpr unsigned kFirst = (offsetof(Leaf, values) - kHalf) / 4;
  const auto found = static_cast<__mmask8>(matches(leaf, lanes.key[lane]));
  const __m256i half = _mm256_load_si256(
      reinterpret_cast<const __m256i*>(reinterpret_cast<const uint8_t*>(&leaf) + kHalf));
  const __m256i values = _mm256_mask_compress_epi32(_mm256_set1_epi32(-1),
                                                    static_cast<__mmask8>(found << kFirst), half);
  lanes.matched[lane] = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm256_castsi256_si128(values)));
  lanes.link[lane] = uint32_t{found} & -uint32_t{found} & leaf.links;
}
template <typename Leaf, typename Lanes>
inline void compare_all(Lanes& lanes, uint64_t who) noexcept {
  for (; who != 0; who &= who - 1) {
    const auto lane = static_cast<size_t>(__builtin_ctzll(who));
    compare(*reinterpret_cast<const Leaf*>(lanes.line[lane]), lanes, lane);
  }
}

// What the lanes `who` found in leaves.
template <typename Lanes>
[[gnu::always_inline]] inline void leave_leaves(const uint8_t* base, Group& group, __mmask8 who,
                                                const Lanes& lanes, unsigned g) noexcept {
  const __m512i matched = _mm512_load_si512(lanes.matched + g * kWidth);
  const __m512i link = _mm512_load_si512(lanes.link + g * kWidth);
  const __mmask8 linked = _mm512_mask_test_epi64_mask(who, link, link);
  const __mmask8 ended = static_cast<__mmask8>(who & ~linked);
  const __m512i owners = _mm512_mask_slli_epi64(matched, ended, matched, 32);
  group.best = _mm512_mask_mov_epi64(
      group.best, _mm512_mask_cmplt_epu64_mask(who, owners, all(kNobody)), owners);
  const __m512i ref = _mm512_maskz_and_epi64(linked, matched, all(0xffffffff));
  group.ref = _mm512_mask_mov_epi64(group.ref, who, ref);
  group.line = _mm512_mask_add_epi64(group.line, linked, all(reinterpret_cast<uint64_t>(base)),
                                     _mm512_slli_epi64(_mm512_srli_epi64(ref, kLineShift), 6));
}

// Up to kN groups of addresses.
template <bool kNear, size_t kN>
inline void walk(const RootLine& root, const uint64_t* halves, size_t count,
                 PeerIndex* peers) noexcept {
  using Masks = std::array<__mmask8, kN>;
  Lanes<kN * kWidth> lanes;
  std::array<Group, kN> groups;
  Masks nodes;
  const uint8_t* base = root.base;
  each_group<kN>([&](auto g) __attribute__((always_inline)) {
    const uint64_t* from = halves + 2 * g * kWidth;
    const __m512i a = _mm512_maskz_loadu_epi64(first_of(2 * count, 2 * g * kWidth), from);
    const __m512i b =
        _mm512_maskz_loadu_epi64(first_of(2 * count, (2 * g + 1) * kWidth), from + kWidth);
    _mm512_store_si512(
        lanes.low + g * kWidth,
        _mm512_permutex2var_epi64(a, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b));
    Group& group = groups[g];
    group.key = group.ref = _mm512_setzero_si512();
    group.line = all(reinterpret_cast<uint64_t>(&root));
    group.best = all(uint64_t{root.top.peer} << 32);
    nodes[g] =
        arrive(base, group, first_of(count, g * kWidth), all(root.top.child),
               _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b));
    // What is met first is in the cache.
    show<true>(lanes, g, group.line);
  });
  Masks owners;
  for (;;) {
    while (any(nodes)) {
      each_group<kN>([&](auto g) __attribute__((always_inline)) {
        if (nodes[g] == 0) return;
        nodes[g] = take_nodes(base, groups[g], nodes[g], lanes.line + g * kWidth);
        show<kNear>(lanes, g, groups[g].line);
      });
    }
    Masks skips;
    each_group<kN>([&](auto g) __attribute__((always_inline)) {
      skips[g] = standing_at(kinds(groups[g].ref), Kind::Skip);
    });
    if (any(skips)) {
      each_group<kN>([&](auto g) __attribute__((always_inline)) {
        if (skips[g] == 0) return;
        nodes[g] = take_skips(base, groups[g], skips[g], &root, lanes, g);
        show<kNear>(lanes, g, groups[g].line);
      });
      continue;
    }
    Masks short_ones, middle_ones, long_ones;
    each_group<kN>([&](auto g) __attribute__((always_inline)) {
      const __m512i kind = kinds(groups[g].ref);
      short_ones[g] = standing_at(kind, Kind::Leaf16);
      middle_ones[g] = standing_at(kind, Kind::Leaf32);
      long_ones[g] = standing_at(kind, Kind::Leaf64);
      owners[g] = standing_at(kind, Kind::Peers);
      _mm512_store_si512(lanes.key + g * kWidth, groups[g].key);
    });
    const uint64_t of16 = in_burst(short_ones), of32 = in_burst(middle_ones),
                   of64 = in_burst(long_ones);
    if ((of16 | of32 | of64) == 0) break;
    compare_all<Leaf32>(lanes, of32);
    compare_all<Leaf16>(lanes, of16);
    compare_all<Leaf64>(lanes, of64);
    each_group<kN>([&](auto g) __attribute__((always_inline)) {
      const auto who = static_cast<__mmask8>(short_ones[g] | middle_ones[g] | long_ones[g]);
      leave_leaves(base, groups[g], who, lanes, g);
      show<kNear>(lanes, g, groups[g].line);
    });
  }
  each_group<kN>([&](auto g) __attribute__((always_inline)) {
    const __m256i best = _mm512_cvtepi64_epi32(_mm512_srli_epi64(groups[g].best, 32));
    _mm256_mask_storeu_epi32(peers + g * kWidth, first_of(count, g * kWidth), best);
    _mm512_store_si512(lanes.line + g * kWidth, groups[g].line);
  });
  for (uint64_t who = in_burst(owners); who != 0; who &= who - 1) {
    const auto lane = static_cast<size_t>(__builtin_ctzll(who));
    const PeerIndex peer = *reinterpret_cast<const PeerIndex*>(lanes.line[lane]);
    if (peer != kNoPeer) peers[lane] = peer;
  }
}

}  // namespace

// `halves` are the upper and the lower half of each address in turn.
void avx512_walk_v6(const void* node, const uint64_t* halves, size_t count,
                    PeerIndex* peers) noexcept {
  const auto& root = *static_cast<const RootLine*>(node);
  if (root.near == 0) {
    if (count <= kLanes) return walk<false, kGroups>(root, halves, count, peers);
    return walk<false, 2 * kGroups>(root, halves, count, peers);
  }
  // Nothing is waited for: what fits into registers at a time.
  for (size_t done = 0; done < count; done += kLanes) {
    walk<true, kGroups>(root, halves + 2 * done, count - done < kLanes ? count - done : kLanes,
                        peers + done);
  }
}

}  // namespace turnpike::lookup

#include "dataplane/lookup/allowed_ips_kernel_avx512_end.h"

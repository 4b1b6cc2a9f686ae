// The walk of a burst, plain and for AVX2: included by the kernel files, which say what
// TURNPIKE_KERNEL_SIMD is (0: plain, 1: AVX2) and open a namespace of their own.
//   1. All lanes take their slot of the top node, which stays in the cache.
//   2. Lanes are listed by the kind of what they stand at, so that each loop does one thing and its branches
//      are foreseen: nodes and skips until no lane stands at one, then leaves, whose links lead to skips
//      again, owners at the end. Each step prefetches what it leads to.
// No includes here: what they bring must not be compiled for another instruction set.

// Every list takes the last lane, whether it keeps it or not.
inline constexpr size_t kListRoom = kBurstMax + 1;

struct Lanes {
  uint64_t key[kBurstMax];  // the rest of the address, left-aligned
  const void* line[kBurstMax];  // what the lane looks at next: a slot, an owner, a leaf, a skip
  Ref ref[kBurstMax];
  Ref found[kListRoom];  // by the loop that runs, in its order
  uint32_t nodes[kListRoom];
  uint32_t leaves[kListRoom];  // of IPv4: and skips, which are rare there
  uint32_t skips[kListRoom];
  uint32_t owners[kListRoom];
};
struct Counts {
  unsigned nodes = 0, leaves = 0, skips = 0, owners = 0;
};

// Where in `leaf` the key matches: bit i for entry i.
inline uint32_t matches(const Leaf16& leaf, uint64_t key) noexcept {
#if TURNPIKE_KERNEL_SIMD == 1
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.keys));
  const __m256i differs = _mm256_xor_si256(keys, _mm256_set1_epi16(static_cast<short>(key >> 48)));
  const __m256i low = _mm256_xor_si256(keys, _mm256_add_epi16(keys, _mm256_set1_epi16(-1)));
  const __m256i within = _mm256_cmpeq_epi16(_mm256_min_epu16(differs, low), differs);
  return _pext_u32(static_cast<uint32_t>(_mm256_movemask_epi8(within)), 0x000aaaaau);
#else
  uint32_t found = 0;
  for (unsigned i = 0; i < Leaf16::kCapacity; ++i) {
    const uint32_t k = leaf.keys[i];
    found |= uint32_t{((k ^ (key >> 48)) <= ((k ^ (k - 1)) & 0xffff))} << i;
  }
  return found;
#endif
}

inline uint32_t matches(const Leaf32& leaf, uint64_t key) noexcept {
#if TURNPIKE_KERNEL_SIMD == 1
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.keys));
  const __m256i differs = _mm256_xor_si256(keys, _mm256_set1_epi32(static_cast<int>(key >> 32)));
  const __m256i low = _mm256_xor_si256(keys, _mm256_add_epi32(keys, _mm256_set1_epi32(-1)));
  const __m256i within = _mm256_cmpeq_epi32(_mm256_min_epu32(differs, low), differs);
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(within))) & 0x7fu;
#else
  uint32_t found = 0;
  for (unsigned i = 0; i < Leaf32::kCapacity; ++i) {
    const uint32_t k = leaf.keys[i];
    found |= uint32_t{(k ^ static_cast<uint32_t>(key >> 32)) <= (k ^ (k - 1))} << i;
  }
  return found;
#endif
}

inline uint32_t matches(const Leaf64& leaf, uint64_t key) noexcept {
  uint32_t found = 0;
  for (unsigned i = 0; i < Leaf64::kCapacity; ++i) {
    const uint64_t k = leaf.keys[i];
    found |= uint32_t{(k ^ key) <= (k ^ (k - 1))} << i;
  }
  return found;
}

inline PeerIndex better(PeerIndex found, PeerIndex best) noexcept {
  return found != kNoPeer ? found : best;
}

// Puts the lanes of a loop, `from[i]` with the reference found[i], on the lists. `from` may be a list that is
// filled here: what is written lies behind what was read.
template <bool kV6>
inline void sort_lanes(Lanes& lanes, Counts& counts, const uint32_t* from, unsigned n) noexcept {
  // Every list gets the lane, and one keeps it: cheaper than a branch.
  for (unsigned i = 0; i < n; ++i) {
    const uint32_t lane = from[i];
    const unsigned kind = lanes.found[i] & 7;
    lanes.nodes[counts.nodes] = lane;
    counts.nodes += kind == 1;
    lanes.owners[counts.owners] = lane;
    counts.owners += kind == 2;
    lanes.leaves[counts.leaves] = lane;
    counts.leaves += kV6 ? kind - 3 < 3 : kind > 2;
    if constexpr (kV6) {
      lanes.skips[counts.skips] = lane;
      counts.skips += kind == 6;
    }
  }
}

// The lane, the i-th of a loop, goes on at `ref`.
inline void place(Lanes& lanes, const uint8_t* base, unsigned i, unsigned lane, Ref ref,
                  uint64_t key) noexcept {
  // Leaves and skips have stride 0: their index is 0. Owners take 4 bytes, slots 8.
  const uint64_t offset = (key >> 1 >> (63 - (ref >> 3 & 15))) << 3 >> ((ref & 7) == 2);
  const uint8_t* line = at(base, line_of(ref)) + offset;
  __builtin_prefetch(line, 0, 3);
  lanes.key[lane] = key;
  lanes.line[lane] = line;
  lanes.ref[lane] = ref;
  lanes.found[i] = ref;
}

inline void take_slot(Lanes& lanes, const uint8_t* base, unsigned i, unsigned lane,
                      PeerIndex* peers) noexcept {
  const Slot slot = *static_cast<const Slot*>(lanes.line[lane]);
  peers[lane] = better(slot.peer, peers[lane]);
  place(lanes, base, i, lane, slot.child, lanes.key[lane] << stride_of(lanes.ref[lane]));
}

template <bool kV6>
inline void take_skip(Lanes& lanes, const uint8_t* base, unsigned i, unsigned lane,
                      const uint64_t* low, PeerIndex* peers) noexcept {
  const Skip& s = *static_cast<const Skip*>(lanes.line[lane]);
  uint64_t key = lanes.key[lane];
  if constexpr (kV6) key = s.crosses ? low[2 * lane] : key;
  // A length of 0 or 64 must not shift by 64.
  const uint64_t beyond = s.length == 64 ? 0 : key << s.length;
  const uint64_t differs = s.length == 0 ? 0 : (key ^ s.bits) >> (64 - s.length);
  peers[lane] = better(differs == 0 ? s.slot.peer : kNoPeer, peers[lane]);
  place(lanes, base, i, lane, differs == 0 ? s.slot.child : 0, beyond);
}

template <bool kV6, typename L>
inline void take_leaf(Lanes& lanes, const uint8_t* base, unsigned i, unsigned lane,
                      PeerIndex* peers) noexcept {
  const L& leaf = *static_cast<const L*>(lanes.line[lane]);
  uint32_t found = matches(leaf, lanes.key[lane]);
  if constexpr (kV6) {
    const unsigned first = found != 0 ? static_cast<unsigned>(__builtin_ctz(found)) : 0;
    const bool link = found != 0 && (leaf.links >> first & 1) != 0;
    place(lanes, base, i, lane, link ? leaf.values[first] : 0, 0);
    found = link ? found & (found - 1) : found;
  }
  const PeerIndex peer = leaf.values[found != 0 ? static_cast<unsigned>(__builtin_ctz(found)) : 0];
  peers[lane] = better(found != 0 ? peer : kNoPeer, peers[lane]);
}

template <bool kV6>
inline void take_any_leaf(Lanes& lanes, const uint8_t* base, unsigned i, unsigned lane,
                          PeerIndex* peers) noexcept {
  const Kind kind = kind_of(lanes.ref[lane]);
  if constexpr (!kV6) lanes.found[i] = 0;
  if (kind == Kind::Leaf16) {
    take_leaf<kV6, Leaf16>(lanes, base, i, lane, peers);
  } else if (kind == Kind::Leaf32) {
    take_leaf<kV6, Leaf32>(lanes, base, i, lane, peers);
  } else if (kV6 || kind == Kind::Leaf64) {
    take_leaf<kV6, Leaf64>(lanes, base, i, lane, peers);
  } else {
    take_skip<kV6>(lanes, base, i, lane, nullptr, peers);
  }
}

// `low` is the first lane's low half of IPv6; those of the others follow two words apart.
template <bool kV6>
inline void walk(const RootLine& root, Lanes& lanes, unsigned count, const uint64_t* low,
                 PeerIndex* peers) noexcept {
  const uint8_t* base = root.base;
  const Slot top = root.top;
  Counts counts;
  if (kind_of(top.child) == Kind::Node) {
    const unsigned stride = stride_of(top.child);
    const Slot* slots = reinterpret_cast<const Slot*>(at(base, line_of(top.child)));
    for (unsigned lane = 0; lane < count; ++lane) {
      const uint64_t key = lanes.key[lane];
      const Slot slot = slots[key >> (64 - stride)];
      peers[lane] = better(slot.peer, top.peer);
      lanes.nodes[lane] = lane;
      place(lanes, base, lane, lane, slot.child, key << stride);
    }
  } else {
    for (unsigned lane = 0; lane < count; ++lane) {
      peers[lane] = top.peer;
      lanes.nodes[lane] = lane;
      place(lanes, base, lane, lane, top.child, lanes.key[lane]);
    }
  }
  sort_lanes<kV6>(lanes, counts, lanes.nodes, count);
  for (;;) {
    while (const unsigned n = counts.nodes) {
      for (unsigned i = 0; i < n; ++i) take_slot(lanes, base, i, lanes.nodes[i], peers);
      counts.nodes = 0;
      sort_lanes<kV6>(lanes, counts, lanes.nodes, n);
    }
    if (const unsigned n = counts.skips; kV6 && n != 0) {
      for (unsigned i = 0; i < n; ++i) take_skip<kV6>(lanes, base, i, lanes.skips[i], low, peers);
      counts.skips = 0;
      sort_lanes<kV6>(lanes, counts, lanes.skips, n);
      continue;
    }
    const unsigned n = counts.leaves;
    if (n == 0) break;
    for (unsigned i = 0; i < n; ++i) take_any_leaf<kV6>(lanes, base, i, lanes.leaves[i], peers);
    counts.leaves = 0;
    sort_lanes<kV6>(lanes, counts, lanes.leaves, n);
  }
  for (unsigned i = 0; i < counts.owners; ++i) {
    const unsigned lane = lanes.owners[i];
    peers[lane] = better(*static_cast<const PeerIndex*>(lanes.line[lane]), peers[lane]);
  }
}

void walk_v4(const void* node, const uint32_t* addresses, size_t count, PeerIndex* peers) noexcept {
  Lanes lanes;
  for (size_t i = 0; i < count; ++i) lanes.key[i] = uint64_t{addresses[i]} << 32;
  walk<false>(*static_cast<const RootLine*>(node), lanes, static_cast<unsigned>(count), nullptr,
              peers);
}

// `halves` are the upper and the lower half of each address in turn.
void walk_v6(const void* node, const uint64_t* halves, size_t count, PeerIndex* peers) noexcept {
  Lanes lanes;
  for (size_t i = 0; i < count; ++i) lanes.key[i] = halves[2 * i];
  walk<true>(*static_cast<const RootLine*>(node), lanes, static_cast<unsigned>(count), halves + 1,
             peers);
}

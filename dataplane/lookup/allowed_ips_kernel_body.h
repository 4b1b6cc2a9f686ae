// The walk of a burst, once for each instruction set: included by the kernel files, which say what
// TURNPIKE_KERNEL_SIMD is (0: plain, 1: AVX2, 2: AVX-512) and open a namespace of their own.
//   1. All lanes take their slot of the top node, which stays in the cache.
//   2. Lanes that stand at a node take a slot each, and prefetch what it leads to, until none does.
//   3. The others are looked at by kind. Behind a skip or a link there can be nodes again.
// No includes here: what they bring must not be compiled for another instruction set.

struct Lanes {
  uint64_t key[kBurstMax];     // the rest of the address, left-aligned
  const void* line[kBurstMax];  // what the lane looks at next: a slot, an owner, a leaf, a skip
  Ref ref[kBurstMax];
  uint8_t nodes[kBurstMax + 1];  // lanes that stand at a node
  uint8_t others[kBurstMax + 1];
  unsigned node_count;
  unsigned other_count;
};

// Where in `leaf` the key matches: bit i for entry i.
inline uint32_t matches(const Leaf16& leaf, uint64_t key) noexcept {
#if TURNPIKE_KERNEL_SIMD == 2
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.keys));
  const __m256i differs = _mm256_xor_si256(keys, _mm256_set1_epi16(static_cast<short>(key >> 48)));
  const __m256i low =
      _mm256_xor_si256(keys, _mm256_add_epi16(keys, _mm256_set1_epi16(-1)));
  return _mm256_cmple_epu16_mask(differs, low) & 0x3ffu;
#elif TURNPIKE_KERNEL_SIMD == 1
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.keys));
  const __m256i differs = _mm256_xor_si256(keys, _mm256_set1_epi16(static_cast<short>(key >> 48)));
  const __m256i low =
      _mm256_xor_si256(keys, _mm256_add_epi16(keys, _mm256_set1_epi16(-1)));
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
#if TURNPIKE_KERNEL_SIMD >= 1
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.keys));
  const __m256i differs = _mm256_xor_si256(keys, _mm256_set1_epi32(static_cast<int>(key >> 32)));
  const __m256i low =
      _mm256_xor_si256(keys, _mm256_add_epi32(keys, _mm256_set1_epi32(-1)));
#if TURNPIKE_KERNEL_SIMD == 2
  return _mm256_cmple_epu32_mask(differs, low) & 0x7fu;
#else
  const __m256i within = _mm256_cmpeq_epi32(_mm256_min_epu32(differs, low), differs);
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(within))) & 0x7fu;
#endif
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
#if TURNPIKE_KERNEL_SIMD == 2
  const __m512i keys = _mm512_load_si512(leaf.keys);
  const __m512i differs = _mm512_xor_si512(keys, _mm512_set1_epi64(static_cast<long long>(key)));
  const __m512i low = _mm512_xor_si512(keys, _mm512_add_epi64(keys, _mm512_set1_epi64(-1)));
  return _mm512_cmple_epu64_mask(differs, low) & 0x1fu;
#else
  uint32_t found = 0;
  for (unsigned i = 0; i < Leaf64::kCapacity; ++i) {
    const uint64_t k = leaf.keys[i];
    found |= uint32_t{(k ^ key) <= (k ^ (k - 1))} << i;
  }
  return found;
#endif
}

inline PeerIndex better(PeerIndex found, PeerIndex best) noexcept {
  return found != kNoPeer ? found : best;
}

// The lane goes on at `ref`.
inline void place(Lanes& lanes, const uint8_t* const* chunks, unsigned lane, Ref ref,
                  uint64_t key) noexcept {
  const unsigned kind = ref & 7;
  // Leaves and skips have stride 0: their index is 0.
  const uint64_t offset = (key >> 1 >> (63 - (ref >> 3 & 15))) << 3 >> (kind == 2);
  const uint8_t* line = chunks[ref >> (kLineShift + kChunkLinesLog2)] +
                        (ref >> 2 & ((kChunkLines - 1) << 6)) + offset;
  __builtin_prefetch(line, 0, 3);
  lanes.key[lane] = key;
  lanes.line[lane] = line;
  lanes.ref[lane] = ref;
  lanes.nodes[lanes.node_count] = static_cast<uint8_t>(lane);
  lanes.node_count += kind == 1;
  lanes.others[lanes.other_count] = static_cast<uint8_t>(lane);
  lanes.other_count += kind > 1;
}

template <bool kV6, typename L>
inline void finish_leaf(Lanes& lanes, const uint8_t* const* chunks, unsigned lane,
                        PeerIndex* peers) noexcept {
  const L& leaf = *static_cast<const L*>(lanes.line[lane]);
  uint32_t found = matches(leaf, lanes.key[lane]);
  if constexpr (kV6) {
    const unsigned first = found != 0 ? static_cast<unsigned>(__builtin_ctz(found)) : 0;
    if ((leaf.links >> first & 1) != 0 && found != 0) {
      found &= found - 1;
      place(lanes, chunks, lane, leaf.values[first], 0);
    }
  }
  const PeerIndex peer = leaf.values[found != 0 ? static_cast<unsigned>(__builtin_ctz(found)) : 0];
  peers[lane] = better(found != 0 ? peer : kNoPeer, peers[lane]);
}

template <bool kV6>
inline void finish(Lanes& lanes, const uint8_t* const* chunks, unsigned lane, const uint64_t* low,
                   PeerIndex* peers) noexcept {
  switch (kind_of(lanes.ref[lane])) {
    case Kind::Leaf16: return finish_leaf<kV6, Leaf16>(lanes, chunks, lane, peers);
    case Kind::Leaf32: return finish_leaf<kV6, Leaf32>(lanes, chunks, lane, peers);
    case Kind::Leaf64: return finish_leaf<kV6, Leaf64>(lanes, chunks, lane, peers);
    case Kind::Peers:
      peers[lane] = better(*static_cast<const PeerIndex*>(lanes.line[lane]), peers[lane]);
      return;
    default: {
      const Skip& s = *static_cast<const Skip*>(lanes.line[lane]);
      uint64_t key = lanes.key[lane];
      if constexpr (kV6) {
        if (s.crosses) key = low[2 * lane];
      }
      const uint64_t differs = key ^ s.bits;
      // A length of 0 or 64 must not shift by 64.
      if (s.length != 0 && differs >> (64 - s.length) != 0) return;
      peers[lane] = better(s.slot.peer, peers[lane]);
      if (s.slot.child != 0) place(lanes, chunks, lane, s.slot.child, s.length == 64 ? 0 : key << s.length);
    }
  }
}

// `low` is the first lane's low half of IPv6; keys stand two words apart there.
template <bool kV6>
inline void walk(const RootLine& root, Lanes& lanes, unsigned count, const uint64_t* low,
                 PeerIndex* peers) noexcept {
  const uint8_t* const* chunks = root.chunks;
  const Slot top = root.top;
  lanes.node_count = 0;
  lanes.other_count = 0;
  if (kind_of(top.child) == Kind::Node) {
    const unsigned stride = stride_of(top.child);
    const Slot* slots = at<Slot>(chunks, line_of(top.child));
    for (unsigned lane = 0; lane < count; ++lane) {
      const uint64_t key = lanes.key[lane];
      const Slot slot = slots[key >> (64 - stride)];
      peers[lane] = better(slot.peer, top.peer);
      place(lanes, chunks, lane, slot.child, key << stride);
    }
  } else {
    for (unsigned lane = 0; lane < count; ++lane) {
      peers[lane] = top.peer;
      place(lanes, chunks, lane, top.child, lanes.key[lane]);
    }
  }
  while ((lanes.node_count | lanes.other_count) != 0) {
    while (lanes.node_count != 0) {
      const unsigned nodes = lanes.node_count;
      lanes.node_count = 0;
      for (unsigned i = 0; i < nodes; ++i) {
        const unsigned lane = lanes.nodes[i];
        const Slot slot = *static_cast<const Slot*>(lanes.line[lane]);
        peers[lane] = better(slot.peer, peers[lane]);
        place(lanes, chunks, lane, slot.child, lanes.key[lane] << stride_of(lanes.ref[lane]));
      }
    }
    const unsigned others = lanes.other_count;
    lanes.other_count = 0;
    for (unsigned i = 0; i < others; ++i) finish<kV6>(lanes, chunks, lanes.others[i], low, peers);
  }
}

void walk_v4(const void* node, const uint32_t* addresses, size_t count, PeerIndex* peers) noexcept {
  Lanes lanes;
  for (size_t i = 0; i < count; ++i) lanes.key[i] = uint64_t{addresses[i]} << 32;
  walk<false>(*static_cast<const RootLine*>(node), lanes, static_cast<unsigned>(count), nullptr, peers);
}

// `halves` are the upper and the lower half of each address in turn.
void walk_v6(const void* node, const uint64_t* halves, size_t count, PeerIndex* peers) noexcept {
  Lanes lanes;
  for (size_t i = 0; i < count; ++i) lanes.key[i] = halves[2 * i];
  walk<true>(*static_cast<const RootLine*>(node), lanes, static_cast<unsigned>(count), halves + 1, peers);
}

// What the AVX-512 kernels of both families have in common. The last include of their files: it leaves the
// instruction set switched on for what follows, up to allowed_ips_kernel_avx512_end.h.
#pragma once

#if !defined(__clang__)
// GCC 12 takes its own undefined vectors for mistakes where it inlines little.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstddef>
#include <utility>

#include "dataplane/lookup/allowed_ips_kernel.h"
#include "dataplane/lookup/allowed_ips_node.h"

#if defined(__clang__)
#pragma clang attribute push(                                                          \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2,lzcnt"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi,bmi2,lzcnt")
#endif
namespace turnpike::lookup {
namespace {

// Where in `leaf` the key matches: bit i for entry i.
inline uint32_t matches(const Leaf16& leaf, uint64_t key) noexcept {
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.keys));
  const __m256i differs = _mm256_xor_si256(keys, _mm256_set1_epi16(static_cast<short>(key >> 48)));
  const __m256i low = _mm256_xor_si256(keys, _mm256_add_epi16(keys, _mm256_set1_epi16(-1)));
  return _mm256_mask_cmple_epu16_mask(0x3ff, differs, low);
}
inline uint32_t matches(const Leaf32& leaf, uint64_t key) noexcept {
  const __m256i keys = _mm256_load_si256(reinterpret_cast<const __m256i*>(leaf.keys));
  const __m256i differs = _mm256_xor_si256(keys, _mm256_set1_epi32(static_cast<int>(key >> 32)));
  const __m256i low = _mm256_xor_si256(keys, _mm256_add_epi32(keys, _mm256_set1_epi32(-1)));
  return _mm256_mask_cmple_epu32_mask(0x7f, differs, low);
}
inline uint32_t matches(const Leaf64& leaf, uint64_t key) noexcept {
  const __m512i keys = _mm512_load_si512(leaf.keys);
  const __m512i differs = _mm512_xor_si512(keys, _mm512_set1_epi64(static_cast<long long>(key)));
  const __m512i low = _mm512_xor_si512(keys, _mm512_add_epi64(keys, _mm512_set1_epi64(-1)));
  return _mm512_mask_cmple_epu64_mask(0x1f, differs, low);
}

// Lists the lanes in `who`, a vector at a time; returns how many they are.
inline unsigned list_lanes(uint64_t who, uint32_t* list) noexcept {
  unsigned n = 0;
  __m512i names = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (; who != 0; who >>= 16) {
    const auto some = static_cast<__mmask16>(who);
    _mm512_storeu_si512(list + n, _mm512_maskz_compress_epi32(some, names));
    n += static_cast<unsigned>(__builtin_popcount(some));
    names = _mm512_add_epi32(names, _mm512_set1_epi32(16));
  }
  return n;
}

}  // namespace
}  // namespace turnpike::lookup

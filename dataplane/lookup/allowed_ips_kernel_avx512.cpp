// The kernel for processors with AVX-512.
#include <immintrin.h>

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

#define TURNPIKE_KERNEL_SIMD 2
#include "dataplane/lookup/allowed_ips_kernel_body.h"

}  // namespace
}  // namespace turnpike::lookup
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace turnpike::lookup {
namespace {

bool runs_here() noexcept {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2");
}

}  // namespace

constinit const Kernel kAvx512Kernel{"avx512", runs_here, walk_v4, walk_v6};

}  // namespace turnpike::lookup

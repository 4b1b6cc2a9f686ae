// The kernel for processors with AVX2.
#include <immintrin.h>

#include "dataplane/lookup/allowed_ips_kernel.h"
#include "dataplane/lookup/allowed_ips_node.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt")
#endif
namespace turnpike::lookup {
namespace {

#define TURNPIKE_KERNEL_SIMD 1
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
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

}  // namespace

constinit const Kernel kAvx2Kernel{"avx2", runs_here, walk_v4, walk_v6};

}  // namespace turnpike::lookup

// The portable kernel, and the choice.
#include "dataplane/lookup/allowed_ips_kernel.h"

#include "dataplane/lookup/allowed_ips_node.h"

namespace turnpike::lookup {
namespace {

#define TURNPIKE_KERNEL_SIMD 0
#include "dataplane/lookup/allowed_ips_kernel_body.h"

bool always() noexcept { return true; }
bool has_avx512() noexcept {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2");
}

struct Choice {
  const Kernel* all[3];
  size_t count = 0;

  Choice() noexcept {
    for (const Kernel* kernel : {&kPortableKernel, &kAvx2Kernel, &kAvx512Kernel}) {
      if (kernel->runs_here()) all[count++] = kernel;
    }
  }
};
const Choice& choice() noexcept {
  static const Choice made;
  return made;
}

}  // namespace

constinit const Kernel kPortableKernel{"portable", always, walk_v4, walk_v6};
constinit const Kernel kAvx512Kernel{"avx512", has_avx512, avx512_walk_v4, avx512_walk_v6};

std::span<const Kernel* const> kernels() noexcept { return {choice().all, choice().count}; }
const Kernel& best_kernel() noexcept { return *choice().all[choice().count - 1]; }

}  // namespace turnpike::lookup

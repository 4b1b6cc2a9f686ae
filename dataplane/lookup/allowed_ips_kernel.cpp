// The portable kernel, and the choice.
#include "dataplane/lookup/allowed_ips_kernel.h"

#include "dataplane/lookup/allowed_ips_node.h"

namespace turnpike::lookup {
namespace {

#define TURNPIKE_KERNEL_SIMD 0
#include "dataplane/lookup/allowed_ips_kernel_body.h"

bool always() noexcept { return true; }

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

std::span<const Kernel* const> kernels() noexcept { return {choice().all, choice().count}; }
const Kernel& best_kernel() noexcept { return *choice().all[choice().count - 1]; }

}  // namespace turnpike::lookup

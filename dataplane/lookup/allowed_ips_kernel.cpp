// The portable kernel, and the choice.
#include "dataplane/lookup/allowed_ips_kernel.h"

#include "dataplane/lookup/allowed_ips_node.h"

namespace turnpike::lookup {
namespace {

#define TURNPIKE_KERNEL_SIMD 0
#include "dataplane/lookup/allowed_ips_kernel_body.h"

template <typename L>
inline Slot slot_of_leaf(const uint8_t* line, uint64_t key) noexcept {
  const L& leaf = *reinterpret_cast<const L*>(line);
  uint32_t found = matches(leaf, key);
  Slot slot;
  if (found != 0 && (leaf.links >> __builtin_ctz(found) & 1) != 0) {
    slot.child = leaf.values[__builtin_ctz(found)];
    found &= found - 1;
  }
  if (found != 0) slot.peer = leaf.values[__builtin_ctz(found)];
  return slot;
}

// IPv4 has no links in leaves, and skips that do not cross.
PeerIndex walk_one(const RootLine& root, uint64_t key, uint64_t low) noexcept {
  Slot slot = root.top;
  PeerIndex best = kNoPeer;
  for (;;) {
    best = better(slot.peer, best);
    const Ref ref = slot.below();
    const uint8_t* line = at(root.base, line_of(ref));
    const unsigned stride = stride_of(ref);
    switch (kind_of(ref)) {
      case Kind::None:
        return best;
      case Kind::Node:
        slot = reinterpret_cast<const Slot*>(line)[take(key, stride)];
        key = rest(key, stride);
        break;
      case Kind::Peers:
        return better(reinterpret_cast<const PeerIndex*>(line)[take(key, stride)], best);
      case Kind::Leaf16:
        slot = slot_of_leaf<Leaf16>(line, key);
        break;
      case Kind::Leaf32:
        slot = slot_of_leaf<Leaf32>(line, key);
        break;
      case Kind::Leaf64:
        slot = slot_of_leaf<Leaf64>(line, key);
        break;
      case Kind::Skip: {
        const Skip& skip = *reinterpret_cast<const Skip*>(line);
        if (skip.crosses != 0) key = low;
        if (high_bits(key ^ skip.bits, skip.length) != 0) return best;
        key = rest(key, skip.length);
        slot = skip.slot;
        break;
      }
    }
  }
}

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

PeerIndex walk_one_v4(const void* node, uint32_t address) noexcept {
  return walk_one(*static_cast<const RootLine*>(node), uint64_t{address} << 32, 0);
}
PeerIndex walk_one_v6(const void* node, uint64_t high, uint64_t low) noexcept {
  return walk_one(*static_cast<const RootLine*>(node), high, low);
}

std::span<const Kernel* const> kernels() noexcept { return {choice().all, choice().count}; }
const Kernel& best_kernel() noexcept { return *choice().all[choice().count - 1]; }

}  // namespace turnpike::lookup

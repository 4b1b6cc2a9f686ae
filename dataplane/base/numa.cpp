#include "dataplane/base/numa.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace turnpike {
namespace {

constexpr size_t kPageBytes = 4'096;
constexpr size_t kWordBits = 8 * sizeof(unsigned long);
constexpr size_t kNodesKnown = 1'024;  // as many as Linux can be built for

using NodeMask = std::array<unsigned long, kNodesKnown / kWordBits>;

// "0, 1"; empty where the kernel does not say.
std::string nodes_with_memory() {
  NodeMask mask{};
  if (syscall(SYS_get_mempolicy, nullptr, mask.data(), kNodesKnown + 1, nullptr,
              MPOL_F_MEMS_ALLOWED) != 0) {
    return {};
  }
  std::string list;
  for (size_t node = 0; node < kNodesKnown; ++node) {
    if ((mask[node / kWordBits] >> node % kWordBits & 1) == 0) continue;
    list += (list.empty() ? "" : ", ") + std::to_string(node);
  }
  return list;
}

}  // namespace

Result<void, std::string> can_place_memory(int numa_node) {
  const std::string what = "NUMA node " + std::to_string(numa_node) + ": ";
  // More nodes than SystemPages can ask for.
  int error = EINVAL;
  if (numa_node >= 0 && numa_node < static_cast<int>(kWordBits)) {
    void* page =
        mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return fail(what + "no memory for a page: " + std::strerror(errno));
    const unsigned long mask = 1ul << numa_node;
    const long done = syscall(SYS_mbind, page, kPageBytes, MPOL_PREFERRED, &mask, kWordBits + 1, 0);
    error = done == 0 ? 0 : errno;
    munmap(page, kPageBytes);
  }
  if (error == 0) return {};
  if (error != EINVAL) {
    return fail(what + "memory cannot be placed there: " + std::strerror(error) +
                " (a container may need CAP_SYS_NICE or another seccomp profile)");
  }
  const std::string nodes = nodes_with_memory();
  return fail(what + "there is no such node with memory for this process" +
              (nodes.empty() ? "" : "; those with memory: " + nodes));
}

}  // namespace turnpike

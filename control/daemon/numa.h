// On which NUMA nodes the workers run, and so of which copies of the tables there are and who reads which.
//   Threads: any; at start.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/base/replica_pages.h"
#include "dataplane/base/result.h"

namespace turnpike::daemon {

using NumaNode = uint32_t;

// What Linux says of the machine.
class NumaNodes {
 public:
  explicit NumaNodes(std::string devices = "/sys/devices/system") : devices_(std::move(devices)) {}
  // Nothing where the kernel knows of no nodes.
  [[nodiscard]] std::optional<NumaNode> of_cpu(uint32_t cpu) const;
  [[nodiscard]] bool several() const;

 private:
  std::string devices_;
};

struct Placement {
  struct Copy {
    std::optional<NumaNode> node;  // of its readers; nothing: of all of them, wherever they are
    bool placed = false;  // memory is asked for on that node; else it lies where the kernel puts it
  };
  struct Worker {
    std::optional<NumaNode> node;
    ReplicaIndex replica = 0;
  };
  std::vector<Copy> copies;  // by ReplicaIndex, at least one
  std::vector<Worker> workers;  // by WorkerIndex
  std::vector<std::string> warnings;  // lines for the log
};

// A copy for each node that has a worker. Where memory cannot be placed on a node (`can_place` says why), and beyond
// kMaxReplicas, a node's workers read the first copy: slower, but they run.
[[nodiscard]] Placement place_tables(
    std::span<const uint32_t> worker_cpus, const NumaNodes& nodes,
    const std::function<Result<void, std::string>(int)>& can_place);

}  // namespace turnpike::daemon

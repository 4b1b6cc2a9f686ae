// DPDK's environment: started once for the process, with one lcore for each worker.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dataplane/base/result.h"

namespace turnpike::io {

struct EalOptions {
  unsigned main_core = 0;             // CPU
  std::vector<unsigned> worker_cores;  // CPUs; worker i runs on lcore i + 1
  std::vector<unsigned> session_cores;  // CPUs; not DPDK's, only checked with the others
  bool hugepages = false;
  unsigned memory_mib = 512;
  std::string file_prefix = "turnpike";
  std::vector<std::string> pci_devices;  // probed at start; anything else is probed by Port::open()
  std::vector<std::string> extra;  // dataplane.eal, passed as they are
};

// Starts the EAL; the error is one line that says what is missing; start-up is over then for this process. Pins the calling thread to main_core
// as a side effect of DPDK, so that threads made later set their own affinity. While it runs, nothing else may
// write to stdout or stderr through stdio.
[[nodiscard]] Result<void, std::string> start_eal(const EalOptions& options);

// After all workers and ports have stopped. Removes what the EAL left in its run-time directory.
void stop_eal();

// The lcore of worker `index`.
[[nodiscard]] constexpr unsigned lcore_of_worker(size_t index) noexcept {
  return static_cast<unsigned>(index) + 1;
}

}  // namespace turnpike::io

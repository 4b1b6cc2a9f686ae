#include "dataplane/io/eal.h"

#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_pdump.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>

#include "dataplane/base/check.h"
#include "dataplane/base/limits.h"
#include "dataplane/io/log.h"

namespace turnpike::io {
namespace {

// Empty when the CPU may be used by this process.
std::string why_not(unsigned cpu, const char* key) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
  if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &allowed)) return {};
  std::string list;
  for (unsigned i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) list += (list.empty() ? "" : ", ") + std::to_string(i);
  }
  return std::string(key) + ": CPU " + std::to_string(cpu) +
         " does not exist or is not allowed to this process; there are " + list;
}

std::string check_cores(const EalOptions& options) {
  std::string error = why_not(options.main_core, "dataplane.main_core");
  for (const unsigned core : options.worker_cores) {
    if (error.empty()) error = why_not(core, "dataplane.workers");
  }
  for (const unsigned core : options.session_cores) {
    if (error.empty()) error = why_not(core, "dataplane.session_cores");
  }
  if (error.empty() &&
      options.worker_cores.size() > std::min<size_t>(kMaxWorkers, RTE_MAX_LCORE - 1)) {
    error = "dataplane.workers: " + std::to_string(options.worker_cores.size()) +
            " workers are more than the " + std::to_string(kMaxWorkers) + " that are supported";
  }
  return error;
}

// What the kernel could give without swapping, or nothing where it does not say.
std::optional<uint64_t> available_mib() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, rest; meminfo >> key; std::getline(meminfo, rest)) {
    uint64_t kib = 0;
    if (key == "MemAvailable:" && meminfo >> kib) return kib / 1024;
  }
  return std::nullopt;
}

// Empty when it is there. DPDK itself would look for it for a minute and then speak of service arrays; too few
// hugepages it tells at once and clearly.
std::string check_memory(const EalOptions& options) {
  if (options.hugepages) return {};
  const std::optional<uint64_t> available = available_mib();
  if (!available || options.memory_mib <= *available) return {};
  return "dataplane.memory: " + std::to_string(options.memory_mib) + " MiB are more than the " +
         std::to_string(*available) + " MiB that this machine has available";
}

std::vector<std::string> arguments_of(const EalOptions& options) {
  std::string lcores = "--lcores=0@" + std::to_string(options.main_core);
  for (size_t i = 0; i < options.worker_cores.size(); ++i) {
    lcores +=
        "," + std::to_string(lcore_of_worker(i)) + "@" + std::to_string(options.worker_cores[i]);
  }
  std::vector<std::string> arguments = {
      "turnpiked", lcores, "--main-lcore=0", "-m", std::to_string(options.memory_mib),
      "--file-prefix=" + options.file_prefix,
      // The default of 256 keeps several vector paths of DPDK switched off.
      "--force-max-simd-bitwidth=512"};
  if (!options.hugepages) {
    // --in-memory is refused together with --no-huge; --no-shconf leaves as little behind.
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
  } else {
    // vhost and virtio_user share memory by at most eight regions.
    arguments.emplace_back("--single-file-segments");
  }
  if (options.pci_devices.empty()) {
    arguments.emplace_back("--no-pci");
  } else {
    for (const std::string& device : options.pci_devices) {
      arguments.insert(arguments.end(), {"-a", device});
    }
  }
  arguments.insert(arguments.end(), options.extra.begin(), options.extra.end());
  return arguments;
}

// DPDK writes a few things past its log, to stdio: what is fatal once more, complaints of getopt, and how it is to
// be called. They are kept here instead, so that an error remains one line. (glibc's stdout and stderr are
// variables; what holds the old streams, such as our log, goes on.)
class StdioKept {
 public:
  StdioKept() : out_(stdout), err_(stderr), kept_(open_memstream(&text_, &bytes_)) {
    if (kept_ != nullptr) stdout = stderr = kept_;
  }
  ~StdioKept() {
    end();
    free(text_);
  }
  StdioKept(const StdioKept&) = delete;
  StdioKept& operator=(const StdioKept&) = delete;

  // getopt's complaint, if there is one: DPDK's log does not have it.
  [[nodiscard]] std::string complaint() {
    end();
    const std::string_view all(text_ == nullptr ? "" : text_, bytes_);
    constexpr std::string_view kMark = "turnpiked: ";
    if (!all.starts_with(kMark)) return {};
    return std::string(all.substr(kMark.size(), all.find('\n') - kMark.size()));
  }

 private:
  void end() {
    if (kept_ == nullptr) return;
    stdout = out_;
    stderr = err_;
    fclose(kept_);
    kept_ = nullptr;
  }

  FILE* out_;
  FILE* err_;
  char* text_ = nullptr;
  size_t bytes_ = 0;
  FILE* kept_;
};

// Without shared configuration DPDK itself does not notice that two processes use one prefix. The
// descriptor is closed by the end of the process.
int runtime_lock = -1;

bool lock_runtime_directory() {
  const std::string path = std::string(rte_eal_get_runtime_dir()) + "/turnpike.lock";
  runtime_lock = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (runtime_lock >= 0 && flock(runtime_lock, LOCK_EX | LOCK_NB) == 0) return true;
  if (runtime_lock >= 0) close(runtime_lock);
  runtime_lock = -1;
  return false;
}

}  // namespace

Result<void, std::string> start_eal(const EalOptions& options) {
  if (std::string error = check_cores(options); !error.empty()) return fail(std::move(error));
  if (std::string error = check_memory(options); !error.empty()) return fail(std::move(error));
  std::vector<std::string> arguments = arguments_of(options);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  StdioKept stdio;
  if (rte_eal_init(static_cast<int>(arguments.size()), argv.data()) < 0) {
    const std::string reason = rte_strerror(rte_errno);
    std::string details = take_last_errors();
    if (const std::string complaint = stdio.complaint(); !complaint.empty()) {
      details += (details.empty() ? "" : " ") + complaint;
    }
    return fail(
        "DPDK did not start (" + reason + ")" + (details.empty() ? "" : ": " + details) +
        (options.hugepages
             ? "; reserve hugepages (for example 512 of 2 MiB in /proc/sys/vm/nr_hugepages), mount "
               "them (mount -t hugetlbfs none /dev/hugepages) or set dataplane.hugepages to false"
             : "; see dataplane.memory (" + std::to_string(options.memory_mib) +
                   " MiB) and dataplane.eal"));
  }
  if (!lock_runtime_directory()) {
    return fail("dataplane.file_prefix: another process uses '" + options.file_prefix +
                "'; give this one a file_prefix of its own");
  }
  if (options.hugepages && rte_pdump_init() != 0) {
    // A capture is for diagnosis: a gateway without one is better than none.
    rte_log(RTE_LOG_WARNING, RTE_LOGTYPE_USER1, "dpdk-dumpcap will not work: %s\n",
            rte_strerror(rte_errno));
  }
  return {};
}

void stop_eal() {
  // The EAL leaves its directory behind; it is ours alone by the file prefix.
  const std::filesystem::path directory = rte_eal_get_runtime_dir();
  rte_pdump_uninit();
  rte_eal_cleanup();
  if (runtime_lock < 0) return;  // another process's directory
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  close(runtime_lock);
  runtime_lock = -1;
}

}  // namespace turnpike::io

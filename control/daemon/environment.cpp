#include "control/daemon/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

namespace turnpike::daemon {
namespace {

Result<void, std::string> prepare_directory(const std::string& name, const char* key) {
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::absolute(name, error);
  if (error) {
    return fail(std::string(key) + ": " + name +
                " is relative to the working directory, which cannot be told (" + error.message() +
                "); start turnpiked where a directory is, or name an absolute path");
  }
  std::filesystem::create_directories(directory, error);
  if (error) {
    return fail(std::string(key) + ": the directory " + directory.string() +
                " cannot be made: " + error.message());
  }
  if (access(directory.c_str(), W_OK | X_OK) != 0) {
    return fail(std::string(key) + ": the directory " + directory.string() +
                " cannot be written: " + strerror(errno));
  }
  return {};
}

// At the most: DPDK, the state and some clients; queues, control and memory of a port (vhost-user and virtio-user have
// most); doorbell and waits of a worker; socket of a tunnel, and who listens there.
constexpr uint64_t kFiles = 64, kFilesOfPort = 16, kFilesOfWorker = 4, kFilesOfTunnel = 2;

}  // namespace

Result<void, std::string> check_open_files(const config::Config& config) {
  const uint64_t needed = kFiles + config.ports.size() * kFilesOfPort +
                          config.dataplane.workers.size() * kFilesOfWorker +
                          config.tunnels.size() * kFilesOfTunnel;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) return {};
  return fail("this process may open " + std::to_string(limit.rlim_cur) +
              " files (RLIMIT_NOFILE), and this configuration needs " + std::to_string(needed) +
              "; allow at least 1024 (ulimit -n 1024, or LimitNOFILE=1024 in the systemd unit)");
}

Result<void, std::string> prepare_directories(const config::Control& control) {
  const auto parent = [](const std::string& file) {
    const std::string directory = std::filesystem::path(file).parent_path().string();
    return directory.empty() ? "." : directory;
  };
  if (auto made = prepare_directory(parent(control.socket), "control.socket"); !made) return made;
  if (auto made = prepare_directory(parent(control.state), "control.state"); !made) return made;
  if (control.wg_socket_dir.empty()) return {};
  return prepare_directory(control.wg_socket_dir, "control.wg_socket_dir");
}

Result<InstanceLock, std::string> InstanceLock::take(const config::Control& control) {
  const std::string path = control.state + ".lock";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return fail("control.state: " + path + " cannot be opened: " + strerror(errno));
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    close(file);
    return fail("another turnpiked runs with this state (" + control.state +
                "); stop it, or give this one a control.state and a control.socket of its own");
  }
  return InstanceLock(file);
}

InstanceLock::~InstanceLock() {
  if (file_ >= 0) close(file_);
}

Result<api::AccessRule, std::string> access_rule(const config::Control& control) {
  if (control.group.empty()) return api::AccessRule{};
  const group* found = getgrnam(control.group.c_str());
  if (found == nullptr) {
    return fail("control.group: there is no group '" + control.group +
                "'; make it with groupadd, or "
                "leave the key empty");
  }
  return api::AccessRule{.group = found->gr_gid};
}

}  // namespace turnpike::daemon

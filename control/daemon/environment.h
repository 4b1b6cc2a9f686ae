// What the daemon needs of the machine around it: directories, the one daemon for a state, the group of readers.
#pragma once

#include <string>
#include <utility>

#include "config/config.h"
#include "control/api/unix_listener.h"
#include "dataplane/base/result.h"

namespace turnpike::daemon {

// RLIMIT_NOFILE allows what this configuration opens: DPDK would stop the process where it does not. The error is one
// line.
[[nodiscard]] Result<void, std::string> check_open_files(const config::Config& config);

// Directories of the sockets and of the state exist and can be written; the error is one line.
[[nodiscard]] Result<void, std::string> prepare_directories(const config::Control& control);

// One daemon for one state: held until the process ends, also when it is killed.
class InstanceLock {
 public:
  // The error names the state that another process uses.
  [[nodiscard]] static Result<InstanceLock, std::string> take(const config::Control& control);
  InstanceLock(InstanceLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  InstanceLock& operator=(InstanceLock&&) = delete;
  ~InstanceLock();

 private:
  explicit InstanceLock(int file) : file_(file) {}
  int file_;
};

// Who may use the control socket; the error names a group that does not exist.
[[nodiscard]] Result<api::AccessRule, std::string> access_rule(const config::Control& control);

}  // namespace turnpike::daemon

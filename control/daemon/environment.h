// What the daemon needs of the machine around it: directories, the group of readers, systemd.
#pragma once

#include <string>

#include "config/config.h"
#include "control/api/unix_listener.h"
#include "dataplane/base/result.h"

namespace turnpike::daemon {

// Directories of the sockets and of the state exist and can be written; the error is one line.
[[nodiscard]] Result<void, std::string> prepare_directories(const config::Control& control);

// Who may use the control socket; the error names a group that does not exist.
[[nodiscard]] Result<api::AccessRule, std::string> access_rule(const config::Control& control);

// Nothing when systemd did not start us.
void notify_systemd(const char* state);

}  // namespace turnpike::daemon

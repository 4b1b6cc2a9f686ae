#include "control/daemon/environment.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

namespace turnpike::daemon {
namespace {

Result<void, std::string> prepare_directory(const std::filesystem::path& directory, const char* key) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return fail(std::string(key) + ": the directory " + directory.string() + " cannot be made: " +
                error.message());
  }
  if (access(directory.c_str(), W_OK | X_OK) != 0) {
    return fail(std::string(key) + ": the directory " + directory.string() + " cannot be written: " +
                strerror(errno));
  }
  return {};
}

}  // namespace

Result<void, std::string> prepare_directories(const config::Control& control) {
  const auto parent = [](const std::string& file) {
    return std::filesystem::absolute(file).parent_path();
  };
  if (auto made = prepare_directory(parent(control.socket), "control.socket"); !made) return made;
  if (auto made = prepare_directory(parent(control.state), "control.state"); !made) return made;
  if (control.wg_socket_dir.empty()) return {};
  return prepare_directory(control.wg_socket_dir, "control.wg_socket_dir");
}

Result<api::AccessRule, std::string> access_rule(const config::Control& control) {
  if (control.group.empty()) return api::AccessRule{};
  const group* found = getgrnam(control.group.c_str());
  if (found == nullptr) {
    return fail("control.group: there is no group '" + control.group + "'; make it with groupadd, or "
                "leave the key empty");
  }
  return api::AccessRule{.group = found->gr_gid};
}

void notify_systemd(const char* state) { sd_notify(0, state); }

}  // namespace turnpike::daemon

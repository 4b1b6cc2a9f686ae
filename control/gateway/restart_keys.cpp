#include "control/gateway/restart_keys.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "dataplane/base/check.h"

namespace turnpike::gateway {
namespace {

using config::Location;

class Differences {
 public:
  explicit Differences(const config::Config& after) : after_(after) {}

  template <typename Value>
  void compare(const std::string& section, const char* key, const config::Places& places,
               const Value& before, const Value& after) {
    if (before != after) add(section + "." + key, places.of(key));
  }
  // The same file may be named in two ways.
  void compare_path(const std::string& section, const char* key, const config::Places& places,
                    const std::string& before, const std::string& after) {
    const auto absolute = [](const std::string& path) {
      if (path.empty()) return std::filesystem::path();
      std::error_code gone;  // the working directory; then paths are compared as they are given
      const std::filesystem::path from_root = std::filesystem::absolute(path, gone);
      return (gone ? std::filesystem::path(path) : from_root).lexically_normal();
    };
    if (absolute(before) != absolute(after)) add(section + "." + key, places.of(key));
  }
  void add(std::string path, Location at, const std::string& what = "this is read at start") {
    found_.push_back({.file = after_.file,
                      .line = at.line,
                      .column = at.column,
                      .path = std::move(path),
                      .message = "restart needed: " + what});
  }
  std::vector<config::ConfigError> take() { return std::move(found_); }

 private:
  const config::Config& after_;
  std::vector<config::ConfigError> found_;
};

const config::Port* find(const std::vector<config::Port>& ports, const std::string& name) {
  const auto found = std::ranges::find(ports, name, &config::Port::name);
  return found == ports.end() ? nullptr : &*found;
}

}  // namespace

std::vector<config::ConfigError> restart_keys(const config::Config& started,
                                              const config::Config& after) {
  Differences differences(after);
  const config::Dataplane& was = started.dataplane;
  const config::Dataplane& is = after.dataplane;
  const auto dataplane = [&](const char* key, const auto& before, const auto& now) {
    differences.compare("dataplane", key, is.places, before, now);
  };
  dataplane("workers", was.workers, is.workers);
  dataplane("main_core", was.main_core, is.main_core);
  dataplane("session_cores", was.session_cores, is.session_cores);
  dataplane("hugepages", was.hugepages, is.hugepages);
  dataplane("memory", was.memory_mib, is.memory_mib);
  dataplane("file_prefix", was.file_prefix, is.file_prefix);
  dataplane("aead", was.aead, is.aead);
  dataplane("crypto_device", was.crypto_device, is.crypto_device);
  dataplane("crypto_sessions", was.crypto_sessions, is.crypto_sessions);
  dataplane("idle", was.idle, is.idle);
  dataplane("eal", was.eal, is.eal);
  for (size_t i = 0; i < after.ports.size(); ++i) {
    const config::Port& port = after.ports[i];
    const std::string section = "ports[" + std::to_string(i) + "]";
    const config::Port* before = find(started.ports, port.name);
    if (before == nullptr) {
      differences.add(section, port.places.of("name"), "port " + port.name + " is new");
      continue;
    }
    differences.compare(section, "device", port.places, before->device, port.device);
    differences.compare(section, "mtu", port.places, before->mtu, port.mtu);
    differences.compare(section, "spread", port.places, before->spread, port.spread);
  }
  for (const config::Port& port : started.ports) {
    if (find(after.ports, port.name) != nullptr) continue;
    differences.add("ports", {}, "port " + port.name + " is gone");
  }
  const config::Control& old = started.control;
  const config::Control& control = after.control;
  differences.compare_path("control", "socket", control.places, old.socket, control.socket);
  differences.compare("control", "group", control.places, old.group, control.group);
  differences.compare_path("control", "wg_socket_dir", control.places, old.wg_socket_dir,
                           control.wg_socket_dir);
  differences.compare("control", "metrics", control.places, old.metrics, control.metrics);
  differences.compare_path("control", "state", control.places, old.state, control.state);
  differences.compare("control", "durability", control.places, old.durability, control.durability);
  return differences.take();
}

void order_ports(const config::Config& started, config::Config& after) {
  std::vector<config::Port> ordered;
  ordered.reserve(after.ports.size());
  for (const config::Port& port : started.ports) {
    const auto found = std::ranges::find(after.ports, port.name, &config::Port::name);
    CHECK(found != after.ports.end());
    ordered.push_back(std::move(*found));
  }
  after.ports = std::move(ordered);
}

}  // namespace turnpike::gateway

// A configuration as YAML text that loads to the same value. Pure: secrets never enter the text,
// they are named as files that the caller writes.
#pragma once

#include <functional>
#include <string>

#include "config/config.h"

namespace turnpike::config {

// Where each secret will be found, relative to the directory of the new file.
struct SecretFiles {
  std::function<std::string(const Tunnel&)> private_key;
  // Asked only for peers that have one. `index` is the peer's place in the tunnel.
  std::function<std::string(const Tunnel&, const Peer&, size_t index)> preshared_key;
};

// Loads to the same value when paths in it (sockets, state) are absolute; relative ones are
// relative to the process here and to the file there.
[[nodiscard]] std::string export_config(const Config& config, const SecretFiles& files);

}  // namespace turnpike::config

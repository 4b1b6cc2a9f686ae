// A configuration as YAML text that loads to the same value. Pure: secrets never enter the text,
// they are named as files that the caller writes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/config.h"

namespace turnpike::config {

// Where each secret will be found, relative to the directory of the new file.
struct SecretFiles {
  std::function<std::string(const Tunnel&)> private_key;
  // Asked only for peers that have one. `index` is the peer's place in the tunnel.
  std::function<std::string(const Tunnel&, const Peer&, size_t index)> preshared_key;
  // Whether the file has yet to be made, of a tunnel (no peer) or a peer: a comment says so. Empty: none has.
  std::function<bool(const Tunnel&, const Peer*)> missing;
};

// How files of secrets are called below `directory`: TUNNEL.key, and TUNNEL-KEY.psk with the peer's public key in
// hex, since names may hold anything; the whole of it, since keys that begin alike are easily made. An empty
// directory is that of the new file.
[[nodiscard]] SecretFiles secret_names(const std::string& directory);

// Writes the text in pieces of at most some tens of peers and prefixes, so that whoever must not work long at
// a stretch can do something else in between. Loads to the same value when paths in it (sockets, state) are
// absolute; relative ones are relative to the process here and to the file there.
class Exporter {
 public:
  // `config` must outlive it. `comments` are lines at the top.
  Exporter(const Config& config, SecretFiles files, std::vector<std::string> comments = {});

  // Appends the next piece; false when that was the last one.
  [[nodiscard]] bool next(std::string& out);

 private:
  [[nodiscard]] bool peers(std::string& out);

  const Config& config_;
  SecretFiles files_;
  std::vector<std::string> comments_;
  bool begun_ = false;
  size_t tunnel_ = 0;
  // What comes next within the tunnel: its own keys where `in_tunnel_` is false, then each peer's; of a peer
  // whose list of prefixes has begun, the next prefix.
  bool in_tunnel_ = false;
  bool in_list_ = false;
  size_t peer_ = 0;
  size_t prefix_ = 0;
};

// All of it at once.
[[nodiscard]] std::string export_config(const Config& config, const SecretFiles& files);

}  // namespace turnpike::config

// The file applied last, as rows: a reload of a large file writes what is different in it.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "control/store/codec.h"

namespace turnpike::store {

struct FileRows {
  struct Tunnel {
    std::string name;
    Buffer body;  // empty: the tunnel goes, with its peers
  };
  struct Peer {
    std::string tunnel;
    PublicKey public_key;
    Buffer body;  // empty: goes
  };
  std::vector<Tunnel> tunnels;
  std::vector<Peer> peers;
  [[nodiscard]] bool empty() const noexcept { return tunnels.empty() && peers.empty(); }
};

// Of tunnels and peers; ports and what else a file says are not kept. Pure; costs what both files have.
[[nodiscard]] FileRows file_rows(const config::Config& before, const config::Config& after);

}  // namespace turnpike::store

// What a reload would do, for a person to read before it: made of the change that was planned, so it says what
// would happen and not what the file looks like.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/error.h"
#include "control/state/change.h"
#include "control/state/state.h"

namespace turnpike::gateway {

enum class DiffKind : uint8_t { Added, Removed, Changed };

struct FileDiff {
  struct Tunnel {
    DiffKind kind = DiffKind::Changed;
    std::string name;
    std::vector<std::string> keys;  // that change
  };
  struct Peer {
    DiffKind kind = DiffKind::Changed;
    std::string tunnel;
    std::string peer;  // name, else public key
    PublicKey public_key;
    std::vector<std::string> keys;  // that change; `preshared_key` without its value
  };
  struct PrefixLine {
    std::string tunnel;
    Prefix prefix;
    std::string from;  // empty: nobody had it
    std::string to;  // empty: nobody gets it
  };
  struct Session {
    std::string tunnel;
    std::string peer;
    bool ends = false;  // false: a new handshake takes its place at once
    std::string why;
  };

  // Of the state that it was planned on; durable, since the Committer judges a dry run when nothing is on its way to
  // the disk.
  Generation generation = 0;
  bool changed = false;  // beside what is taken over
  // Peers and prefixes as the file has them, but made at run time so far: nothing about them changes, only that
  // they are the file's from then on.
  size_t taken_over = 0;
  bool topology = false;  // ports' addresses and routes, tunnels' addresses and MTUs
  std::vector<Tunnel> tunnels;
  std::vector<Peer> peers;
  std::vector<PrefixLine> prefixes;
  std::vector<Session> sessions;
  std::vector<std::string> nested;
  std::vector<config::ConfigError> warnings;  // overrides, and mistakes that are none
};

// `has_session`: the peer can send and receive now. Cost: that of the change.
[[nodiscard]] FileDiff diff_of(const state::State& state, const state::Change& change,
                               const std::function<bool(PeerId)>& has_session);

}  // namespace turnpike::gateway

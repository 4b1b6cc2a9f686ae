// A transaction: edits that become true together or not at all. The order of the edits has no meaning for
// who owns what (design: judged on the outcome); an edit's number is its place in the list, from 0.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/state/peer.h"

namespace turnpike::state {

enum class Op : uint8_t {
  Claim,  // peer, prefixes
  Release,  // peer, prefixes
  Replace,  // peer, prefixes: its whole list from now on
  Move,  // peer (from), to, prefixes
  PeerAdd,  // public_key, patch, prefixes (claimed)
  PeerSet,  // peer, patch
  PeerRemove,  // peer
  TunnelAdd,  // new_tunnel (its index is chosen by plan)
  TunnelSet,  // new_tunnel, all of it unless known_tunnel says less; name and index stay
  TunnelRemove,  // with all its peers
};

struct Edit {
  Op op = Op::Claim;
  Origin origin = Origin::Api;
  std::string tunnel;
  PeerSelector peer;
  PeerSelector to;
  PublicKey public_key;
  std::vector<Prefix> prefixes;  // host bits zero
  std::optional<PeerPatch> patch;
  std::shared_ptr<const Tunnel> new_tunnel;
  // Of a way back, in PeerSet and TunnelSet: what is to go back, as the change left it. With a known tunnel, only that
  // of new_tunnel is set which differs from it.
  std::optional<PeerPatch> known_patch;
  std::shared_ptr<const Tunnel> known_tunnel;
};

struct Transaction {
  std::optional<Generation> if_generation;
  std::string comment;
  // Set by what speaks for wg(8): in a tunnel whose policy is ConflictPolicy::Move, takers take from whoever
  // owns. Otherwise a claim never takes, whatever the policy. Also lets a prefix stand in several edits: wg(8)
  // says what a peer has at the end of each block, and what counts is the end of all.
  bool follow_policy = false;
  std::vector<Edit> edits;
};

[[nodiscard]] std::string_view to_string(Op op);

}  // namespace turnpike::state

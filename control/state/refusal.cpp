#include "control/state/refusal.h"

namespace turnpike::state {

std::string_view to_string(ConflictKind kind) {
  switch (kind) {
    case ConflictKind::OwnedByAnother:
      return "owned_by_another";
    case ConflictKind::NotOwned:
      return "not_owned";
    case ConflictKind::TakenTwice:
      return "taken_twice";
    case ConflictKind::PrefixInTwoEdits:
      return "prefix_in_two_edits";
    case ConflictKind::UnknownTunnel:
      return "unknown_tunnel";
    case ConflictKind::DuplicateTunnel:
      return "duplicate_tunnel";
    case ConflictKind::UnknownPeer:
      return "unknown_peer";
    case ConflictKind::DuplicatePeer:
      return "duplicate_peer";
    case ConflictKind::PeerInTwoEdits:
      return "peer_in_two_edits";
    case ConflictKind::OwnKey:
      return "own_key";
    case ConflictKind::Limit:
      return "limit";
    case ConflictKind::StaleGeneration:
      return "stale_generation";
  }
  return "unknown";
}

std::string describe(const Conflict& conflict) {
  const std::string prefix = conflict.prefix ? turnpike::to_string(*conflict.prefix) : "";
  const std::string& tunnel = conflict.tunnel;
  switch (conflict.kind) {
    case ConflictKind::OwnedByAnother:
      return prefix + " in " + tunnel + " is owned by " + conflict.owner;
    case ConflictKind::NotOwned:
      return prefix + " in " + tunnel + " is not owned by " + conflict.peer + " but by " +
             (conflict.owner.empty() ? "nobody" : conflict.owner);
    case ConflictKind::TakenTwice:
      return prefix + " in " + tunnel + " is taken by both " + conflict.owner + " and " +
             conflict.peer;
    case ConflictKind::PrefixInTwoEdits:
      return prefix + " in " + tunnel + " stands in two edits";
    case ConflictKind::UnknownTunnel:
      return "there is no tunnel " + tunnel;
    case ConflictKind::DuplicateTunnel:
      return "there is a tunnel " + tunnel + " already";
    case ConflictKind::UnknownPeer:
      return "there is no peer " + conflict.peer + " in " + tunnel;
    case ConflictKind::DuplicatePeer:
      return "name or key of peer " + conflict.peer + " in " + tunnel + " are those of " +
             conflict.owner;
    case ConflictKind::PeerInTwoEdits:
      return "peer " + conflict.peer + " in " + tunnel +
             " stands in two edits that exclude each other";
    case ConflictKind::OwnKey:
      return "the key of peer " + conflict.peer + " is that of " + tunnel + " itself";
    case ConflictKind::Limit:
      return "the limit of " + conflict.owner + " is reached";
    case ConflictKind::StaleGeneration:
      return "the state has another generation by now";
  }
  return "unknown conflict";
}

}  // namespace turnpike::state

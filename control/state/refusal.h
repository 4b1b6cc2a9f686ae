// Why a transaction was refused: every conflict, with the edit that has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"

namespace turnpike::state {

// The text forms (to_string) are part of the interface.
enum class ConflictKind : uint8_t {
  OwnedByAnother,    // owned_by_another: `peer` wants what `owner` has and does not give
  NotOwned,          // not_owned: `peer` should give what it does not have
  TakenTwice,        // taken_twice: `peer` wants what `owner` takes in the same transaction
  PrefixInTwoEdits,  // prefix_in_two_edits: `owner` is whom the earlier edit is about
  UnknownTunnel,     // unknown_tunnel
  DuplicateTunnel,   // duplicate_tunnel
  UnknownPeer,       // unknown_peer
  DuplicatePeer,     // duplicate_peer: name or key of `peer` are those of `owner`
  PeerInTwoEdits,    // peer_in_two_edits: replaced, or removed and set, in one transaction
  OwnKey,            // own_key: the peer's key is the tunnel's own
  Limit,             // limit: of peers, prefixes or tunnels
  StaleGeneration,   // stale_generation: see Refusal::generation
};

struct Conflict {
  uint32_t edit = 0;
  ConflictKind kind = ConflictKind::OwnedByAnother;
  std::string tunnel;
  std::optional<Prefix> prefix;
  std::string owner;  // name, else public key; empty: nobody, or not meant
  std::string peer;
  bool peer_is_new = false;  // `peer` is added by this very transaction, so there is none now
  friend bool operator==(const Conflict&, const Conflict&) = default;
};

struct Refusal {
  std::vector<Conflict> conflicts;   // in the order of the edits; never empty
  Generation generation = 0;         // of the state that it was judged against
  // Nothing but the generation was wrong.
  [[nodiscard]] bool is_stale() const noexcept {
    return conflicts.size() == 1 && conflicts[0].kind == ConflictKind::StaleGeneration;
  }
};

[[nodiscard]] std::string_view to_string(ConflictKind kind);
// One sentence for a person: "10.8.0.2/32 is owned by alice".
[[nodiscard]] std::string describe(const Conflict& conflict);

}  // namespace turnpike::state

// What control knows of a peer and of a tunnel, as values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/limits.h"

namespace turnpike::state {

inline constexpr PeerId kNoPeerId{0};  // ids start at 1

// Prefixes over all tunnels; the next one is refused with a limit conflict.
inline constexpr uint32_t kMaxPrefixes = 1u << 22;

// Who asked for a peer or a claim: the configuration file, or a transaction at run time.
enum class Origin : uint8_t { File, Api };

// What happens when wg(8) claims a prefix that another peer of the tunnel owns.
enum class ConflictPolicy : uint8_t { Refuse, Move };

// How an edit names a peer.
using PeerSelector = std::variant<std::string, PublicKey, PeerId>;
// A text that is shaped like a key is one, everything else is a name.
[[nodiscard]] PeerSelector parse_peer_selector(std::string_view text);

struct PeerAttributes {
  PublicKey public_key;
  PresharedKey preshared_key;  // zero: none
  Endpoint endpoint;  // as configured; where the peer was heard last is not state
  uint16_t persistent_keepalive = 0;  // seconds; 0: off
  bool enabled = true;
  Origin origin = Origin::Api;
  std::string name;  // empty: none
  std::string description;
  friend bool operator==(const PeerAttributes&, const PeerAttributes&) = default;
};

// Attributes to set; what is absent stays (for a new peer: is the default).
struct PeerPatch {
  std::optional<std::string> name;  // empty: the peer has none from now on
  std::optional<std::string> description;
  std::optional<PresharedKey> preshared_key;  // zero: none
  std::optional<Endpoint> endpoint;  // none: forgotten
  std::optional<uint16_t> persistent_keepalive;
  std::optional<bool> enabled;
  friend bool operator==(const PeerPatch&, const PeerPatch&) = default;
};

// A tunnel as far as transactions and wg(8) are concerned. The public key belongs to the private one:
// whoever sets a key sets both, since deriving one needs X25519, which state does not know.
struct Tunnel {
  std::string name;
  TunnelIndex index = kNoTunnel;
  ConflictPolicy conflicts = ConflictPolicy::Refuse;
  uint16_t listen_port = 0;
  uint32_t fwmark = 0;  // kept for wg(8)'s round trip; without meaning here
  PrivateKey private_key;
  PublicKey public_key;
  friend bool operator==(const Tunnel&, const Tunnel&) = default;
};

// A text that costs one pointer when it is empty.
class Text {
 public:
  Text() = default;
  explicit Text(std::string_view text);
  [[nodiscard]] std::string_view view() const noexcept {
    return bytes_ ? std::string_view(bytes_.get()) : std::string_view();
  }
  [[nodiscard]] bool empty() const noexcept { return bytes_ == nullptr; }

 private:
  std::unique_ptr<char[]> bytes_;  // terminated
};

// A peer as it is stored. 128 bytes, since there may be a million of them.
struct Peer {
  PublicKey public_key;
  PresharedKey preshared_key;
  PeerId id = kNoPeerId;  // kNoPeerId: the slot is free
  Text name;
  Text description;
  Endpoint endpoint;
  uint16_t persistent_keepalive = 0;
  TunnelIndex tunnel = kNoTunnel;
  uint32_t first_claim = 0xffff'ffff;  // list through the claims, the newest first
  uint32_t claims = 0;
  bool enabled = true;
  Origin origin = Origin::Api;

  [[nodiscard]] PeerAttributes attributes() const;
};
static_assert(sizeof(Peer) <= 128);

// What to call a peer in a message: its name, else its public key.
[[nodiscard]] std::string label(const Peer& peer);
[[nodiscard]] std::string label(const PeerAttributes& peer);
[[nodiscard]] std::string label(const PeerSelector& selector);

// The owner of a prefix in one tunnel, or, for a disabled peer, the wish to own it once enabled.
struct Claim {
  Prefix prefix;
  Origin origin = Origin::Api;
  uint32_t peer = 0xffff'ffff;  // slot
  uint32_t next = 0xffff'ffff;  // of the same peer
  uint32_t previous = 0xffff'ffff;
};
static_assert(sizeof(Claim) == 32);

}  // namespace turnpike::state

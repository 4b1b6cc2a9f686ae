#include <cerrno>
#include <charconv>

#include "control/api/wg_protocol.h"
#include "dataplane/base/text.h"

namespace turnpike::api {
namespace {

// Bounds of one slice: slots looked at, and prefixes written.
constexpr uint32_t kSlotsPerSlice = 512;
constexpr uint32_t kPrefixesPerSlice = 32;
// Conflicts that a refusal lists for wg(8), which ignores them; people read the first.
constexpr size_t kMaxConflictLines = 100;

void put(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  out += '=';
  out += value;
  out += '\n';
}

void put(std::string& out, std::string_view key, uint64_t value) {
  char digits[20];
  put(out, key, std::string_view(digits, std::to_chars(digits, digits + 20, value).ptr));
}

class GetSource final : public BodySource {
 public:
  GetSource(const Backend& backend, TunnelIndex tunnel) : backend_(backend), tunnel_(tunnel) {}

  bool next(std::string& out) override {
    const state::State& state = backend_.state();
    if (slot_ == 0) device(out, state.tunnel(tunnel_));
    uint32_t prefixes = 0;
    for (uint32_t looked = 0; looked < kSlotsPerSlice && slot_ < state.peer_slots_end(); ++looked) {
      const state::Peer& peer = state.peer(slot_++);
      if (peer.id == state::kNoPeerId || peer.tunnel != tunnel_ || !peer.enabled) continue;
      write(out, slot_ - 1, peer);
      prefixes += 1 + peer.claims;
      if (prefixes >= kPrefixesPerSlice) break;
    }
    return slot_ < state.peer_slots_end();
  }

 private:
  static void device(std::string& out, const state::Tunnel& tunnel) {
    if (!tunnel.private_key.is_zero()) {
      put(out, "private_key", base::to_hex(tunnel.private_key.bytes()));
    }
    put(out, "listen_port", uint64_t{tunnel.listen_port});
    if (tunnel.fwmark != 0) put(out, "fwmark", uint64_t{tunnel.fwmark});
  }

  void write(std::string& out, uint32_t slot, const state::Peer& peer) {
    const PeerStatus status = backend_.peer_status(peer.id);
    const Endpoint& endpoint = status.endpoint.is_none() ? peer.endpoint : status.endpoint;
    put(out, "public_key", base::to_hex(peer.public_key.bytes));
    put(out, "preshared_key", base::to_hex(peer.preshared_key.bytes()));
    put(out, "protocol_version", uint64_t{1});
    if (!endpoint.is_none()) put(out, "endpoint", to_string(endpoint));
    put(out, "last_handshake_time_sec", status.last_handshake.nanoseconds / 1'000'000'000);
    put(out, "last_handshake_time_nsec", status.last_handshake.nanoseconds % 1'000'000'000);
    put(out, "tx_bytes", status.tx_bytes);
    put(out, "rx_bytes", status.rx_bytes);
    put(out, "persistent_keepalive_interval", uint64_t{peer.persistent_keepalive});
    backend_.state().for_each_claim(slot, [&](const state::Claim& claim) {
      put(out, "allowed_ip", to_string(claim.prefix));
    });
  }

  const Backend& backend_;
  TunnelIndex tunnel_;
  uint32_t slot_ = 0;
};

int errno_of(state::ConflictKind kind) {
  switch (kind) {
    case state::ConflictKind::OwnedByAnother:
    case state::ConflictKind::TakenTwice:
    case state::ConflictKind::DuplicatePeer: return EEXIST;
    case state::ConflictKind::UnknownTunnel: return ENODEV;
    case state::ConflictKind::Limit: return ENOSPC;
    default: return EINVAL;
  }
}

}  // namespace

std::unique_ptr<BodySource> make_wg_get(const Backend& backend, TunnelIndex tunnel) {
  return std::make_unique<GetSource>(backend, tunnel);
}

WgAnswer wg_answer(const state::State& state, const CommitAnswer& answer) {
  if (std::holds_alternative<Committed>(answer)) return {};
  if (const auto* failure = std::get_if<CommitFailure>(&answer)) {
    WgAnswer failed{.error = EIO, .lines = {}};
    put(failed.lines, "message", failure->what);
    return failed;
  }
  const auto& refusal = std::get<state::Refusal>(answer);
  WgAnswer refused{.error = errno_of(refusal.conflicts.front().kind), .lines = {}};
  for (size_t i = 0; i < refusal.conflicts.size() && i < kMaxConflictLines; ++i) {
    const state::Conflict& c = refusal.conflicts[i];
    if (c.prefix) put(refused.lines, "conflict_allowed_ip", to_string(*c.prefix));
    if (!c.owner.empty()) put(refused.lines, "conflict_owner", c.owner);
    const state::Tunnel* tunnel = state.find_tunnel(c.tunnel);
    const state::Claim* claim =
        tunnel != nullptr && c.prefix ? state.owner(tunnel->index, *c.prefix) : nullptr;
    if (claim != nullptr) {
      put(refused.lines, "conflict_peer", base::to_hex(state.peer(claim->peer).public_key.bytes));
    }
  }
  return refused;
}

}  // namespace turnpike::api

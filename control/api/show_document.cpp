#include "control/api/show_document.h"

#include "control/api/json_text.h"
#include "dataplane/base/text.h"

namespace turnpike::api {
namespace {

// Bounds of one slice: slots looked at, and prefixes written.
constexpr uint32_t kSlotsPerSlice = 512;
constexpr uint32_t kPrefixesPerSlice = 32;

class ShowSource final : public BodySource {
 public:
  ShowSource(const Backend& backend, ShowFilter filter)
      : backend_(backend), filter_(std::move(filter)) {}

  bool next(std::string& out) override {
    switch (stage_) {
      case Stage::Head:
        head(out);
        stage_ = filter_.peers ? Stage::Peers : Stage::Tail;
        return true;
      case Stage::Peers:
        if (!peers(out)) stage_ = Stage::Tail;
        return true;
      case Stage::Tail:
        tail(out);
        stage_ = Stage::Done;
        return false;
      case Stage::Done:
        return false;
    }
    return false;
  }

 private:
  enum class Stage : uint8_t { Head, Peers, Tail, Done };

  void head(std::string& out) {
    out += '{';
    append_json_key(out, "generation");
    append_json_number(out, backend_.generation());
    if (filter_.tunnels) {
      append_json_key(out, "tunnels");
      out += '[';
      for (const state::Tunnel& tunnel : backend_.state().tunnels()) {
        if (tunnel.index == kNoTunnel) continue;
        if (filter_.tunnel && *filter_.tunnel != tunnel.name) continue;
        write_tunnel(out, tunnel);
      }
      out += ']';
    }
    if (filter_.peers) {
      append_json_key(out, "peers");
      out += '[';
    }
  }

  void write_tunnel(std::string& out, const state::Tunnel& tunnel) {
    const TunnelStatus status = backend_.tunnel_status(tunnel.index);
    append_json_comma(out);
    out += '{';
    text(out, "name", tunnel.name);
    const bool has_key = !tunnel.private_key.is_zero();
    text_or_null(out, "public_key",
                 has_key ? base::key_to_base64(tunnel.public_key.bytes) : std::string());
    append_json_key(out, "listen_port");
    append_json_number(out, uint64_t{tunnel.listen_port});
    text(out, "outside", status.outside);
    text(out, "inside", status.inside);
    append_json_key(out, "mtu");
    append_json_number(out, uint64_t{status.mtu});
    append_json_key(out, "addresses");
    out += '[';
    for (const InterfaceAddress& address : status.addresses) {
      append_json_comma(out);
      append_json_string(out, to_string(address));
    }
    out += ']';
    text(out, "conflicts", tunnel.conflicts == state::ConflictPolicy::Move ? "move" : "refuse");
    out += '}';
  }

  // False when all have been written.
  bool peers(std::string& out) {
    const state::State& state = backend_.state();
    uint32_t prefixes = 0;
    for (uint32_t looked = 0; looked < kSlotsPerSlice; ++looked) {
      if (slot_ >= state.peer_slots_end()) return false;
      const state::Peer& peer = state.peer(slot_++);
      if (!wanted(peer)) continue;
      write_peer(out, slot_ - 1, peer);
      prefixes += 1 + peer.claims;
      if (prefixes >= kPrefixesPerSlice) break;
    }
    return slot_ < state.peer_slots_end();
  }

  bool wanted(const state::Peer& peer) const {
    if (peer.id == state::kNoPeerId) return false;
    if (filter_.peer && *filter_.peer != peer.id) return false;
    return !filter_.tunnel || backend_.state().tunnel(peer.tunnel).name == *filter_.tunnel;
  }

  void write_peer(std::string& out, uint32_t slot, const state::Peer& peer) {
    const PeerStatus status = backend_.peer_status(peer.id);
    const Endpoint& endpoint = status.endpoint.is_none() ? peer.endpoint : status.endpoint;
    if (!first_peer_) out += ',';
    first_peer_ = false;
    out += '{';
    text(out, "tunnel", backend_.state().tunnel(peer.tunnel).name);
    text_or_null(out, "name", peer.name.view());
    text(out, "description", peer.description.view());
    text(out, "public_key", base::key_to_base64(peer.public_key.bytes));
    text_or_null(out, "endpoint", endpoint.is_none() ? "" : to_string(endpoint));
    text_or_null(out, "last_handshake",
                 status.last_handshake.nanoseconds == 0 ? "" : rfc3339(status.last_handshake));
    append_json_key(out, "rx_bytes");
    append_json_number(out, status.rx_bytes);
    append_json_key(out, "tx_bytes");
    append_json_number(out, status.tx_bytes);
    append_json_key(out, "allowed_ips");
    out += '[';
    // A disabled peer owns nothing; what it will claim again stands apart.
    if (peer.enabled) write_claims(out, slot);
    out += ']';
    if (!peer.enabled) {
      append_json_key(out, "dormant_ips");
      out += '[';
      write_claims(out, slot);
      out += ']';
    }
    append_json_key(out, "persistent_keepalive");
    append_json_number(out, uint64_t{peer.persistent_keepalive});
    append_json_key(out, "preshared_key");
    out += peer.preshared_key.is_zero() ? "false" : "true";  // whether there is one
    text(out, "origin", peer.origin == state::Origin::File ? "file" : "api");
    append_json_key(out, "enabled");
    out += peer.enabled ? "true" : "false";
    out += '}';
  }

  void write_claims(std::string& out, uint32_t slot) {
    backend_.state().for_each_claim(slot, [&](const state::Claim& claim) {
      append_json_comma(out);
      append_json_string(out, to_string(claim.prefix));
    });
  }

  void tail(std::string& out) {
    if (filter_.peers) out += ']';
    if (filter_.ports) write_ports(out);
    if (filter_.workers) write_workers(out);
    if (filter_.drops) {
      comma_after_list(out);
      append_json_string(out, "drops");
      out += ":{";
      for (const DropCount& drop : backend_.drops()) {
        append_json_key(out, drop.reason);
        append_json_number(out, drop.count);
      }
      out += '}';
    }
    out += "}\n";
  }

  // Slices begin with an empty text, so the comma between sections is written here.
  static void comma_after_list(std::string& out) { out += ','; }

  void write_ports(std::string& out) {
    comma_after_list(out);
    append_json_string(out, "ports");
    out += ":[";
    for (const PortStatus& port : backend_.ports()) {
      append_json_comma(out);
      out += '{';
      text(out, "name", port.name);
      append_json_key(out, "up");
      out += port.up ? "true" : "false";
      text(out, "mac", to_string(port.mac));
      number(out, "rx_packets", port.rx_packets);
      number(out, "tx_packets", port.tx_packets);
      number(out, "missed", port.missed);
      number(out, "no_mbuf", port.no_mbuf);
      out += '}';
    }
    out += ']';
  }

  void write_workers(std::string& out) {
    comma_after_list(out);
    append_json_string(out, "workers");
    out += ":[";
    for (const WorkerStatus& worker : backend_.workers()) {
      append_json_comma(out);
      out += '{';
      number(out, "lcore", worker.lcore);
      number(out, "generation", worker.generation);
      append_json_key(out, "busy");
      append_json_number(out, worker.busy);
      append_json_key(out, "cycles_per_packet");
      append_json_number(out, worker.cycles_per_packet);
      append_json_key(out, "numa_node");
      if (worker.numa_node) {
        append_json_number(out, static_cast<uint64_t>(*worker.numa_node));
      } else {
        out += "null";
      }
      text(out, "idle", worker.idle);
      number(out, "interrupts", worker.interrupts);
      out += '}';
    }
    out += ']';
  }

  static void text(std::string& out, std::string_view key, std::string_view value) {
    append_json_key(out, key);
    append_json_string(out, value);
  }
  static void text_or_null(std::string& out, std::string_view key, std::string_view value) {
    append_json_key(out, key);
    if (value.empty()) {
      out += "null";
    } else {
      append_json_string(out, value);
    }
  }
  static void number(std::string& out, std::string_view key, uint64_t value) {
    append_json_key(out, key);
    append_json_number(out, value);
  }

  const Backend& backend_;
  ShowFilter filter_;
  Stage stage_ = Stage::Head;
  uint32_t slot_ = 0;
  bool first_peer_ = true;
};

}  // namespace

std::optional<ShowFilter> show_section(std::string_view name) {
  ShowFilter none{
      .tunnels = false, .peers = false, .ports = false, .workers = false, .drops = false};
  if (name == "tunnels") {
    none.tunnels = true;
  } else if (name == "peers") {
    none.peers = true;
  } else if (name == "ports") {
    none.ports = true;
  } else if (name == "workers") {
    none.workers = true;
  } else if (name == "drops") {
    none.drops = true;
  } else {
    return std::nullopt;
  }
  return none;
}

std::unique_ptr<BodySource> make_show(const Backend& backend, ShowFilter filter) {
  return std::make_unique<ShowSource>(backend, std::move(filter));
}

}  // namespace turnpike::api

#include "control/gateway/running_config.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "config/plain_text.h"
#include "config/value.h"
#include "dataplane/base/check.h"

namespace turnpike::gateway {
namespace {

std::vector<config::OwnAddress> own(const std::vector<InterfaceAddress>& addresses) {
  std::vector<config::OwnAddress> out;
  for (const InterfaceAddress& address : addresses) out.push_back({.value = address, .at = {}});
  return out;
}

class Maker {
 public:
  Maker(const state::State& state, const Topology& topology, const config::Config& started,
        const config::Config& applied)
      : state_(state), topology_(topology), started_(started), applied_(applied) {}

  RunningConfig run() {
    out_.generation = state_.generation();
    config::Config& config = out_.config;
    config.dataplane = started_.dataplane;
    config.control = started_.control;
    for (std::string* path :
         {&config.control.socket, &config.control.wg_socket_dir, &config.control.state}) {
      *path = absolute(std::move(*path));
    }
    add_ports();
    add_tunnels();
    // One walk over all peers, whatever tunnels they are in.
    for (uint32_t slot = state_.next_peer(0); slot != state::kNoSlot;
         slot = state_.next_peer(slot + 1)) {
      add_peer(slot);
    }
    config::sort_secret_files(config);
    if (!left_relative_.empty()) {
      note("the path " + left_relative_ +
           " and other relative ones are left so: the directory that turnpiked was started in "
           "cannot be told (" +
           why_relative_ + ")");
    }
    if (more_notes_ != 0) {
      out_.notes.push_back("and " + std::to_string(more_notes_) + " more such peers");
    }
    return std::move(out_);
  }

 private:
  std::string absolute(std::string path) {
    if (path.empty()) return path;
    std::error_code error;
    const std::filesystem::path from_root = std::filesystem::absolute(path, error);
    if (!error) return from_root.lexically_normal().string();
    if (left_relative_.empty()) left_relative_ = path;
    why_relative_ = error.message();
    return path;
  }

  // Of a tunnel: in what is made, and in the file applied last.
  struct Place {
    std::optional<size_t> tunnel;
    std::optional<size_t> in_file;
  };

  void note(std::string what) {
    if (out_.notes.size() < RunningConfig::kNamedMax) {
      out_.notes.push_back(std::move(what));
    } else {
      ++more_notes_;
    }
  }

  void without_file(std::string whose) {
    ++out_.keys_without_file;
    if (out_.named_without_file.size() < RunningConfig::kNamedMax) {
      out_.named_without_file.push_back(std::move(whose));
    }
  }

  void add_ports() {
    for (const PortTopology& port : topology_.ports) {
      const auto at_start = std::ranges::find(started_.ports, port.name, &config::Port::name);
      CHECK(at_start != started_.ports.end());
      config::Port& made = out_.config.ports.emplace_back();
      made.name = port.name;
      made.device = at_start->device;
      made.addresses = own(port.addresses);
      made.mtu = port.mtu_bytes;
      made.spread = at_start->spread;
      for (const Route& route : port.routes) {
        made.routes.push_back({.to = route.to, .via = route.via, .at = {}});
      }
    }
  }

  void add_tunnels() {
    places_.assign(state_.tunnels().size(), Place{});
    for (const state::Tunnel& tunnel : state_.tunnels()) {
      if (tunnel.index != kNoTunnel) add_tunnel(tunnel);
    }
  }

  void add_tunnel(const state::Tunnel& tunnel) {
    const auto on = std::ranges::find(topology_.tunnels, tunnel.name, &TunnelTopology::name);
    if (on == topology_.tunnels.end()) {
      return note("tunnel " + tunnel.name +
                  " is left out with its peers: its ports are gone, it carries nothing");
    }
    const size_t number = out_.config.tunnels.size();
    const auto in_file = std::ranges::find(applied_.tunnels, tunnel.name, &config::Tunnel::name);
    Place& place = places_[tunnel.index];
    place.tunnel = number;
    if (in_file != applied_.tunnels.end()) {
      place.in_file = static_cast<size_t>(in_file - applied_.tunnels.begin());
    }
    config::Tunnel& made = out_.config.tunnels.emplace_back();
    made.name = tunnel.name;
    made.private_key = tunnel.private_key;
    made.listen_port = tunnel.listen_port;
    made.outside = topology_.ports[on->outside].name;
    made.inside = topology_.ports[on->inside].name;
    made.mtu = on->mtu_bytes;
    made.addresses = own(on->addresses);
    made.conflicts = tunnel.conflicts == state::ConflictPolicy::Move
                         ? config::ConflictPolicy::Move
                         : config::ConflictPolicy::Refuse;
    made.peer_to_peer = on->peer_to_peer;
    if (tunnel.listen_port == 0) {
      note("tunnel " + tunnel.name + " has no listen_port; a file needs one");
    }
    if (tunnel.fwmark != 0) {
      note("tunnel " + tunnel.name + ": the fwmark that wg(8) set is left out; it has no effect");
    }
    if (tunnel.private_key.is_zero()) {
      return note("tunnel " + tunnel.name + " has no private key; a file needs one");
    }
    const config::SecretFile* file =
        place.in_file && applied_.tunnels[*place.in_file].private_key == tunnel.private_key
            ? config::find_secret_file(applied_, *place.in_file)
            : nullptr;
    if (file == nullptr) return without_file("tunnel " + tunnel.name);
    out_.config.secret_files.push_back(
        {.tunnel = static_cast<uint32_t>(number), .peer = {}, .path = absolute(file->path)});
  }

  void add_peer(uint32_t slot) {
    const state::Peer& peer = state_.peer(slot);
    const Place& place = places_[peer.tunnel];
    if (!place.tunnel) return;
    config::Tunnel& tunnel = out_.config.tunnels[*place.tunnel];
    config::Peer& made = tunnel.peers.emplace_back();
    made.public_key = peer.public_key;
    made.enabled = peer.enabled;
    made.persistent_keepalive = peer.persistent_keepalive;
    const auto says = [&](const std::string& what) {
      note("peer " + state::label(peer) + " of tunnel " + tunnel.name + ": " + what);
    };
    if (!peer.name.empty()) {
      const std::string fault = config::peer_name_fault(peer.name.view());
      if (fault.empty()) made.name = peer.name.view();
      if (!fault.empty()) says("its name is left out: " + fault);
    }
    made.description = config::plain_text(peer.description.view(), true);
    if (made.description != peer.description.view()) {
      says("control characters of its description are left out");
    }
    if (const std::string fault = config::description_fault(made.description); !fault.empty()) {
      made.description.clear();
      says("its description is left out: it " + fault);
    }
    if (const IpAddress& ip = peer.endpoint.address;
        !peer.endpoint.is_none() &&
        (ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast())) {
      says("its endpoint is left out; it is no address of a single host");
    } else {
      made.endpoint = peer.endpoint;
    }
    made.allowed_ips.reserve(peer.claims);
    state_.for_each_claim(slot, [&](const state::Claim& claim) {
      made.allowed_ips.push_back({.prefix = claim.prefix, .at = {}});
    });
    std::ranges::sort(made.allowed_ips, {}, &config::AllowedIp::prefix);
    if (peer.preshared_key.is_zero()) return;
    made.preshared_key = peer.preshared_key;
    add_secret_file(peer, place, tunnel.peers.size() - 1);
  }

  void add_secret_file(const state::Peer& peer, const Place& place, size_t index) {
    const config::SecretFile* file =
        place.in_file ? config::find_secret_file(applied_, *place.in_file, peer.public_key)
                      : nullptr;
    if (file == nullptr ||
        applied_.tunnels[file->tunnel].peers[file->index].preshared_key != peer.preshared_key) {
      return without_file("peer " + state::label(peer));
    }
    out_.config.secret_files.push_back({.tunnel = static_cast<uint32_t>(*place.tunnel),
                                        .peer = peer.public_key,
                                        .index = static_cast<uint32_t>(index),
                                        .path = absolute(file->path)});
  }

  const state::State& state_;
  const Topology& topology_;
  const config::Config& started_;
  const config::Config& applied_;
  std::vector<Place> places_;  // by TunnelIndex
  std::string left_relative_, why_relative_;  // the first such path
  size_t more_notes_ = 0;
  RunningConfig out_;
};

}  // namespace

RunningConfig running_config(const state::State& state, const Topology& topology,
                             const config::Config& started, const config::Config& applied) {
  return Maker(state, topology, started, applied).run();
}

}  // namespace turnpike::gateway

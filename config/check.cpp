#include "config/check.h"

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dataplane/base/limits.h"
#include "dataplane/base/text.h"

namespace turnpike::config {
namespace {

constexpr size_t kMaxSocketPath = 107;  // sockaddr_un::sun_path less its NUL
constexpr size_t kMaxSessionThreads = 16;  // more could not have enough to do
constexpr uint16_t kMinMtuV6 = 1'280;   // RFC 8200, section 5

// First place of each value; a second one is a mistake.
template <typename Value>
class Unique {
 public:
  // `shown` is how the message calls the value.
  void add(const Value& value, const std::string& shown, Location at, const Path& path,
           Report& report) {
    const auto [first, fresh] = places_.try_emplace(value, at);
    if (fresh) return;
    report.mistake(
        at, path,
        cat({shown, " stands at ", place_text(first->second), " already; it must be unique"}));
  }

 private:
  std::map<Value, Location> places_;
};

void check_count(size_t count, size_t limit, std::string_view what, Location at, const Path& path,
                 Report& report) {
  if (count <= limit) return;
  report.mistake(at, path,
                 cat({"has ", std::to_string(count), " entries; at most ", std::to_string(limit),
                      " ", what, " are possible"}));
}

void check_dataplane(const Dataplane& dataplane, Report& report) {
  const Path root;
  const Path here = root.key("dataplane");
  const Location at = dataplane.places.of("workers");
  check_count(dataplane.workers.size(), kMaxWorkers, "workers", at, here.key("workers"), report);
  const auto& session = dataplane.session_cores;
  check_count(session.size(), kMaxSessionThreads, "session threads",
              dataplane.places.of("session_cores"), here.key("session_cores"), report);
  if (dataplane.aead == AeadChoice::Cryptodev && dataplane.crypto_device.empty()) {
    report.mistake(dataplane.places.of("aead"), here.key("aead"),
                   "is cryptodev, but dataplane.crypto_device is missing; a PCI address or a DPDK "
                   "vdev such as crypto_aesni_mb0 is expected there");
  }
  for (const uint32_t worker : dataplane.workers) {
    const bool with_session = std::find(session.begin(), session.end(), worker) != session.end();
    if (worker != dataplane.main_core && !with_session) continue;
    report.warning(at, here.key("workers"),
                   cat({"CPU ", std::to_string(worker), " is also ",
                        with_session ? "one of session_cores" : "main_core",
                        "; a worker runs best on a CPU of its own"}));
  }
}

class OwnAddresses {
 public:
  void add(std::span<const OwnAddress> addresses, const Path& list, Report& report) {
    for (size_t i = 0; i < addresses.size(); ++i) {
      const OwnAddress& own = addresses[i];
      const IpAddress& ip = own.value.address;
      const Path path = list.item(i);
      if (ip.is_none()) continue;
      if (ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast() || ip.is_loopback()) {
        report.mistake(own.at, path, cat({to_string(ip), " cannot be an interface's own address"}));
        continue;
      }
      check_subnet(own, path, report);
      unique_.add(ip, cat({"address ", to_string(ip)}), own.at, path, report);
    }
  }

 private:
  // RFC 1122, 3.2.1.3: the first and the last address of an IPv4 subnet name no host; RFC 3021
  // excepts /31.
  static void check_subnet(const OwnAddress& own, const Path& path, Report& report) {
    if (!own.value.address.is_v4() || own.value.length >= 31) return;
    const uint32_t host_mask = own.value.length == 0 ? ~0u : ~0u >> own.value.length;
    const uint32_t host = own.value.address.v4_host_order() & host_mask;
    if (host != 0 && host != host_mask) return;
    report.mistake(own.at, path,
                   cat({to_string(own.value), " is the ",
                        host == 0 ? "address of the subnet itself" : "subnet's broadcast address",
                        "; an address in between is expected"}));
  }

  Unique<IpAddress> unique_;
};

bool has_v6(std::span<const OwnAddress> addresses) {
  return std::any_of(addresses.begin(), addresses.end(),
                     [](const OwnAddress& own) { return own.value.address.is_v6(); });
}

void check_mtu(uint16_t mtu, std::span<const OwnAddress> addresses, Location at, const Path& path,
               Report& report) {
  if (mtu >= kMinMtuV6 || !has_v6(addresses)) return;
  report.mistake(at, path,
                 cat({std::to_string(mtu), " is below 1280, which IPv6 needs; raise it ",
                      "or remove the IPv6 addresses"}));
}

void check_routes(const Port& port, const Path& port_path, Report& report) {
  Unique<Prefix> destinations;
  const Path list = port_path.key("routes");
  for (size_t i = 0; i < port.routes.size(); ++i) {
    const Route& route = port.routes[i];
    const Path path = list.item(i);
    if (route.to.address.is_none() || route.via.is_none()) continue;
    destinations.add(route.to, cat({"a route to ", to_string(route.to)}), route.at, path, report);
    const std::string via = to_string(route.via);
    if (route.via.family != route.to.address.family) {
      report.mistake(route.at, path,
                     cat({"via ", via, " is not of the family of ", to_string(route.to),
                          "; both must be IPv4 or IPv6"}));
    } else if (route.via.is_multicast() || route.via.is_unspecified() || route.via.is_broadcast() ||
               route.via.is_loopback()) {
      report.mistake(route.at, path, cat({"via ", via, " is no address of a single host"}));
    } else if (std::any_of(port.addresses.begin(), port.addresses.end(),
                           [&](const OwnAddress& own) { return own.value.address == route.via; })) {
      report.mistake(
          route.at, path,
          cat({"via ", via, " is the port's own address; a neighbour's ", "is expected"}));
    } else if (!(route.via.is_v6() && route.via.is_link_local()) &&
               std::none_of(
                   port.addresses.begin(), port.addresses.end(), [&](const OwnAddress& own) {
                     return !own.value.address.is_none() && own.value.subnet().contains(route.via);
                   })) {
      report.mistake(route.at, path,
                     cat({"via ", via, " lies in no subnet of the port's addresses; ",
                          "a neighbour's address is expected"}));
    }
  }
}

void warn_of_overlaps(const std::vector<Port>& ports, Report& report) {
  const Path root;
  const Path list = root.key("ports");
  for (size_t i = 0; i < ports.size(); ++i) {
    for (const OwnAddress& own : ports[i].addresses) {
      if (own.value.address.is_none() || own.value.address.is_link_local()) continue;
      for (size_t j = 0; j < i; ++j) {
        for (const OwnAddress& other : ports[j].addresses) {
          if (other.value.address.is_none() || other.value.address.is_link_local()) continue;
          const Prefix a = own.value.subnet();
          const Prefix b = other.value.subnet();
          if (!a.contains(b) && !b.contains(a)) continue;
          const Path port = list.item(i);
          report.warning(own.at, port.key("addresses"),
                         cat({to_string(a), " overlaps ", to_string(b), " of port ",
                              quote(ports[j].name), " at ", place_text(other.at)}));
        }
      }
    }
  }
}

void check_ports(const std::vector<Port>& ports, OwnAddresses& addresses, Report& report) {
  const Path root;
  const Path list = root.key("ports");
  Unique<std::string> names;
  Unique<std::string> devices;
  if (!ports.empty()) {
    check_count(ports.size(), kMaxPorts, "ports", ports[0].places.mapping(), list, report);
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    const Port& port = ports[i];
    const Path path = list.item(i);
    if (!port.name.empty()) {
      names.add(port.name, cat({"port name ", quote(port.name)}), port.places.of("name"),
                path.key("name"), report);
    }
    if (!port.device.empty()) {
      devices.add(port.device, cat({"device ", quote(port.device)}), port.places.of("device"),
                  path.key("device"), report);
    }
    addresses.add(port.addresses, path.key("addresses"), report);
    check_mtu(port.mtu, port.addresses, port.places.of("mtu"), path.key("mtu"), report);
    check_routes(port, path, report);
  }
  warn_of_overlaps(ports, report);
}

const Port* find_port(const std::vector<Port>& ports, std::string_view name) {
  for (const Port& port : ports) {
    if (port.name == name) return &port;
  }
  return nullptr;
}

// What a packet grows by outside: IP, UDP, WireGuard's header and tag.
uint16_t overhead_bytes(const Port& outside) { return has_v6(outside.addresses) ? 80 : 60; }

void check_tunnel_ports(const Config& config, const Tunnel& tunnel, const Path& path,
                        Report& report) {
  const auto exists = [&](const std::string& name, std::string_view key) -> const Port* {
    const Port* port = name.empty() ? nullptr : find_port(config.ports, name);
    if (!name.empty() && port == nullptr) {
      report.mistake(tunnel.places.of(key), path.key(key),
                     cat({"there is no port ", quote(name), "; a name under 'ports' is expected"}));
    }
    return port;
  };
  const Port* outside = exists(tunnel.outside, "outside");
  (void)exists(tunnel.inside, "inside");
  if (!tunnel.outside.empty() && tunnel.outside == tunnel.inside) {
    report.mistake(
        tunnel.places.of("inside"), path.key("inside"),
        cat({quote(tunnel.inside), " is 'outside' too; two different ports are needed"}));
  }
  if (outside == nullptr) return;
  if (outside->addresses.empty()) {
    report.mistake(tunnel.places.of("outside"), path.key("outside"),
                   cat({"port ", quote(outside->name), " has no address, so that no peer could ",
                        "reach the tunnel; give it one"}));
    return;
  }
  const int fits = int{outside->mtu} - overhead_bytes(*outside);
  if (tunnel.mtu > fits) {
    report.warning(
        tunnel.places.of("mtu"), path.key("mtu"),
        cat({std::to_string(tunnel.mtu), " makes packets that do not fit the MTU of port ",
             quote(outside->name), "; ", std::to_string(fits), " fits"}));
  }
}

std::string called(const Peer& peer) {
  return peer.name.empty() ? cat({"peer ", base::key_to_base64(peer.public_key.bytes)})
                           : cat({"peer ", quote(peer.name)});
}

// Each prefix belongs to one enabled peer. Sorting takes 16 bytes a prefix, a table several times
// that.
void check_claims(const Tunnel& tunnel, const Path& peers_path, Report& report) {
  struct Claim {
    const AllowedIp* allowed;
    uint32_t peer;
    uint32_t index;
  };
  std::vector<Claim> claims;
  for (size_t p = 0; p < tunnel.peers.size(); ++p) {
    const Peer& peer = tunnel.peers[p];
    if (!peer.enabled) continue;
    for (size_t i = 0; i < peer.allowed_ips.size(); ++i) {
      if (peer.allowed_ips[i].prefix.address.is_none()) continue;
      claims.push_back({&peer.allowed_ips[i], static_cast<uint32_t>(p), static_cast<uint32_t>(i)});
    }
  }
  std::sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) {
    return std::tie(a.allowed->prefix, a.peer, a.index) <
           std::tie(b.allowed->prefix, b.peer, b.index);
  });
  for (size_t i = 1, first = 0; i < claims.size(); ++i) {
    const Claim& owner = claims[first];
    const Claim& claim = claims[i];
    if (owner.allowed->prefix != claim.allowed->prefix) {
      first = i;
      continue;
    }
    const Path peer = peers_path.item(claim.peer);
    const Path list = peer.key("allowed_ips");
    const std::string prefix = to_string(claim.allowed->prefix);
    report.mistake(
        claim.allowed->at, list.item(claim.index),
        claim.peer == owner.peer
            ? cat({prefix, " stands twice, first at ", place_text(owner.allowed->at)})
            : cat({prefix, " is allowed to ", called(tunnel.peers[owner.peer]), " at ",
                   place_text(owner.allowed->at), " already; one peer only may own it"}));
  }
}

// Sorted, not hashed: nobody promises that the keys of a file spread well.
void check_public_keys(const Tunnel& tunnel, const Path& peers_path, Report& report) {
  const PublicKey unknown;
  std::vector<uint32_t> order;
  order.reserve(tunnel.peers.size());
  for (size_t i = 0; i < tunnel.peers.size(); ++i) {
    if (tunnel.peers[i].public_key != unknown) order.push_back(static_cast<uint32_t>(i));
  }
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(tunnel.peers[a].public_key, a) < std::tie(tunnel.peers[b].public_key, b);
  });
  for (size_t i = 1, first = 0; i < order.size(); ++i) {
    const Peer& peer = tunnel.peers[order[i]];
    const Peer& before = tunnel.peers[order[first]];
    if (peer.public_key != before.public_key) {
      first = i;
      continue;
    }
    const Path here = peers_path.item(order[i]);
    report.mistake(peer.public_key_at, here.key("public_key"),
                   cat({"this key stands at ", place_text(before.public_key_at),
                        " already; a tunnel has one peer for each public key"}));
  }
}

void check_own_key(const Tunnel& tunnel, const Path& peers_path, PublicKeyOf public_key_of,
                   Report& report) {
  if (public_key_of == nullptr || tunnel.private_key.is_zero()) return;
  const PublicKey own = public_key_of(tunnel.private_key);
  for (size_t i = 0; i < tunnel.peers.size(); ++i) {
    const Peer& peer = tunnel.peers[i];
    if (peer.public_key != own) continue;
    const Path here = peers_path.item(i);
    report.mistake(
        peer.public_key_at, here.key("public_key"),
        "this is the tunnel's own key; that of the machine at the other end is expected");
  }
}

// A peer that the tunnel has no address to call from.
void warn_of_unreachable(const Tunnel& tunnel, const Port& outside, const Path& peers_path,
                         Report& report) {
  bool v4 = false;
  bool v6 = false;
  for (const OwnAddress& own : outside.addresses) {
    v4 |= own.value.address.is_v4();
    v6 |= own.value.address.is_v6();
  }
  for (size_t i = 0; i < tunnel.peers.size(); ++i) {
    const Peer& peer = tunnel.peers[i];
    if (peer.endpoint.is_none() || (peer.endpoint.address.is_v4() ? v4 : v6)) continue;
    const Path here = peers_path.item(i);
    report.warning(peer.at, here.key("endpoint"),
                   cat({to_string(peer.endpoint), " cannot be called: port ", quote(outside.name),
                        " has no ", peer.endpoint.address.is_v4() ? "IPv4" : "IPv6", " address"}));
  }
}

void check_peers(const Tunnel& tunnel, const Path& path, PublicKeyOf public_key_of,
                 Report& report) {
  const Path list = path.key("peers");
  std::unordered_map<std::string_view, Location> names;
  for (size_t i = 0; i < tunnel.peers.size(); ++i) {
    const Peer& peer = tunnel.peers[i];
    if (peer.name.empty()) continue;
    const auto [first, fresh] = names.try_emplace(peer.name, peer.name_at);
    if (fresh) continue;
    const Path here = list.item(i);
    report.mistake(peer.name_at, here.key("name"),
                   cat({"peer name ", quote(peer.name), " stands at ", place_text(first->second),
                        " already; it must be unique in the tunnel"}));
  }
  check_public_keys(tunnel, list, report);
  check_own_key(tunnel, list, public_key_of, report);
  check_claims(tunnel, list, report);
}

void check_tunnels(const Config& config, OwnAddresses& addresses, PublicKeyOf public_key_of,
                   Report& report) {
  const Path root;
  const Path list = root.key("tunnels");
  Unique<std::string> names;
  Unique<std::pair<std::string, uint16_t>> listeners;
  if (!config.tunnels.empty()) {
    check_count(config.tunnels.size(), kMaxTunnels, "tunnels", config.tunnels[0].places.mapping(),
                list, report);
  }
  for (size_t i = 0; i < config.tunnels.size(); ++i) {
    const Tunnel& tunnel = config.tunnels[i];
    const Path path = list.item(i);
    if (!tunnel.name.empty()) {
      names.add(tunnel.name, cat({"tunnel name ", quote(tunnel.name)}), tunnel.places.of("name"),
                path.key("name"), report);
    }
    if (tunnel.listen_port != 0 && !tunnel.outside.empty()) {
      listeners.add({tunnel.outside, tunnel.listen_port},
                    cat({"UDP port ", std::to_string(tunnel.listen_port), " of port ",
                         quote(tunnel.outside)}),
                    tunnel.places.of("listen_port"), path.key("listen_port"), report);
    }
    check_tunnel_ports(config, tunnel, path, report);
    addresses.add(tunnel.addresses, path.key("addresses"), report);
    check_mtu(tunnel.mtu, tunnel.addresses, tunnel.places.of("mtu"), path.key("mtu"), report);
    check_peers(tunnel, path, public_key_of, report);
    const Port* outside = find_port(config.ports, tunnel.outside);
    if (outside != nullptr) warn_of_unreachable(tunnel, *outside, path.key("peers"), report);
  }
}

void check_control(const Config& config, Report& report) {
  const Path root;
  const Path here = root.key("control");
  const Control& control = config.control;
  const auto too_long = [&](std::string_view key, const std::string& path) {
    if (path.size() <= kMaxSocketPath) return;
    report.mistake(control.places.of(key), here.key(key),
                   cat({"the socket's path ", quote(path), " has ", std::to_string(path.size()),
                        " bytes; at most ", std::to_string(kMaxSocketPath), " are possible"}));
  };
  too_long("socket", control.socket);
  if (!control.wg_socket_dir.empty()) {
    const Tunnel* longest = nullptr;
    for (const Tunnel& tunnel : config.tunnels) {
      if (longest == nullptr || tunnel.name.size() > longest->name.size()) longest = &tunnel;
    }
    if (longest != nullptr) {
      too_long("wg_socket_dir", cat({control.wg_socket_dir, "/", longest->name, ".sock"}));
    }
  }
  if (control.metrics &&
      (control.metrics->address.is_multicast() || control.metrics->address.is_broadcast())) {
    report.mistake(control.places.of("metrics"), here.key("metrics"),
                   cat({to_string(control.metrics->address), " is no address to listen on"}));
  }
}

}  // namespace

void check(const Config& config, PublicKeyOf public_key_of, Report& report) {
  OwnAddresses addresses;
  check_dataplane(config.dataplane, report);
  check_ports(config.ports, addresses, report);
  check_tunnels(config, addresses, public_key_of, report);
  check_control(config, report);
}

}  // namespace turnpike::config

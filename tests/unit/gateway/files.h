// Configurations as values, for tests of what a file asks for.
#pragma once

#include <vector>

#include "config/config.h"
#include "control/state/plan.h"
#include "control/state/state.h"
#include "dataplane/crypto/x25519.h"

namespace turnpike::gateway::test {

inline PublicKey key(uint8_t number) {
  PublicKey made;
  made.bytes[0] = number;
  return made;
}

inline config::Peer peer(const char* name, uint8_t number, std::vector<const char*> prefixes,
                         uint32_t line = 0) {
  config::Peer p;
  p.name = name;
  p.public_key = key(number);
  p.at = {line, 5};
  for (const char* prefix : prefixes) {
    p.allowed_ips.push_back({.prefix = *parse_prefix(prefix), .at = {line + 1, 20}});
  }
  return p;
}

inline config::Port port(const char* name, const char* address) {
  config::Port made;
  made.name = name;
  made.device = std::string("net_tap_") + name;
  made.addresses = {{.value = *parse_interface_address(address), .at = {}}};
  return made;
}

inline config::Tunnel tunnel(const char* name, uint16_t listen_port,
                             std::vector<config::Peer> peers) {
  config::Tunnel made;
  made.name = name;
  made.private_key.bytes()[0] = static_cast<uint8_t>(listen_port);
  made.private_key.bytes()[1] = static_cast<uint8_t>(listen_port >> 8);
  made.listen_port = listen_port;
  made.outside = "outside";
  made.inside = "inside";
  made.peers = std::move(peers);
  return made;
}

// wg0 with alice (10.8.0.2/32, 10.9.0.0/24), bob (10.8.0.3/32) and carol, who has nothing.
inline config::Config three_peers() {
  config::Config config;
  config.file = "turnpike.yaml";
  config.ports = {port("outside", "192.0.2.1/24"), port("inside", "10.0.0.1/24")};
  config.tunnels = {tunnel("wg0", 51820,
                           {peer("alice", 1, {"10.8.0.2/32", "10.9.0.0/24"}, 10),
                            peer("bob", 2, {"10.8.0.3/32"}, 20), peer("carol", 3, {}, 30)})};
  return config;
}

}  // namespace turnpike::gateway::test

// The validated configuration as a value: what the loader promises to the daemon and the command
// line.
//   Promises:  every number is in its range; names are unique; the ports that a tunnel names exist
//   and
//              differ; no prefix is allowed to two enabled peers of one tunnel; no public key
//              stands twice in a tunnel. All paths are absolute or relative to the process, no
//              longer to the file.
//   Not here:  whether a CPU, a device or a group exists (the daemon finds out at start), and
//   whether a
//              peer's public key is the tunnel's own (that takes X25519; the daemon checks it and
//              reports at Peer::public_key_at).
//   Equality:  compares what is said, not where it stands; nor in which files keys are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/error.h"
#include "dataplane/base/address.h"
#include "dataplane/base/keys.h"

namespace turnpike::config {

enum class AeadChoice : uint8_t { Auto, IpsecMb, Libsodium, Cryptodev };
enum class IdlePolicy : uint8_t { Poll, Adaptive };  // what a worker does when there is no work
enum class SpreadPolicy : uint8_t { Auto, Always, Never };  // of a port's frames, in software
enum class ConflictPolicy : uint8_t { Refuse, Move };  // for wg(8); move is what others do
enum class Durability : uint8_t { Full, Off };

struct Dataplane {
  std::vector<uint32_t> workers{1};  // CPUs, one worker each; distinct, at least one
  uint32_t main_core = 0;
  std::vector<uint32_t> session_cores{0};  // distinct, at least one
  bool hugepages = false;
  uint32_t memory_mib = 512;
  std::string file_prefix = "turnpike";
  AeadChoice aead = AeadChoice::Auto;
  std::string crypto_device;  // a PCI address or a DPDK vdev; not empty where aead is Cryptodev
  uint32_t crypto_sessions = 16'384;  // of that device, two for each keypair
  IdlePolicy idle = IdlePolicy::Adaptive;
  std::vector<std::string> eal;
  Places places;
  friend bool operator==(const Dataplane&, const Dataplane&) = default;
};

// An interface's own address.
struct OwnAddress {
  InterfaceAddress value;
  Location at;
  friend bool operator==(const OwnAddress&, const OwnAddress&) = default;
};

struct Route {
  Prefix to;
  IpAddress via;  // of the family of `to`, in a subnet of the port or link-local
  Location at;
  friend bool operator==(const Route&, const Route&) = default;
};

struct Port {
  std::string name;
  std::string device;  // a PCI address or a DPDK vdev
  std::vector<OwnAddress> addresses;
  uint16_t mtu = 1500;
  SpreadPolicy spread = SpreadPolicy::Auto;
  std::vector<Route> routes;
  Places places;
  friend bool operator==(const Port&, const Port&) = default;
};

struct AllowedIp {
  Prefix prefix;
  Location at;
  friend bool operator==(const AllowedIp&, const AllowedIp&) = default;
};

struct Peer {
  std::string name;  // empty: none
  std::string description;
  PublicKey public_key;
  std::optional<PresharedKey> preshared_key;
  Endpoint endpoint;  // is_none(): the peer must speak first
  std::vector<AllowedIp> allowed_ips;
  uint16_t persistent_keepalive = 0;  // seconds; 0: off
  bool enabled = true;  // false: keeps its attributes, holds no claim
  Location at;
  Location name_at;
  Location public_key_at;
  friend bool operator==(const Peer&, const Peer&) = default;
};

struct Tunnel {
  std::string name;
  PrivateKey private_key;
  uint16_t listen_port = 0;
  std::string outside;  // names of ports
  std::string inside;
  uint16_t mtu = 1420;
  std::vector<OwnAddress> addresses;
  ConflictPolicy conflicts = ConflictPolicy::Refuse;
  bool peer_to_peer = true;
  std::vector<Peer> peers;
  Places places;
  friend bool operator==(const Tunnel&, const Tunnel&) = default;
};

struct Control {
  std::string socket = "/run/turnpike/control.sock";
  std::string group;  // empty: nobody but root and the owner
  std::string wg_socket_dir = "/var/run/wireguard";  // empty: no sockets for wg(8)
  std::optional<Endpoint> metrics = Endpoint{IpAddress::v4(0x7f000001), 9586};
  std::string state = "/var/lib/turnpike/state.db";
  Durability durability = Durability::Full;
  Places places;
  friend bool operator==(const Control&, const Control&) = default;
};

// A key that was read from a file of its own, and from which.
struct SecretFile {
  uint32_t tunnel = 0;  // place in Config::tunnels
  PublicKey peer;  // of its preshared key; zero: the tunnel's private key
  uint32_t index = 0;  // the peer's place in the tunnel
  std::string path;
};

struct Config {
  Dataplane dataplane;
  std::vector<Port> ports;
  std::vector<Tunnel> tunnels;
  Control control;
  std::vector<SecretFile> secret_files;  // by tunnel, then by key: see find_secret_file()
  std::string file;  // as it was named to the loader
  std::vector<ConfigError> warnings;  // what is allowed but probably not meant
  friend bool operator==(const Config& a, const Config& b) {
    return a.dataplane == b.dataplane && a.ports == b.ports && a.tunnels == b.tunnels &&
           a.control == b.control;
  }
};

// Of a tunnel's private key, or of the preshared key of one of its peers. Null: it stands in no file that the
// configuration names.
[[nodiscard]] const SecretFile* find_secret_file(const Config& config, size_t tunnel,
                                                 const PublicKey& peer = {});
// Puts the list into the order that the search needs.
void sort_secret_files(Config& config);

}  // namespace turnpike::config

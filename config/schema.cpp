#include "config/schema.h"

#include <array>
#include <vector>

#include "config/nearest.h"
#include "config/value.h"
#include "dataplane/base/check.h"

namespace turnpike::config {
namespace {

constexpr std::array<std::string_view, 4> kAeads{"auto", "ipsec-mb", "libsodium", "cryptodev"};
constexpr std::array<std::string_view, 2> kIdles{"poll", "adaptive"};
constexpr std::array<std::string_view, 3> kSpreads{"auto", "always", "never"};
constexpr std::array<std::string_view, 2> kConflicts{"refuse", "move"};
constexpr std::array<std::string_view, 2> kDurabilities{"full", "off"};

constexpr uint64_t kMaxCpu = 1'023;  // CPU_SETSIZE - 1
constexpr uint64_t kMinMemoryMib = 64;
constexpr uint64_t kMaxMemoryMib = 1'048'576;
constexpr uint64_t kMinCryptoSessions = 8;         // one peer's four keypairs
constexpr uint64_t kMaxCryptoSessions = 8'388'608;  // those of all the peers that there can be
constexpr uint64_t kMinMtu = 576;          // RFC 791: what every host must accept
constexpr uint64_t kMaxPortMtu = 9'000;    // fits kMaxFrameBytes with every header
constexpr uint64_t kMaxTunnelMtu = 8'920;  // less 80: IPv6, UDP, WireGuard
constexpr uint64_t kMaxTextBytes = 4'096;
constexpr uint64_t kMaxAddressBytes = 64;
constexpr uint64_t kKeyCharacters = 44;

constexpr Key integer(std::string_view name, uint64_t minimum, uint64_t maximum) {
  return {.name = name, .kind = KeyKind::Integer, .minimum = minimum, .maximum = maximum};
}
constexpr Key integers(std::string_view name, uint64_t maximum) {
  return {.name = name, .kind = KeyKind::Integers, .maximum = maximum};
}
constexpr Key boolean(std::string_view name) { return {.name = name, .kind = KeyKind::Boolean}; }
constexpr Key text(std::string_view name, uint64_t maximum = kMaxTextBytes) {
  return {.name = name, .kind = KeyKind::Text, .maximum = maximum};
}
constexpr Key description() {
  Key key = text("description", kMaxDescriptionBytes);
  key.fault = description_fault;
  return key;
}
constexpr Key texts(std::string_view name, uint64_t maximum = kMaxTextBytes) {
  return {.name = name, .kind = KeyKind::Texts, .maximum = maximum};
}
constexpr Key choice(std::string_view name, std::span<const std::string_view> choices) {
  return {.name = name, .kind = KeyKind::Choice, .choices = choices};
}
constexpr Key mapping(std::string_view name, Section section) {
  return {.name = name, .kind = KeyKind::Mapping, .section = section};
}
constexpr Key mappings(std::string_view name, Section section) {
  return {.name = name, .kind = KeyKind::Mappings, .section = section};
}
constexpr Key required(Key key) {
  key.required = true;
  return key;
}

constexpr auto kRoot = std::to_array<Key>({
    mapping("dataplane", Section::Dataplane),
    required(mappings("ports", Section::Port)),
    required(mappings("tunnels", Section::Tunnel)),
    mapping("control", Section::Control),
});
constexpr auto kDataplane = std::to_array<Key>({
    integers("workers", kMaxCpu),
    integer("main_core", 0, kMaxCpu),
    integers("session_cores", kMaxCpu),
    boolean("hugepages"),
    integer("memory", kMinMemoryMib, kMaxMemoryMib),
    text("file_prefix", 64),
    choice("aead", kAeads),
    text("crypto_device"),
    integer("crypto_sessions", kMinCryptoSessions, kMaxCryptoSessions),
    choice("idle", kIdles),
    texts("eal"),
});
constexpr auto kPort = std::to_array<Key>({
    required(text("name", 32)),
    required(text("device")),
    texts("addresses", kMaxAddressBytes),
    integer("mtu", kMinMtu, kMaxPortMtu),
    choice("spread", kSpreads),
    mappings("routes", Section::Route),
});
constexpr auto kRoute = std::to_array<Key>({
    required(text("to", kMaxAddressBytes)),
    required(text("via", kMaxAddressBytes)),
});
constexpr auto kTunnel = std::to_array<Key>({
    required(text("name", kMaxTunnelNameBytes)),
    text("private_key", kKeyCharacters),
    text("private_key_file"),
    required(integer("listen_port", 1, 65'535)),
    required(text("outside", 32)),
    required(text("inside", 32)),
    integer("mtu", kMinMtu, kMaxTunnelMtu),
    texts("addresses", kMaxAddressBytes),
    choice("conflicts", kConflicts),
    boolean("peer_to_peer"),
    mappings("peers", Section::Peer),
});
constexpr auto kPeer = std::to_array<Key>({
    text("name", kMaxPeerNameBytes),
    description(),
    boolean("enabled"),
    required(text("public_key", kKeyCharacters)),
    text("preshared_key", kKeyCharacters),
    text("preshared_key_file"),
    text("endpoint", kMaxAddressBytes),
    texts("allowed_ips", kMaxAddressBytes),
    integer("persistent_keepalive", 0, 65'535),
});
constexpr auto kControl = std::to_array<Key>({
    text("socket"),
    text("group", 32),
    text("wg_socket_dir"),
    text("metrics", kMaxAddressBytes),
    text("state"),
    choice("durability", kDurabilities),
});

}  // namespace

std::span<const Key> keys_of(Section section) noexcept {
  switch (section) {
    case Section::Root:
      return kRoot;
    case Section::Dataplane:
      return kDataplane;
    case Section::Port:
      return kPort;
    case Section::Route:
      return kRoute;
    case Section::Tunnel:
      return kTunnel;
    case Section::Peer:
      return kPeer;
    case Section::Control:
      return kControl;
  }
  CHECK(false);
}

const Key* find_key(Section section, std::string_view name) noexcept {
  for (const Key& key : keys_of(section)) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::string_view nearest_key(Section section, std::string_view name) {
  std::vector<std::string_view> names;
  for (const Key& key : keys_of(section)) names.push_back(key.name);
  return nearest(names, name);
}

}  // namespace turnpike::config

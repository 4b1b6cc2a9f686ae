#include "config/reader.h"

#include <optional>
#include <string>
#include <utility>

#include "config/mapping.h"
#include "config/value.h"
#include "dataplane/base/limits.h"

namespace turnpike::config {
namespace {

// Names of ports and tunnels appear in file names, metrics and on command lines.
void read_plain_name(MappingReader& map, std::string& into, Report& report) {
  const Node* node = map.text_node("name");
  if (node == nullptr) return;
  const std::string fault = plain_name_fault(node->text);
  if (fault.empty()) {
    into = node->text;
  } else {
    report.mistake(node->at, map.path("name"), fault);
  }
}

void read_peer_name(MappingReader& map, Peer& peer, Report& report) {
  const Node* node = map.text_node("name");
  if (node == nullptr) return;
  peer.name_at = node->at;
  const std::string fault = peer_name_fault(node->text);
  if (fault.empty()) {
    peer.name = node->text;
  } else {
    report.mistake(node->at, map.path("name"), fault);
  }
}

void read_addresses(MappingReader& map, Section section, std::vector<OwnAddress>& into,
                    Report& report) {
  const Node* list = map.sequence("addresses");
  if (list == nullptr) return;
  const Key& key = *find_key(section, "addresses");
  const Path here = map.path("addresses");
  for (size_t i = 0; i < list->items.size(); ++i) {
    const Node& item = list->items[i];
    const Path path = here.item(i);
    OwnAddress address{.at = item.at};
    if (map.good_item(item, key, path)) {
      if (const auto value = read_own_address(item, path, report)) address.value = *value;
    }
    into.push_back(address);
  }
}

Route read_route(Node& node, const Path& path, Report& report) {
  Route route{.at = node.at};
  MappingReader map(node, Section::Route, path, report);
  if (!map.usable()) return route;
  if (const Node* to = map.text_node("to")) {
    if (const auto value = read_prefix(*to, map.path("to"), report)) route.to = *value;
  }
  if (const Node* via = map.text_node("via")) {
    if (const auto value = read_address(*via, map.path("via"), report)) route.via = *value;
  }
  return route;
}

Port read_port(Node& node, const Path& path, Report& report) {
  Port port;
  MappingReader map(node, Section::Port, path, report);
  port.places = map.places();
  if (!map.usable()) return port;
  read_plain_name(map, port.name, report);
  if (const Node* device = map.text_node("device")) {
    port.device = device->text;
    if (device->text.empty()) {
      report.mistake(device->at, map.path("device"),
                     "is empty; a PCI address or a DPDK vdev such as net_af_packet0,iface=eth0 is "
                     "expected");
    }
  }
  read_addresses(map, Section::Port, port.addresses, report);
  map.integer("mtu", port.mtu);
  map.choice("spread", port.spread);
  if (Node* routes = map.sequence("routes")) {
    const Path here = map.path("routes");
    for (size_t i = 0; i < routes->items.size(); ++i) {
      port.routes.push_back(read_route(routes->items[i], here.item(i), report));
    }
  }
  return port;
}

// Whether this argument, after `before`, makes DPDK end the process as if all were well. getopt_long() takes the beginning of a
// long name for the whole, and short ones side by side.
bool only_prints(std::string_view argument, std::string_view before) {
  constexpr std::string_view kHelp = "--help", kLogLevel = "--log-level";
  // Others begin with --l, none with --lo.
  const auto is_log_level = [&](std::string_view name) {
    return name.size() >= std::string_view("--lo").size() && kLogLevel.starts_with(name);
  };
  if (!argument.starts_with("--")) {
    if (argument == "help") return is_log_level(before);
    const size_t flag = argument.find_first_not_of('v', 1);
    return argument.starts_with('-') && flag != std::string_view::npos && argument[flag] == 'h';
  }
  const size_t equals = argument.find('=');
  if (equals == std::string_view::npos) return argument.size() > 3 && kHelp.starts_with(argument);
  return is_log_level(argument.substr(0, equals)) && argument.substr(equals + 1) == "help";
}

Dataplane read_dataplane(Node& node, const Path& path, Report& report) {
  Dataplane dataplane;
  MappingReader map(node, Section::Dataplane, path, report);
  dataplane.places = map.places();
  if (!map.usable()) return dataplane;
  map.integers("workers", dataplane.workers);
  map.integer("main_core", dataplane.main_core);
  map.integers("session_cores", dataplane.session_cores);
  map.boolean("hugepages", dataplane.hugepages);
  map.integer("memory", dataplane.memory_mib);
  map.text("file_prefix", dataplane.file_prefix);
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  const std::string& prefix = dataplane.file_prefix;
  if (prefix.empty() || prefix.front() == '.' ||
      prefix.find_first_not_of(kAllowed) != std::string::npos) {
    report.mistake(map.at("file_prefix"), map.path("file_prefix"),
                   cat({quote(prefix), " cannot be part of a file name; letters, digits and ",
                        "_ . - are allowed"}));
  }
  map.choice("aead", dataplane.aead);
  map.text("crypto_device", dataplane.crypto_device);
  map.integer("crypto_sessions", dataplane.crypto_sessions);
  map.choice("idle", dataplane.idle);
  if (const Node* list = map.sequence("eal")) {
    const Key& key = *find_key(Section::Dataplane, "eal");
    const Path here = map.path("eal");
    for (size_t i = 0; i < list->items.size(); ++i) {
      const Node& item = list->items[i];
      if (!map.good_item(item, key, here.item(i))) continue;
      if (only_prints(item.text, i == 0 ? "" : list->items[i - 1].text)) {
        report.mistake(
            item.at, here.item(i),
            cat({quote(item.text), " makes DPDK print something and end; leave it out"}));
      }
      dataplane.eal.push_back(item.text);
    }
  }
  return dataplane;
}

void read_file_name(MappingReader& map, std::string_view key, const std::filesystem::path& base,
                    bool may_be_empty, std::string& into, Report& report) {
  const Node* node = map.text_node(key);
  if (node == nullptr) return;
  if (!node->text.empty()) {
    into = (base / node->text).lexically_normal().string();
  } else if (may_be_empty) {
    into.clear();
  } else {
    report.mistake(node->at, map.path(key), "is empty; the name of a file is expected");
  }
}

Control read_control(Node& node, const Path& path, const std::filesystem::path& base,
                     Report& report) {
  Control control;
  MappingReader map(node, Section::Control, path, report);
  control.places = map.places();
  if (!map.usable()) return control;
  read_file_name(map, "socket", base, false, control.socket, report);
  map.text("group", control.group);
  read_file_name(map, "wg_socket_dir", base, true, control.wg_socket_dir, report);
  if (const Node* metrics = map.text_node("metrics")) {
    control.metrics.reset();
    if (!metrics->text.empty()) {
      control.metrics = read_endpoint(*metrics, map.path("metrics"), report);
    }
  }
  read_file_name(map, "state", base, false, control.state, report);
  map.choice("durability", control.durability);
  return control;
}

// A key given by value or by file. `required`: one of the two must be there. `named_file` becomes the path of
// the file, if it is one.
std::optional<KeyBytes> read_secret(MappingReader& map, std::string_view key,
                                    std::string_view key_file, bool required, const Node& mapping,
                                    const Path& path, const std::filesystem::path& base,
                                    std::string& named_file, Report& report) {
  if (map.has(key) && map.has(key_file)) {
    report.mistake(map.at(key_file), map.path(key_file),
                   cat({quote(key), " is given at ", place_text(map.at(key)),
                        " too; one of the two is right"}));
  }
  if (required && !map.has(key) && !map.has(key_file)) {
    report.mistake(mapping.at, path,
                   cat({"neither ", quote(key), " nor ", quote(key_file), " is there; one of the ",
                        "two is required"}));
  }
  std::optional<KeyBytes> secret;
  if (Node* text = map.text_node(key)) {
    secret = read_key(text->text, text->at, map.path(key), report);
    wipe(text->text.data(), text->text.size());
  } else if (const Node* file = map.text_node(key_file)) {
    secret = read_key_file(base, *file, map.path(key_file), report);
    named_file = (base / file->text).lexically_normal().string();
  }
  return secret;
}

}  // namespace

void DocumentReader::note_inline_secret(Location at) {
  if (!has_inline_secret_) inline_secret_at_ = at;
  has_inline_secret_ = true;
}

void DocumentReader::take_peer(size_t tunnel, size_t index, Node&& node) {
  const Path root;
  const Path tunnels = root.key("tunnels");
  const Path in_tunnel = tunnels.item(tunnel);
  const Path peers = in_tunnel.key("peers");
  const Path path = peers.item(index);
  if (++peer_count_ > kMaxPeers) {
    if (peer_count_ == kMaxPeers + 1) {
      report_.mistake(node.at, path,
                      cat({"more than ", std::to_string(kMaxPeers), " peers in all tunnels"}));
    }
    return;
  }
  if (peers_.size() <= tunnel) peers_.resize(tunnel + 1);
  Peer peer{.at = node.at, .name_at = node.at, .public_key_at = node.at};
  MappingReader map(node, Section::Peer, path, report_);
  if (map.usable()) {
    read_peer_name(map, peer, report_);
    map.text("description", peer.description);
    map.boolean("enabled", peer.enabled);
    if (const Node* key = map.text_node("public_key")) {
      peer.public_key_at = key->at;
      const auto value = read_key(key->text, key->at, map.path("public_key"), report_);
      if (value) peer.public_key.bytes = value->bytes;
    }
    if (map.has("preshared_key")) note_inline_secret(map.at("preshared_key"));
    std::string file;
    if (const auto secret = read_secret(map, "preshared_key", "preshared_key_file", false, node,
                                        path, base_, file, report_)) {
      peer.preshared_key.emplace(secret->bytes);
    }
    if (!file.empty()) {
      secret_files_.push_back({.tunnel = static_cast<uint32_t>(tunnel),
                               .peer = peer.public_key,
                               .index = static_cast<uint32_t>(peers_[tunnel].size()),
                               .path = std::move(file)});
    }
    if (const Node* endpoint = map.text_node("endpoint")) {
      const auto value = read_endpoint(*endpoint, map.path("endpoint"), report_);
      if (value) peer.endpoint = *value;
      const IpAddress& ip = peer.endpoint.address;
      if (value && (ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast())) {
        report_.mistake(endpoint->at, map.path("endpoint"),
                        cat({quote(endpoint->text), " is no address of a single host"}));
      }
    }
    map.integer("persistent_keepalive", peer.persistent_keepalive);
    if (const Node* list = map.sequence("allowed_ips")) {
      const Key& key = *find_key(Section::Peer, "allowed_ips");
      const Path here = map.path("allowed_ips");
      peer.allowed_ips.reserve(list->items.size());
      for (size_t i = 0; i < list->items.size(); ++i) {
        const Node& item = list->items[i];
        AllowedIp allowed{.at = item.at};
        const Path item_path = here.item(i);
        if (map.good_item(item, key, item_path)) {
          if (const auto value = read_prefix(item, item_path, report_)) allowed.prefix = *value;
        }
        peer.allowed_ips.push_back(allowed);
      }
    }
  }
  peers_[tunnel].push_back(std::move(peer));
}

Config DocumentReader::read(Node& root) {
  Config config;
  config.file = report_.file();
  const Path root_path;
  MappingReader map(root, Section::Root, root_path, report_);
  if (!map.usable()) return config;
  if (Node* node = map.mapping("dataplane")) {
    config.dataplane = read_dataplane(*node, map.path("dataplane"), report_);
  }
  if (Node* list = map.sequence("ports")) {
    const Path here = map.path("ports");
    if (list->items.empty()) report_.mistake(list->at, here, "is empty; at least one is needed");
    for (size_t i = 0; i < list->items.size(); ++i) {
      config.ports.push_back(read_port(list->items[i], here.item(i), report_));
    }
  }
  if (Node* list = map.sequence("tunnels")) {
    const Path here = map.path("tunnels");
    for (size_t i = 0; i < list->items.size(); ++i) {
      const Path path = here.item(i);
      Node& node = list->items[i];
      Tunnel& tunnel = config.tunnels.emplace_back();
      MappingReader entry(node, Section::Tunnel, path, report_);
      tunnel.places = entry.places();
      if (!entry.usable()) continue;
      read_plain_name(entry, tunnel.name, report_);
      if (entry.has("private_key")) note_inline_secret(entry.at("private_key"));
      std::string file;
      if (const auto secret = read_secret(entry, "private_key", "private_key_file", true, node,
                                          path, base_, file, report_)) {
        tunnel.private_key = PrivateKey(secret->bytes);
      }
      if (!file.empty()) {
        secret_files_.push_back(
            {.tunnel = static_cast<uint32_t>(i), .peer = {}, .path = std::move(file)});
      }
      entry.integer("listen_port", tunnel.listen_port);
      entry.text("outside", tunnel.outside);
      entry.text("inside", tunnel.inside);
      entry.integer("mtu", tunnel.mtu);
      read_addresses(entry, Section::Tunnel, tunnel.addresses, report_);
      entry.choice("conflicts", tunnel.conflicts);
      entry.boolean("peer_to_peer", tunnel.peer_to_peer);
      (void)entry.sequence("peers");  // its items came to take_peer(); here its kind is checked
      if (i < peers_.size()) tunnel.peers = std::move(peers_[i]);
    }
  }
  if (Node* node = map.mapping("control")) {
    config.control = read_control(*node, map.path("control"), base_, report_);
  }
  config.secret_files = std::move(secret_files_);
  sort_secret_files(config);
  return config;
}

}  // namespace turnpike::config

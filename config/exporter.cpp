#include "config/exporter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <vector>

#include "config/plain_text.h"
#include "config/report.h"
#include "config/schema.h"
#include "dataplane/base/check.h"
#include "dataplane/base/text.h"

namespace turnpike::config {
namespace {

// Peers and prefixes in one piece.
constexpr size_t kItemsPerPiece = 64;

constexpr std::string_view kMissing =
    "  # stands in no file yet; turnpike export --secrets DIR writes it";

// A YAML scalar that every reader takes for this text: plain where nobody can mistake it, else in
// quotes.
std::string scalar(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-";
  // What YAML 1.1 or 1.2 reads as something else than text.
  constexpr std::array<std::string_view, 9> kWords{"null", "true", "false", "yes", "no",
                                                   "on",   "off",  "y",     "n"};
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const bool plain = !text.empty() &&
                     (std::isalpha(static_cast<unsigned char>(text[0])) != 0 || text[0] == '/') &&
                     text.find_first_not_of(kPlain) == std::string_view::npos &&
                     std::find(kWords.begin(), kWords.end(), lower) == kWords.end();
  if (plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out.push_back(c);
    }
  }
  return out + "\"";
}

template <typename Items, typename ToText>
std::string flow_list(const Items& items, ToText to_text) {
  std::string out = "[";
  for (const auto& item : items) {
    if (out.size() > 1) out += ", ";
    out += to_text(item);
  }
  return out + "]";
}

class Writer {
 public:
  explicit Writer(std::string& text) : text_(text) {}
  void line(size_t indent, std::string_view key, std::string_view value) {
    text_ += cat({std::string(indent, ' '), key, ": ", value, "\n"});
  }
  void number(size_t indent, std::string_view key, uint64_t value) {
    line(indent, key, std::to_string(value));
  }
  void boolean(size_t indent, std::string_view key, bool value) {
    line(indent, key, value ? "true" : "false");
  }
  void open(size_t indent, std::string_view key) {
    text_ += cat({std::string(indent, ' '), key, ":\n"});
  }
  // The first key of an item of a list.
  void item(size_t indent, std::string_view key, std::string_view value) {
    text_ += cat({std::string(indent, ' '), "- ", key, ": ", value, "\n"});
  }
  // Enumerations stand in the order of the key table's choices.
  template <typename Enum>
  void choice(size_t indent, Section section, std::string_view key, Enum value) {
    const Key* known = find_key(section, key);
    CHECK(known != nullptr && static_cast<size_t>(value) < known->choices.size());
    line(indent, key, known->choices[static_cast<size_t>(value)]);
  }
  void addresses(size_t indent, const std::vector<OwnAddress>& list) {
    if (list.empty()) return;
    line(indent, "addresses",
         flow_list(list, [](const OwnAddress& own) { return scalar(to_string(own.value)); }));
  }

 private:
  std::string& text_;
};

void write_dataplane(Writer& out, const Dataplane& dataplane) {
  const auto number = [](uint32_t value) { return std::to_string(value); };
  out.open(0, "dataplane");
  out.line(2, "workers", flow_list(dataplane.workers, number));
  out.number(2, "main_core", dataplane.main_core);
  out.line(2, "session_cores", flow_list(dataplane.session_cores, number));
  out.boolean(2, "hugepages", dataplane.hugepages);
  out.number(2, "memory", dataplane.memory_mib);
  out.line(2, "file_prefix", scalar(dataplane.file_prefix));
  out.choice(2, Section::Dataplane, "aead", dataplane.aead);
  if (!dataplane.crypto_device.empty()) {
    out.line(2, "crypto_device", scalar(dataplane.crypto_device));
  }
  if (dataplane.crypto_sessions != Dataplane().crypto_sessions) {
    out.number(2, "crypto_sessions", dataplane.crypto_sessions);
  }
  out.choice(2, Section::Dataplane, "idle", dataplane.idle);
  out.line(2, "eal", flow_list(dataplane.eal, [](const std::string& s) { return scalar(s); }));
}

void write_port(Writer& out, const Port& port) {
  out.item(2, "name", scalar(port.name));
  out.line(4, "device", scalar(port.device));
  out.addresses(4, port.addresses);
  out.number(4, "mtu", port.mtu);
  out.choice(4, Section::Port, "spread", port.spread);
  if (port.routes.empty()) return;
  out.open(4, "routes");
  for (const Route& route : port.routes) {
    out.item(6, "to", scalar(to_string(route.to)));
    out.line(8, "via", scalar(to_string(route.via)));
  }
}

std::string_view comment_of(const SecretFiles& files, const Tunnel& tunnel, const Peer* peer) {
  return files.missing && files.missing(tunnel, peer) ? kMissing : std::string_view();
}

// Up to the list of prefixes.
void begin_peer(Writer& out, const Tunnel& tunnel, size_t index, const SecretFiles& files) {
  const Peer& peer = tunnel.peers[index];
  out.item(6, "public_key", base::key_to_base64(peer.public_key.bytes));
  if (!peer.name.empty()) out.line(8, "name", scalar(peer.name));
  if (!peer.description.empty()) out.line(8, "description", scalar(peer.description));
  if (!peer.enabled) out.boolean(8, "enabled", false);
  if (peer.preshared_key) {
    out.line(
        8, "preshared_key_file",
        cat({scalar(files.preshared_key(tunnel, peer, index)), comment_of(files, tunnel, &peer)}));
  }
  if (!peer.endpoint.is_none()) out.line(8, "endpoint", scalar(to_string(peer.endpoint)));
  if (peer.persistent_keepalive != 0) {
    out.number(8, "persistent_keepalive", peer.persistent_keepalive);
  }
}

void write_tunnel(Writer& out, const Tunnel& tunnel, const SecretFiles& files) {
  out.item(2, "name", scalar(tunnel.name));
  out.line(4, "private_key_file",
           cat({scalar(files.private_key(tunnel)), comment_of(files, tunnel, nullptr)}));
  out.number(4, "listen_port", tunnel.listen_port);
  out.line(4, "outside", scalar(tunnel.outside));
  out.line(4, "inside", scalar(tunnel.inside));
  out.number(4, "mtu", tunnel.mtu);
  out.addresses(4, tunnel.addresses);
  out.choice(4, Section::Tunnel, "conflicts", tunnel.conflicts);
  out.boolean(4, "peer_to_peer", tunnel.peer_to_peer);
  if (!tunnel.peers.empty()) out.open(4, "peers");
}

void write_control(Writer& out, const Control& control) {
  out.open(0, "control");
  out.line(2, "socket", scalar(control.socket));
  out.line(2, "group", scalar(control.group));
  out.line(2, "wg_socket_dir", scalar(control.wg_socket_dir));
  out.line(2, "metrics", scalar(control.metrics ? to_string(*control.metrics) : std::string()));
  out.line(2, "state", scalar(control.state));
  out.choice(2, Section::Control, "durability", control.durability);
}

}  // namespace

SecretFiles secret_names(const std::string& directory) {
  const std::string below = directory.empty() ? "" : directory + "/";
  return {.private_key = [below](const Tunnel& tunnel) { return below + tunnel.name + ".key"; },
          .preshared_key =
              [below](const Tunnel& tunnel, const Peer& peer, size_t) {
                return cat({below, tunnel.name, "-", base::to_hex(peer.public_key.bytes), ".psk"});
              },
          .missing = {}};
}

Exporter::Exporter(const Config& config, SecretFiles files, std::vector<std::string> comments)
    : config_(config), files_(std::move(files)), comments_(std::move(comments)) {}

bool Exporter::next(std::string& text) {
  Writer out(text);
  if (!begun_) {
    begun_ = true;
    for (const std::string& comment : comments_) {
      text += cat({"# ", plain_text(comment, false), "\n"});
    }
    write_dataplane(out, config_.dataplane);
    out.open(0, "ports");
    for (const Port& port : config_.ports) write_port(out, port);
    if (config_.tunnels.empty()) {
      out.line(0, "tunnels", "[]");
    } else {
      out.open(0, "tunnels");
    }
    return true;
  }
  if (tunnel_ == config_.tunnels.size()) {
    write_control(out, config_.control);
    return false;
  }
  if (!in_tunnel_) {
    write_tunnel(out, config_.tunnels[tunnel_], files_);
    in_tunnel_ = true;
    peer_ = 0;
  }
  if (!peers(text)) {
    in_tunnel_ = false;
    ++tunnel_;
  }
  return true;
}

// False when the tunnel's last one is written.
bool Exporter::peers(std::string& text) {
  const Tunnel& tunnel = config_.tunnels[tunnel_];
  Writer out(text);
  size_t items = 0;
  for (; peer_ < tunnel.peers.size(); ++peer_) {
    const std::vector<AllowedIp>& allowed = tunnel.peers[peer_].allowed_ips;
    if (!in_list_) {
      if (items >= kItemsPerPiece) return true;
      begin_peer(out, tunnel, peer_, files_);
      text += "        allowed_ips: [";
      in_list_ = true;
      prefix_ = 0;
      ++items;
    }
    for (; prefix_ < allowed.size(); ++prefix_, ++items) {
      if (items >= kItemsPerPiece) return true;
      if (prefix_ != 0) text += ", ";
      text += scalar(to_string(allowed[prefix_].prefix));
    }
    text += "]\n";
    in_list_ = false;
  }
  return false;
}

std::string export_config(const Config& config, const SecretFiles& files) {
  std::string text;
  Exporter exporter(config, files);
  while (exporter.next(text)) {
  }
  return text;
}

}  // namespace turnpike::config

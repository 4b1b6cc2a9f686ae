#include "config/importer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "config/report.h"
#include "config/schema.h"
#include "config/value.h"
#include "dataplane/base/text.h"

namespace turnpike::config {
namespace {

constexpr std::string_view kBlank = " \t\r";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) + 1 - first);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// RFC 5737 keeps three networks for documentation, and RFC 2544 many for benchmarks.
class PlaceholderSubnets {
 public:
  explicit PlaceholderSubnets(std::span<const OwnAddress> taken) : taken_(taken) {}

  // The first address of the next one that is free; of the last one where none is.
  InterfaceAddress next() {
    InterfaceAddress candidate = subnet(number_++);
    while (number_ < kCount && !is_free(candidate.subnet())) candidate = subnet(number_++);
    return candidate;
  }

 private:
  static constexpr uint32_t kCount = 3 + 512;

  static InterfaceAddress subnet(uint32_t number) {
    constexpr std::array<uint32_t, 3> kDocumentation{0xc0000201, 0xc6336401, 0xcb007101};
    const uint32_t address = number < kDocumentation.size()
                                 ? kDocumentation.at(number)
                                 : 0xc6120001 + 256 * (number - kDocumentation.size());
    return {.address = IpAddress::v4(address), .length = 24};
  }

  [[nodiscard]] bool is_free(const Prefix& prefix) const {
    return std::ranges::none_of(
        taken_, [&](const OwnAddress& own) { return prefix.contains(own.value.address); });
  }

  std::span<const OwnAddress> taken_;
  uint32_t number_ = 0;
};

class WgReader {
 public:
  WgReader(const ImportOptions& options, Report& report) : report_(report) {
    tunnel_.name = options.tunnel_name;
    tunnel_.listen_port = options.listen_port;
    tunnel_.outside = options.outside.name;
    tunnel_.inside = options.inside.name;
  }

  void line(std::string_view whole, uint32_t number) {
    const std::string_view text = whole.substr(0, whole.find('#'));
    const std::string_view content = trimmed(text);
    if (content.empty()) return;
    const Location at = place(whole, content, number);
    if (content.front() == '[') return section(content, at);
    const size_t equals = content.find('=');
    if (equals == std::string_view::npos) {
      return report_.mistake(at, Path(), "is no KEY = VALUE, [Interface] or [Peer]");
    }
    const std::string_view value = trimmed(content.substr(equals + 1));
    const std::string_view key = trimmed(content.substr(0, equals));
    const Location value_at = value.empty() ? at : place(whole, value, number);
    if (section_ == Section::Interface) return interface_key(key, value, value_at);
    if (section_ == Section::Peer) return peer_key(key, value, value_at);
    report_.mistake(at, Path(), cat({quote(key), " stands before [Interface] and [Peer]"}));
  }

  Tunnel finish() {
    const Location start{1, 1};
    if (!has_private_key_) {
      report_.mistake(start, Path(), "there is no PrivateKey under [Interface]");
    }
    if (!listens_) {
      report_.warning(
          start, Path(),
          cat({"there is no ListenPort; ", std::to_string(tunnel_.listen_port), " is taken"}));
    }
    std::map<PublicKey, Location> keys;
    for (const Peer& peer : tunnel_.peers) {
      if (peer.public_key == PublicKey()) {
        // A key that could not be read is reported already.
        const bool missing = peer.public_key_at.line == peer.at.line;
        if (missing) report_.mistake(peer.at, Path(), "this [Peer] has no PublicKey");
        continue;
      }
      const auto [first, fresh] = keys.try_emplace(peer.public_key, peer.at);
      if (!fresh) {
        report_.mistake(peer.at, Path(),
                        cat({"this peer stands at ", place_text(first->second),
                             " already; make one of the two"}));
      }
    }
    keep_last_claims();
    return std::move(tunnel_);
  }

 private:
  enum class Section { None, Interface, Peer };

  // Both views lie in the same line.
  static Location place(std::string_view whole, std::string_view part, uint32_t number) {
    return {number, static_cast<uint32_t>(part.data() - whole.data()) + 1};
  }

  void section(std::string_view name, Location at) {
    const std::string folded = lower(name);
    if (folded == "[interface]") {
      section_ = Section::Interface;
    } else if (folded == "[peer]") {
      section_ = Section::Peer;
      tunnel_.peers.push_back({.at = at, .name_at = at, .public_key_at = at});
    } else {
      section_ = Section::None;
      report_.mistake(at, Path(),
                      cat({quote(name), " is unknown; [Interface] or [Peer] is expected"}));
    }
  }

  void interface_key(std::string_view key, std::string_view value, Location at) {
    const std::string name = lower(key);
    if (name == "privatekey") {
      has_private_key_ = true;
      if (const auto bytes = read_key(value, at, Path(), report_)) {
        tunnel_.private_key = PrivateKey(bytes->bytes);
      }
    } else if (name == "listenport") {
      listens_ = true;
      if (const auto port = number(value, 1, 65'535, at)) tunnel_.listen_port = *port;
    } else if (name == "mtu") {
      if (const auto mtu = number(value, 576, 8'920, at)) tunnel_.mtu = *mtu;
    } else if (name == "address") {
      each(value, at, [&](const Node& item) {
        const auto address = read_own_address(item, Path(), report_);
        if (address) tunnel_.addresses.push_back({*address, item.at});
      });
    } else if (const std::string_view why = left_out(name); !why.empty()) {
      report_.warning(at, Path(), cat({key, " is left out: ", why}));
    } else {
      report_.mistake(at, Path(), cat({"unknown key ", quote(key), " of [Interface]"}));
    }
  }

  static std::string_view left_out(std::string_view name) {
    if (name == "dns") return "a gateway resolves no names";
    if (name == "table") return "routes follow the allowed IPs";
    if (name == "fwmark") return "there is no kernel routing to mark for";
    if (name == "saveconfig") return "transactions are kept in the state database";
    if (name == "preup" || name == "postup" || name == "predown" || name == "postdown") {
      return "no commands are run";
    }
    return {};
  }

  void peer_key(std::string_view key, std::string_view value, Location at) {
    Peer& peer = tunnel_.peers.back();
    const std::string name = lower(key);
    if (name == "publickey") {
      peer.public_key_at = at;
      const auto bytes = read_key(value, at, Path(), report_);
      if (bytes) peer.public_key.bytes = bytes->bytes;
    } else if (name == "presharedkey") {
      // wg(8) writes "no preshared key" as the all-zero one.
      if (value == "(none)" || value == std::string(43, 'A') + "=") return;
      const auto bytes = read_key(value, at, Path(), report_);
      if (bytes) peer.preshared_key.emplace(bytes->bytes);
    } else if (name == "endpoint") {
      if (const auto endpoint = parse_endpoint(value)) {
        peer.endpoint = *endpoint;
      } else {
        report_.warning(at, Path(),
                        cat({"Endpoint ", quote(value), " is left out: it is no ",
                             "ADDRESS:PORT, and names are not resolved"}));
      }
    } else if (name == "allowedips") {
      each(value, at, [&](const Node& item) { allowed_ip(peer, item); });
    } else if (name == "persistentkeepalive") {
      if (lower(value) == "off") return;
      if (const auto seconds = number(value, 0, 65'535, at)) peer.persistent_keepalive = *seconds;
    } else {
      report_.mistake(at, Path(), cat({"unknown key ", quote(key), " of [Peer]"}));
    }
  }

  void allowed_ip(Peer& peer, const Node& item) {
    const auto address = read_own_address(item, Path(), report_);
    if (!address) return;
    const Prefix prefix = address->subnet();
    if (prefix.address != address->address) {
      report_.warning(item.at, Path(),
                      cat({quote(item.text), " has bits set behind its length; ", to_string(prefix),
                           " is taken"}));
    }
    peer.allowed_ips.push_back({prefix, item.at});
  }

  // Whoever names a prefix last has it: so it is with wg(8), where each claim takes.
  void keep_last_claims() {
    std::map<Prefix, std::pair<size_t, Location>> owners;
    for (size_t i = tunnel_.peers.size(); i-- > 0;) {
      auto& list = tunnel_.peers[i].allowed_ips;
      std::vector<AllowedIp> kept;
      for (const AllowedIp& allowed : list) {
        const auto [owner, fresh] = owners.try_emplace(allowed.prefix, i, allowed.at);
        if (fresh) {
          kept.push_back(allowed);
        } else {
          report_.warning(allowed.at, Path(),
                          cat({to_string(allowed.prefix), " is left out: it stands ",
                               owner->second.first == i ? "" : "with another peer ", "at ",
                               place_text(owner->second.second), " too"}));
        }
      }
      list = std::move(kept);
    }
  }

  // The items of a list that commas part.
  template <typename Take>
  static void each(std::string_view value, Location at, Take take) {
    size_t start = 0;
    while (start <= value.size()) {
      const size_t comma = std::min(value.find(',', start), value.size());
      const std::string_view item = trimmed(value.substr(start, comma - start));
      if (!item.empty()) {
        const auto offset = static_cast<uint32_t>(item.data() - value.data());
        take(Node{.kind = NodeKind::Scalar,
                  .at = {at.line, at.column + offset},
                  .text = std::string(item)});
      }
      start = comma + 1;
    }
  }

  std::optional<uint16_t> number(std::string_view text, uint16_t low, uint16_t high, Location at) {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value >= low && value <= high) {
      return static_cast<uint16_t>(value);
    }
    report_.mistake(at, Path(),
                    cat({quote(text), " is no number from ", std::to_string(low), " to ",
                         std::to_string(high)}));
    return std::nullopt;
  }

  Report& report_;
  Tunnel tunnel_;
  Section section_ = Section::None;
  bool listens_ = false;
  bool has_private_key_ = false;
};

}  // namespace

Result<Imported, std::vector<ConfigError>> import_wg(std::string_view text, const std::string& file,
                                                     const ImportOptions& options) {
  Report report(file);
  const std::string fault = plain_name_fault(options.tunnel_name);
  if (!fault.empty()) {
    report.mistake({}, Path(), cat({"the tunnel's name ", fault, "; --tunnel NAME gives it one"}));
  } else if (options.tunnel_name.size() > kMaxTunnelNameBytes) {
    report.mistake(
        {}, Path(),
        cat({"the tunnel's name ", quote(options.tunnel_name), " is longer than ",
             std::to_string(kMaxTunnelNameBytes), " bytes; --tunnel NAME gives it one"}));
  }
  WgReader reader(options, report);
  uint32_t number = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    reader.line(text.substr(start, end - start), ++number);
    start = end + 1;
  }
  Imported imported;
  imported.config.tunnels.push_back(reader.finish());
  if (!report.clean()) return fail(report.take_mistakes());
  imported.config.file = file;
  imported.config.ports = {options.outside, options.inside};
  PlaceholderSubnets subnets(imported.config.tunnels.front().addresses);
  for (Port& port : imported.config.ports) {
    if (port.addresses.empty()) port.addresses.push_back({.value = subnets.next(), .at = {}});
  }
  imported.notes = report.take_warnings();
  Report whole(file);
  check(imported.config, options.public_key_of, whole);
  if (!whole.clean()) return fail(whole.take_mistakes());
  return imported;
}

}  // namespace turnpike::config

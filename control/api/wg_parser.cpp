#include <cerrno>
#include <charconv>

#include "control/api/wg_protocol.h"
#include "dataplane/base/text.h"

namespace turnpike::api {
namespace {

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The result of a line: 0, or EINVAL when the value is not good.
template <typename Value>
int assign(std::optional<Value>& to, std::optional<Value> value) {
  if (!value) return EINVAL;
  to = std::move(value);
  return 0;
}

template <typename Key>
std::optional<Key> parse_secret(std::string_view text) {
  Key key;
  if (!base::from_hex(text, key.bytes())) return std::nullopt;
  return key;
}

// Only "true" has a meaning; a flag is cleared by its absence.
int set_flag(bool& flag, std::string_view value) {
  if (value != "true") return EINVAL;
  flag = true;
  return 0;
}

}  // namespace

bool WgParser::line(std::string_view text) {
  if (text.empty()) {
    if (!begun_) return false;  // blank lines between two requests
    return true;
  }
  bytes_ += text.size() + 1;
  const size_t equals = text.find('=');
  const std::string_view key = text.substr(0, equals);
  const std::string_view value = equals == text.npos ? "" : text.substr(equals + 1);
  int error = 0;
  if (bytes_ > kMaxWgRequestBytes) {
    error = E2BIG;
  } else if (equals == text.npos) {
    error = EPROTO;
  } else if (!begun_) {
    request_.set = key == "set";
    if ((key != "set" && key != "get") || value != "1") error = EINVAL;
  } else if (error_ == 0) {
    error = request_.set ? set_key(key, value) : EINVAL;
  }
  begun_ = true;
  // What follows a mistake is read to its end, so that the client, who writes first, gets to read.
  if (error_ == 0) error_ = error;
  return false;
}

int WgParser::set_key(std::string_view key, std::string_view value) {
  if (key == "public_key") {
    if (request_.peers.size() >= 2 * size_t{kMaxPeers}) return E2BIG;
    WgPeer peer;
    if (!base::from_hex(value, peer.public_key.bytes)) return EINVAL;
    request_.peers.push_back(std::move(peer));
    return 0;
  }
  if (!request_.peers.empty()) return peer_key(key, value);
  if (key == "private_key") return assign(request_.private_key, parse_secret<PrivateKey>(value));
  if (key == "listen_port") return assign(request_.listen_port, parse_number<uint16_t>(value));
  if (key == "fwmark") return assign(request_.fwmark, parse_number<uint32_t>(value));
  if (key == "replace_peers") return set_flag(request_.replace_peers, value);
  return EINVAL;
}

int WgParser::peer_key(std::string_view key, std::string_view value) {
  WgPeer& peer = request_.peers.back();
  if (key == "allowed_ip") {
    WgPeer::AllowedIp allowed;
    allowed.remove = value.starts_with('-');
    if (allowed.remove) value.remove_prefix(1);
    const auto prefix = parse_interface_address(value);
    if (!prefix) return EINVAL;
    allowed.prefix = prefix->subnet();
    peer.allowed_ips.push_back(allowed);
    return 0;
  }
  if (key == "preshared_key") return assign(peer.preshared_key, parse_secret<PresharedKey>(value));
  if (key == "endpoint") return assign(peer.endpoint, parse_endpoint(value));
  if (key == "persistent_keepalive_interval") {
    return assign(peer.persistent_keepalive, parse_number<uint16_t>(value));
  }
  if (key == "replace_allowed_ips") {
    peer.allowed_ips.clear();
    return set_flag(peer.replace_allowed_ips, value);
  }
  if (key == "remove") return set_flag(peer.remove, value);
  if (key == "update_only") return set_flag(peer.update_only, value);
  if (key == "protocol_version") return value == "1" ? 0 : EINVAL;
  return EINVAL;
}

}  // namespace turnpike::api

#include "control/cli/commands.h"

#include <charconv>
#include <istream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>

#include "config/load.h"
#include "control/api/url.h"
#include "control/cli/answer_text.h"
#include "control/cli/client.h"
#include "control/cli/read_file.h"
#include "control/cli/requests.h"
#include "control/cli/show_text.h"
#include "dataplane/base/address.h"
#include "dataplane/crypto/x25519.h"

namespace turnpike::cli {
namespace {

using nlohmann::json;

int post_edit(json edit, const ChangeOptions& options, const Common& common,
              Environment& environment) {
  const json document{{"edits", json::array({std::move(edit)})}};
  return post({.target = "/v1/transactions",
               .content_type = "application/json",
               .body = document.dump(-1, ' ', false, json::error_handler_t::replace)},
              options, common, environment);
}

Result<std::string, std::string> read_all(const std::string& file, Environment& environment) {
  if (file != "-") return read_file(file);
  return std::string(std::istreambuf_iterator<char>(environment.in), {});
}

json tree_of(const config::ConfigError& e) {
  return {{"file", e.file},
          {"line", e.line},
          {"column", e.column},
          {"path", e.path},
          {"message", e.message}};
}

}  // namespace

std::optional<uint64_t> parse_duration(std::string_view text) {
  uint64_t unit = 1;
  if (!text.empty()) {
    const char last = text.back();
    unit = last == 'h' ? 3600 : last == 'm' ? 60 : 1;
    if (last == 'h' || last == 'm' || last == 's') text.remove_suffix(1);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (value == 0 || value > 86'400 / unit) return std::nullopt;
  return value * unit;
}

int check(const std::string& file, bool as_json, Environment& environment) {
  const auto loaded = config::load_config(file, crypto::public_key);
  if (as_json) {
    json tree{
        {"valid", loaded.has_value()}, {"mistakes", json::array()}, {"warnings", json::array()}};
    if (loaded) {
      for (const auto& warning : loaded->warnings) tree["warnings"].push_back(tree_of(warning));
    } else {
      for (const auto& mistake : loaded.error()) tree["mistakes"].push_back(tree_of(mistake));
    }
    environment.out << tree.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    return loaded ? kDone : kError;
  }
  if (!loaded) {
    for (const auto& mistake : loaded.error()) {
      environment.err << config::to_string(mistake) << "\n";
    }
    return kError;
  }
  for (const auto& warning : loaded->warnings) {
    environment.err << "warning: " << config::to_string(warning) << "\n";
  }
  size_t peers = 0;
  for (const auto& tunnel : loaded->tunnels) peers += tunnel.peers.size();
  environment.out << file << ": good: " << loaded->ports.size() << " ports, "
                  << loaded->tunnels.size() << " tunnels, " << peers << " peers\n";
  return kDone;
}

int show(const std::string& section, const std::string& tunnel, const Common& common,
         Environment& environment) {
  std::string target = "/v1/show";
  char separator = '?';
  if (!section.empty()) {
    target += separator + std::string("section=") + section;
    separator = '&';
  }
  if (!tunnel.empty()) target += separator + std::string("tunnel=") + api::percent_encode(tunnel);
  return get(target, common, environment,
             [&](const std::string& body) { return show_text(body, environment); });
}

int owner(const std::string& tunnel, const std::string& target, const Common& common,
          Environment& environment) {
  // An address asks for the longest match, a prefix for exactly that.
  const char* key = parse_ip(target) ? "address" : "prefix";
  return get("/v1/owner?tunnel=" + api::percent_encode(tunnel) + "&" + key + "=" +
                 api::percent_encode(target),
             common, environment, [](const std::string& body) { return owner_text(body); });
}

int change_peer(const std::string& op, const PeerArguments& a, const ChangeOptions& options,
                const Common& common, Environment& environment) {
  json edit{{"op", op}, {"tunnel", a.tunnel}, {"peer", a.peer}};
  if (a.public_key) edit["public_key"] = *a.public_key;
  if (a.name) edit["name"] = *a.name;
  if (a.description) edit["description"] = *a.description;
  if (a.preshared_key_file) {
    if (a.preshared_key_file->empty()) {
      edit["preshared_key"] = nullptr;
    } else {
      auto key = read_all(*a.preshared_key_file, environment);
      if (!key) return complain(environment, key.error());
      while (!key->empty() && (key->back() == '\n' || key->back() == '\r')) key->pop_back();
      edit["preshared_key"] = *key;
    }
  }
  if (a.endpoint) edit["endpoint"] = a.endpoint->empty() ? json() : json(*a.endpoint);
  if (a.persistent_keepalive) edit["persistent_keepalive"] = *a.persistent_keepalive;
  if (a.enabled) edit["enabled"] = *a.enabled;
  if (!a.prefixes.empty()) edit["prefixes"] = a.prefixes;
  return post_edit(std::move(edit), options, common, environment);
}

int change_owner(const OwnerArguments& a, const ChangeOptions& options, const Common& common,
                 Environment& environment) {
  json edit{{"op", a.op}, {"tunnel", a.tunnel}, {"prefixes", a.prefixes}};
  if (a.op == "move") {
    edit["from"] = a.peer;
    edit["to"] = a.to;
  } else {
    edit["peer"] = a.peer;
  }
  return post_edit(std::move(edit), options, common, environment);
}

int apply_document(const std::string& file, const ChangeOptions& options, const Common& common,
                   Environment& environment) {
  const auto text = read_all(file, environment);
  if (!text) return complain(environment, text.error());
  // JSON begins with a brace; YAML in flow style does too, and then has to be JSON.
  const size_t first = text->find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string::npos && (*text)[first] == '{';
  return post({.target = "/v1/transactions",
               .content_type = is_json ? "application/json" : "application/yaml",
               .body = *text},
              options, common, environment);
}

}  // namespace turnpike::cli

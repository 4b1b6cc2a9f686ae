#include "control/cli/commands.h"

#include <charconv>
#include <fstream>
#include <istream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>

#include "config/load.h"
#include "control/api/url.h"
#include "control/cli/answer_text.h"
#include "control/cli/client.h"
#include "control/cli/show_text.h"
#include "dataplane/base/address.h"

namespace turnpike::cli {
namespace {

using nlohmann::json;

int complain(Environment& environment, const std::string& what) {
  environment.err << "turnpike: " << what << "\n";
  return kError;
}

// A question that changes nothing; `readable` makes its text for a person.
template <typename Readable>
int get(const std::string& target, const Common& common, Environment& environment,
        Readable&& readable) {
  const auto to_out = [&](std::string_view piece) { environment.out << piece; };
  const auto reply = common.json ? ask(common.socket, {.target = target}, to_out)
                                 : ask(common.socket, {.target = target});
  if (!reply) return complain(environment, reply.error());
  if (reply->status != 200) return complain(environment, problem_text(*reply));
  if (common.json) return kDone;
  const Result<std::string, std::string> text = readable(reply->body);
  if (!text) return complain(environment, text.error());
  environment.out << *text;
  return kDone;
}

int post(const std::string& document, const std::string& content_type,
         const ChangeOptions& options, const Common& common, Environment& environment) {
  Ask request{.method = "POST", .target = "/v1/transactions", .headers = {}, .body = document};
  request.headers["Content-Type"] = content_type;
  char separator = '?';
  const auto parameter = [&](const std::string& key, const std::string& value) {
    request.target += separator + key + "=" + value;
    separator = '&';
  };
  if (options.dry_run) parameter("dry_run", "true");
  if (options.confirm_seconds) parameter("confirm", std::to_string(*options.confirm_seconds));
  if (options.if_generation) {
    request.headers["If-Match"] = "\"" + std::to_string(*options.if_generation) + "\"";
  }
  if (!options.comment.empty()) parameter("comment", api::percent_encode(options.comment));
  const auto reply = ask(common.socket, request);
  if (!reply) return complain(environment, reply.error());
  const int status = reply->status == 200   ? kDone
                     : reply->status == 409 ? kRefused
                     : reply->status == 412 ? kStale
                                            : kError;
  if (common.json) {
    environment.out << reply->body;
  } else if (status == kDone) {
    environment.out << commit_text(*reply);
  } else if (status == kRefused || status == kStale) {
    environment.err << refusal_text(*reply, options.dry_run);
  } else {
    return complain(environment, problem_text(*reply));
  }
  return status;
}

int post_edit(json edit, const ChangeOptions& options, const Common& common,
              Environment& environment) {
  const json document{{"edits", json::array({std::move(edit)})}};
  return post(document.dump(-1, ' ', false, json::error_handler_t::replace), "application/json",
              options, common, environment);
}

std::optional<std::string> read_all(const std::string& file, Environment& environment) {
  if (file == "-") {
    return std::string(std::istreambuf_iterator<char>(environment.in), {});
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  if (!stream.is_open() || stream.bad()) return std::nullopt;
  return text;
}

json tree_of(const config::ConfigError& e) {
  return {{"file", e.file}, {"line", e.line}, {"column", e.column}, {"path", e.path},
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
  const auto loaded = config::load_config(file);
  if (as_json) {
    json tree{{"valid", loaded.has_value()},
              {"mistakes", json::array()},
              {"warnings", json::array()}};
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
      if (!key) return complain(environment, *a.preshared_key_file + ": cannot be read");
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
  if (!text) return complain(environment, file + ": cannot be read");
  // JSON begins with a brace; YAML in flow style does too, and then has to be JSON.
  const size_t first = text->find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string::npos && (*text)[first] == '{';
  return post(*text, is_json ? "application/json" : "application/yaml", options, common,
              environment);
}

}  // namespace turnpike::cli

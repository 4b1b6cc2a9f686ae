#include "control/api/routes.h"

#include <algorithm>
#include <charconv>

#include "config/plain_text.h"
#include "control/api/answers.h"
#include "control/api/export_document.h"
#include "control/api/file_answers.h"
#include "control/api/history_answers.h"
#include "control/api/json_text.h"
#include "control/api/show_document.h"
#include "control/api/transaction_document.h"

namespace turnpike::api {
namespace {

constexpr std::string_view kShowParameters[] = {"section", "tunnel"};
constexpr std::string_view kOwnerParameters[] = {"tunnel", "prefix", "address"};
constexpr std::string_view kPeerParameters[] = {"tunnel", "peer"};
constexpr std::string_view kTransactionParameters[] = {"dry_run", "confirm", "comment"};
constexpr std::string_view kReloadParameters[] = {"dry_run", "confirm", "comment"};
constexpr std::string_view kDiffParameters[] = {"file"};
constexpr std::string_view kExportParameters[] = {"directory"};
constexpr std::string_view kRollbackParameters[] = {"generation", "dry_run", "confirm", "comment"};
constexpr std::string_view kConfirmParameters[] = {"generation"};

// Documents below this size are read at once: switching threads would cost more.
constexpr size_t kOffloadBytes = 16 * 1024;

const std::string* find(const Request& request, const std::string& key) {
  const auto found = request.query.find(key);
  return found == request.query.end() ? nullptr : &found->second;
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "12" as an entity tag has its quotes; without them it is taken too.
std::optional<Generation> parse_entity_tag(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  return parse_number(text);
}

std::optional<DocumentFormat> format_of(const std::string& content_type) {
  if (content_type.empty() || content_type == "application/json") return DocumentFormat::Json;
  if (content_type == "application/yaml" || content_type == "application/x-yaml" ||
      content_type == "text/yaml") {
    return DocumentFormat::Yaml;
  }
  return std::nullopt;
}

// What every request that changes something may say.
struct ChangeOptions {
  CommitOptions commit;
  std::optional<Generation> if_match;
  std::optional<std::string> comment;
};

Result<ChangeOptions, Response> change_options(const Request& request) {
  ChangeOptions read{.commit = {.caller = request.caller}, .if_match = {}, .comment = {}};
  if (const std::string* dry_run = find(request, "dry_run")) {
    if (*dry_run != "true" && *dry_run != "false") {
      return fail(problem(400, "dry_run must be true or false"));
    }
    read.commit.dry_run = *dry_run == "true";
  }
  if (const std::string* confirm = find(request, "confirm")) {
    const auto seconds = parse_number(*confirm);
    if (!seconds || *seconds == 0 || *seconds > 86'400) {
      return fail(problem(400, "confirm must be seconds from 1 to 86400"));
    }
    read.commit.confirm = std::chrono::seconds(*seconds);
  }
  if (const std::string* text = find(request, "comment")) {
    auto comment = read_comment(*text);
    if (!comment) return fail(problem(400, "comment " + comment.error()));
    read.comment = std::move(*comment);
  }
  if (request.if_match && *request.if_match != "*") {
    read.if_match = parse_entity_tag(*request.if_match);
    if (!read.if_match) {
      return fail(problem(400, "If-Match must be a generation such as \"12\""));
    }
  }
  return read;
}

}  // namespace

std::span<const Routes::Route> Routes::table() {
  static constexpr Route kTable[] = {
      {"GET", "/v1/show", Access::Read, &Routes::show, kShowParameters},
      {"GET", "/v1/owner", Access::Read, &Routes::owner, kOwnerParameters},
      {"GET", "/v1/peer", Access::Read, &Routes::peer, kPeerParameters},
      {"GET", "/v1/events", Access::Read, &Routes::events, {}},
      {"GET", "/v1/export", Access::Read, &Routes::export_running, {}},
      {"POST", "/v1/export", Access::All, &Routes::export_with_keys, kExportParameters},
      {"POST", "/v1/reload", Access::All, &Routes::reload, kReloadParameters},
      {"POST", "/v1/diff", Access::All, &Routes::diff, kDiffParameters},
      {"GET", "/v1/history", Access::Read, &Routes::history, {}},
      {"POST", "/v1/rollback", Access::All, &Routes::rollback, kRollbackParameters},
      {"POST", "/v1/confirm", Access::All, &Routes::confirm, kConfirmParameters},
      {"POST", "/v1/transactions", Access::All, &Routes::transactions, kTransactionParameters},
  };
  return kTable;
}

void Routes::handle(Request request, Respond respond) {
  if (!backend_.ready()) {
    auto waiting = std::make_shared<Request>(std::move(request));
    return backend_.when_ready([this, waiting, respond = std::move(respond)]() mutable {
      handle(std::move(*waiting), std::move(respond));
    });
  }
  if (auto refusal = refuse(request)) return respond(std::move(*refusal));
  (this->*find_route(request)->run)(request, std::move(respond));
}

const Routes::Route* Routes::find_route(const Request& request) {
  for (const Route& route : table()) {
    if (route.path == request.path && route.method == request.method) return &route;
  }
  return nullptr;
}

std::optional<Response> Routes::refuse(const Request& request) {
  const Route* route = find_route(request);
  if (route == nullptr) {
    std::string methods;
    for (const Route& other : table()) {
      if (other.path != request.path) continue;
      methods += (methods.empty() ? "" : ", ") + std::string(other.method);
    }
    if (methods.empty()) return problem(404, "there is no " + request.path);
    Response response = problem(405, request.path + " takes " + methods);
    response.allow = methods;
    return response;
  }
  if (request.access < route->needs) {
    return problem(403, request.access == Access::None ? "you are not in control.group"
                        : request.path == "/v1/export"
                            ? "only root and the daemon's owner may have the keys"
                            : "only root and the daemon's owner may change anything");
  }
  for (const auto& [key, value] : request.query) {
    if (std::ranges::find(route->parameters, key) == route->parameters.end()) {
      return problem(400, "there is no parameter \"" + key + "\" here");
    }
  }
  return std::nullopt;
}

void Routes::show(Request& request, Respond respond) {
  ShowFilter filter;
  if (const std::string* section = find(request, "section")) {
    const auto known = show_section(*section);
    if (!known) {
      return respond(problem(400, "section must be tunnels, peers, ports, workers or drops"));
    }
    filter = *known;
  }
  if (const std::string* tunnel = find(request, "tunnel")) {
    if (backend_.state().find_tunnel(*tunnel) == nullptr) {
      return respond(problem(404, "there is no tunnel " + *tunnel));
    }
    filter.tunnel = *tunnel;
  }
  Response response;
  response.generation = backend_.generation();
  response.source = make_show(backend_, std::move(filter));
  respond(std::move(response));
}

void Routes::peer(Request& request, Respond respond) {
  const std::string* name = find(request, "tunnel");
  const std::string* peer = find(request, "peer");
  if (name == nullptr || peer == nullptr)
    return respond(problem(400, "tunnel and peer are needed"));
  const state::State& state = backend_.state();
  const state::Tunnel* tunnel = state.find_tunnel(*name);
  if (tunnel == nullptr) return respond(problem(404, "there is no tunnel " + *name));
  const uint32_t slot = state.select_peer(tunnel->index, state::parse_peer_selector(*peer));
  if (slot == state::kNoSlot) {
    return respond(problem(404, "there is no peer " + *peer + " in " + *name));
  }
  ShowFilter filter = *show_section("peers");
  filter.tunnel = *name;
  filter.peer = state.peer(slot).id;
  Response response;
  response.generation = backend_.generation();
  response.source = make_show(backend_, std::move(filter));
  respond(std::move(response));
}

void Routes::owner(Request& request, Respond respond) {
  const std::string* name = find(request, "tunnel");
  const std::string* exact = find(request, "prefix");
  const std::string* address = find(request, "address");
  if (name == nullptr || (exact == nullptr) == (address == nullptr)) {
    return respond(problem(400, "tunnel and either prefix or address are needed"));
  }
  const state::State& state = backend_.state();
  const state::Tunnel* tunnel = state.find_tunnel(*name);
  if (tunnel == nullptr) return respond(problem(404, "there is no tunnel " + *name));
  const state::Claim* claim = nullptr;
  std::string prefix;
  if (exact != nullptr) {
    const auto parsed = parse_interface_address(*exact);
    if (!parsed) return respond(problem(400, *exact + " is no prefix"));
    if (parsed->subnet().address != parsed->address) {
      return respond(problem(
          400, *exact + " has host bits set; did you mean " + to_string(parsed->subnet()) + "?"));
    }
    claim = state.owner(tunnel->index, parsed->subnet());
    prefix = to_string(parsed->subnet());
  } else {
    const auto parsed = parse_ip(*address);
    if (!parsed) return respond(problem(400, *address + " is no address"));
    claim = state.longest_match(tunnel->index, *parsed);
    prefix =
        to_string(claim != nullptr ? claim->prefix : Prefix::masked(*parsed, parsed->width_bits()));
  }
  Response response;
  response.generation = backend_.generation();
  response.body = "{";
  append_json_key(response.body, "tunnel");
  append_json_string(response.body, *name);
  append_json_key(response.body, "prefix");
  append_json_string(response.body, prefix);
  append_json_key(response.body, "peer");
  if (claim == nullptr) {
    response.body += "null";
  } else {
    append_json_string(response.body, state::label(state.peer(claim->peer)));
  }
  response.body += "}\n";
  respond(std::move(response));
}

void Routes::transactions(Request& request, Respond respond) {
  auto read = change_options(request);
  if (!read) return respond(std::move(read.error()));
  const auto format = format_of(request.content_type);
  if (!format) {
    return respond(problem(415, "the document must be application/json or application/yaml"));
  }
  using Parsed = Result<state::Transaction, std::vector<Mistake>>;
  auto body = std::make_shared<std::string>(std::move(request.body));
  auto parsed = std::make_shared<Parsed>();
  const auto parse = [body, parsed, format] { *parsed = parse_transaction(*body, *format); };
  const auto commit = [this, parsed, options = read->commit, if_match = read->if_match,
                       comment = read->comment, respond = std::move(respond)] {
    if (!*parsed) return respond(answer_of(parsed->error()));
    state::Transaction& transaction = **parsed;
    if (if_match) {
      if (transaction.if_generation && transaction.if_generation != if_match) {
        return respond(problem(400, "If-Match and if_generation differ"));
      }
      transaction.if_generation = if_match;
    }
    if (comment) transaction.comment = *comment;
    backend_.commit(std::move(transaction), options,
                    [respond, dry_run = options.dry_run](const CommitAnswer& answer) {
                      respond(answer_of(answer, dry_run));
                    });
  };
  if (body->size() < kOffloadBytes) {
    parse();
    commit();
  } else {
    offload_(parse, commit);
  }
}

void Routes::reload(Request& request, Respond respond) {
  auto read = change_options(request);
  if (!read) return respond(std::move(read.error()));
  const bool dry_run = read->commit.dry_run;
  backend_.reload({.commit = read->commit,
                   .if_generation = read->if_match,
                   .comment = read->comment.value_or("reload")},
                  [respond = std::move(respond), dry_run](const FileAnswer& answer) {
                    respond(answer_of(answer, dry_run));
                  });
}

void Routes::diff(Request& request, Respond respond) {
  const std::string* file = find(request, "file");
  if (file == nullptr || !file->starts_with('/')) {
    return respond(problem(400, "file must be the absolute path of a configuration"));
  }
  backend_.diff(*file, [respond = std::move(respond)](DiffAnswer answer) {
    respond(answer_of(std::move(answer)));
  });
}

void Routes::history(Request&, Respond respond) {
  backend_.history([respond = std::move(respond)](HistoryAnswer answer) {
    respond(answer_of(std::move(answer)));
  });
}

void Routes::rollback(Request& request, Respond respond) {
  const std::string* text = find(request, "generation");
  const auto generation = text == nullptr ? std::nullopt : parse_number(*text);
  if (!generation) return respond(problem(400, "generation must be the number of a commit"));
  auto read = change_options(request);
  if (!read) return respond(std::move(read.error()));
  const bool dry_run = read->commit.dry_run;
  backend_.rollback(*generation,
                    {.commit = read->commit,
                     .if_generation = read->if_match,
                     .comment = read->comment.value_or("")},
                    [respond = std::move(respond), dry_run](const RollbackAnswer& answer) {
                      respond(answer_of(answer, dry_run));
                    });
}

void Routes::confirm(Request& request, Respond respond) {
  std::optional<Generation> generation;
  if (const std::string* text = find(request, "generation")) {
    generation = parse_number(*text);
    if (!generation) return respond(problem(400, "generation must be the number of a commit"));
  }
  backend_.confirm(generation, [respond = std::move(respond)](const ConfirmAnswer& answer) {
    respond(answer_of(answer));
  });
}

namespace {

// The answer to both ways of asking; `directory` is where the keys go.
std::function<void(RunningAnswer)> respond_with(Respond respond, Access access,
                                                std::optional<std::string> directory) {
  return [respond = std::move(respond), access,
          directory = std::move(directory)](const RunningAnswer& answer) {
    if (const auto* busy = std::get_if<Busy>(&answer)) return respond(problem(503, busy->what));
    if (const auto* failure = std::get_if<CommitFailure>(&answer)) {
      return respond(problem(500, failure->what));
    }
    const auto& running = std::get<std::shared_ptr<const gateway::RunningConfig>>(answer);
    Response response;
    response.content_type = directory ? "text/plain" : "application/yaml";
    response.generation = running->generation;
    response.source = make_export(running, directory);
    // It holds a place among few, and memory.
    response.bounded = access != Access::All;
    respond(std::move(response));
  };
}

}  // namespace

void Routes::export_running(Request& request, Respond respond) {
  backend_.running_config({.caller = request.caller, .access = request.access},
                          respond_with(std::move(respond), request.access, {}));
}

void Routes::export_with_keys(Request& request, Respond respond) {
  const std::string* directory = find(request, "directory");
  if (directory == nullptr || directory->empty() ||
      config::plain_text(*directory, false) != *directory) {
    return respond(problem(400,
                           "directory must be where the files of keys will be, in UTF-8 without "
                           "control characters"));
  }
  backend_.running_config({.caller = request.caller, .access = request.access, .with_keys = true},
                          respond_with(std::move(respond), request.access, *directory));
}

void Routes::events(Request& request, Respond respond) {
  Response response;
  response.content_type = "application/jsonl";
  response.source = backend_.events(request.access);
  if (!response.source) return respond(problem(503, "too many listen to events already"));
  respond(std::move(response));
}

}  // namespace turnpike::api

#include "control/api/answers.h"

#include <nlohmann/json.hpp>

namespace turnpike::api {
namespace {

using nlohmann::json;

const char* title(unsigned status) {
  switch (status) {
    case 400:
      return "Bad request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not found";
    case 405:
      return "Method not allowed";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition failed";
    case 413:
      return "Payload too large";
    case 415:
      return "Unsupported media type";
    case 422:
      return "The file cannot be applied";
    case 503:
      return "Service unavailable";
    default:
      return "Internal error";
  }
}

json problem_tree(unsigned status, const std::string& detail) {
  return {
      {"type", "about:blank"}, {"title", title(status)}, {"status", status}, {"detail", detail}};
}

Response finish(unsigned status, const json& tree) {
  Response response{.status = status};
  response.content_type = status < 400 ? "application/json" : "application/problem+json";
  // Names are not always UTF-8; the answer always is.
  response.body = tree.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  return response;
}

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

}  // namespace

// `at`: where each conflict stands in a file, or nothing.
Response refusal_at(const state::Refusal& refusal, std::span<const config::ConfigError> at) {
  const unsigned status = refusal.is_stale() ? 412 : 409;
  std::string detail = state::describe(refusal.conflicts.front());
  if (refusal.conflicts.size() > 1) {
    detail += ", and " + std::to_string(refusal.conflicts.size() - 1) + " more";
  }
  json tree = problem_tree(status, detail);
  tree["committed"] = false;
  tree["generation"] = refusal.generation;
  json& conflicts = tree["conflicts"] = json::array();
  for (size_t i = 0; i < refusal.conflicts.size(); ++i) {
    const state::Conflict& c = refusal.conflicts[i];
    conflicts.push_back({{"edit", c.edit},
                         {"prefix", c.prefix ? json(to_string(*c.prefix)) : json()},
                         {"kind", state::to_string(c.kind)},
                         {"owner", text_or_null(c.owner)},
                         {"peer", text_or_null(c.peer)},
                         {"tunnel", text_or_null(c.tunnel)},
                         {"text", state::describe(c)}});
    if (c.peer_is_new) conflicts.back()["peer_is_new"] = true;
    if (i >= at.size()) continue;
    conflicts.back()["file"] = at[i].file;
    conflicts.back()["line"] = at[i].line;
    conflicts.back()["column"] = at[i].column;
    conflicts.back()["text"] = config::to_string(at[i]);
  }
  return finish(status, tree);
}

Response answer_of(const CommitAnswer& answer, bool dry_run) {
  if (const auto* refusal = std::get_if<state::Refusal>(&answer)) return refusal_at(*refusal, {});
  if (const auto* failure = std::get_if<CommitFailure>(&answer)) {
    json tree = problem_tree(500, failure->what);
    tree["committed"] = false;
    return finish(500, tree);
  }
  const auto& committed = std::get<Committed>(answer);
  json tree{{"committed", !dry_run},
            {"changed", committed.changed},
            {"visible", !dry_run && committed.visible},
            {"generation", committed.generation},
            {"warnings", committed.warnings}};
  if (dry_run) tree["dry_run"] = true;
  if (!committed.late_lcores.empty()) tree["late_workers"] = committed.late_lcores;
  Response response = finish(200, tree);
  response.generation = committed.generation;
  return response;
}

Response answer_of(const std::vector<Mistake>& mistakes) {
  const Mistake& first = mistakes.front();
  json tree = problem_tree(400, (first.place.empty() ? "" : first.place + ": ") + first.what);
  tree["committed"] = false;
  json& list = tree["mistakes"] = json::array();
  for (const Mistake& m : mistakes) list.push_back({{"place", m.place}, {"what", m.what}});
  return finish(400, tree);
}

Response file_mistakes(std::span<const config::ConfigError> mistakes) {
  json tree = problem_tree(422, config::to_string(mistakes.front()));
  tree["committed"] = false;
  json& list = tree["mistakes"] = json::array();
  for (const config::ConfigError& m : mistakes) {
    std::string place = m.file;
    if (m.line != 0) place += ":" + std::to_string(m.line) + ":" + std::to_string(m.column);
    list.push_back({{"place", place},
                    {"what", m.path.empty() ? m.message : m.path + ": " + m.message},
                    {"file", m.file},
                    {"line", m.line},
                    {"column", m.column}});
  }
  return finish(422, tree);
}

Response problem(unsigned status, const std::string& detail) {
  return finish(status, problem_tree(status, detail));
}

}  // namespace turnpike::api

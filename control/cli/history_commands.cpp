#include "control/cli/history_commands.h"

#include <nlohmann/json.hpp>

#include "control/cli/client.h"
#include "control/cli/requests.h"
#include "control/cli/table.h"

namespace turnpike::cli {
namespace {

using json = nlohmann::json;

Result<json, std::string> parse(const std::string& body) {
  json tree = json::parse(body, nullptr, false);
  if (tree.is_discarded()) return fail(std::string("the daemon's answer is no JSON"));
  return tree;
}

// Who did it, when, and what it touched; a commit that waits says how long it still has.
Result<std::string, std::string> history_text(const std::string& body,
                                              const Environment& environment) {
  const auto tree = parse(body);
  if (!tree) return fail(tree.error());
  Table table({{.title = "GENERATION", .right = true},
               {.title = "TIME"},
               {.title = "BY"},
               {.title = "UID", .right = true},
               {.title = "PID", .right = true},
               {.title = "PEERS", .right = true},
               {.title = "PREFIXES", .right = true},
               {.title = "COMMENT", .shrinks_to = 12}});
  try {
    for (const json& commit : tree->at("history")) {
      std::string comment = commit.at("comment");
      if (const json& left = commit.at("unconfirmed_seconds"); !left.is_null()) {
        comment = "(undone in " + std::to_string(left.get<uint64_t>()) + " s unless confirmed) " +
                  comment;
      }
      const auto number = [&](const char* key) {
        return std::to_string(commit.at(key).get<uint64_t>());
      };
      table.add({number("generation"), commit.at("time"), commit.at("cause"), number("uid"),
                 number("pid"), number("peers"), number("prefixes"), std::move(comment)});
    }
  } catch (const json::exception&) {
    return fail(std::string("the daemon's answer is not understood; is it of this version?"));
  }
  if (table.empty()) return std::string("nothing was committed yet\n");
  return table.text(environment.width, environment.colour);
}

Result<std::string, std::string> confirm_text(const std::string& body) {
  const auto tree = parse(body);
  if (!tree) return fail(tree.error());
  std::string out;
  for (const json& generation : tree->value("confirmed", json::array())) {
    out += "generation " + generation.dump() + " is confirmed\n";
  }
  return out;
}

}  // namespace

int history(const Common& common, Environment& environment) {
  return get("/v1/history", common, environment,
             [&](const std::string& body) { return history_text(body, environment); });
}

int rollback(uint64_t generation, const ChangeOptions& options, const Common& common,
             Environment& environment) {
  return post({.target = "/v1/rollback?generation=" + std::to_string(generation),
               .content_type = {},
               .body = {}},
              options, common, environment);
}

int confirm(std::optional<uint64_t> generation, const Common& common, Environment& environment) {
  std::string target = "/v1/confirm";
  if (generation) target += "?generation=" + std::to_string(*generation);
  return get(Ask{.method = "POST", .target = target, .headers = {}, .body = {}}, common,
             environment, confirm_text);
}

}  // namespace turnpike::cli

// openapi.yaml says what the route table, the document reader and the answers do.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <set>

#include "control/api/document_tree.h"
#include "control/api/routes.h"
#include "control/state/refusal.h"

namespace turnpike::api {
namespace {

nlohmann::json openapi() {
  std::ifstream file(TURNPIKE_OPENAPI);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto tree = parse_yaml_tree(text);
  EXPECT_TRUE(tree) << tree.error().place << tree.error().what;
  return tree ? *tree : nlohmann::json::object();
}

TEST(OpenApi, HasExactlyTheRoutesAndParametersThatThereAre) {
  const nlohmann::json tree = openapi();
  std::set<std::string> described, served;
  for (const auto& [path, methods] : tree.at("paths").items()) {
    for (const auto& [method, operation] : methods.items()) {
      std::string line = method + " " + path;
      std::ranges::transform(line, line.begin(), [](unsigned char c) { return std::tolower(c); });
      described.insert(line);
      for (const auto& parameter : operation.at("parameters")) {
        if (parameter.at("in") == "query") {
          described.insert(line + "?" + parameter.at("name").get<std::string>());
        }
      }
    }
  }
  for (const Routes::Route& route : Routes::table()) {
    std::string line = std::string(route.method) + " " + std::string(route.path);
    std::ranges::transform(line, line.begin(), [](unsigned char c) { return std::tolower(c); });
    served.insert(line);
    for (const std::string_view parameter : route.parameters) {
      served.insert(line + "?" + std::string(parameter));
    }
  }
  EXPECT_EQ(described, served);
}

TEST(OpenApi, TellsOfEveryRouteWhatARequestThatIsWrongOrNotAllowedGets) {
  const nlohmann::json tree = openapi();
  for (const auto& [path, methods] : tree.at("paths").items()) {
    for (const auto& [method, operation] : methods.items()) {
      for (const char* status : {"200", "400", "403"}) {
        EXPECT_TRUE(operation.at("responses").contains(status)) << method << path << status;
      }
    }
  }
  const auto& commit = tree.at("paths").at("/v1/transactions").at("post").at("responses");
  for (const char* status : {"409", "412", "413", "415", "500"}) {
    EXPECT_TRUE(commit.contains(status)) << status;
  }
}

TEST(OpenApi, NamesEveryKindOfConflict) {
  const nlohmann::json tree = openapi();
  const auto& conflict = tree.at("components").at("schemas").at("Conflict");
  std::set<std::string> described;
  for (const auto& kind : conflict.at("properties").at("kind").at("enum")) {
    described.insert(kind.get<std::string>());
  }
  std::set<std::string> known;
  for (int kind = 0; kind <= static_cast<int>(state::ConflictKind::StaleGeneration); ++kind) {
    known.insert(std::string(to_string(static_cast<state::ConflictKind>(kind))));
  }
  EXPECT_EQ(described, known);
}

TEST(OpenApi, NamesEveryKeyOfAnEdit) {
  const nlohmann::json edit = openapi().at("components").at("schemas").at("Edit");
  for (const auto& op : edit.at("properties").at("op").at("enum")) {
    // A document with a key that is not there: the mistake lists those that are.
    const std::string text =
        R"({"edits":[{"tunnel":"t","peer":"p","from":"p","to":"p","x-":1,"op":)" + op.dump() +
        "}]}";
    const auto parsed = parse_transaction(text, DocumentFormat::Json);
    ASSERT_FALSE(parsed);
    for (const Mistake& mistake : parsed.error()) {
      if (!mistake.place.ends_with("/x-")) continue;
      std::string keys = mistake.what.substr(mistake.what.find("there are: ") + 11) + ", ";
      for (size_t at; (at = keys.find(", ")) != keys.npos; keys.erase(0, at + 2)) {
        EXPECT_TRUE(edit.at("properties").contains(keys.substr(0, at))) << keys.substr(0, at);
      }
    }
  }
}

TEST(Routes, LetReadersReadAndNothingMore) {
  for (const Routes::Route& route : Routes::table()) {
    EXPECT_EQ(route.needs, route.method == "GET" ? Access::Read : Access::All) << route.path;
  }
}

}  // namespace
}  // namespace turnpike::api

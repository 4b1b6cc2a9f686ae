// The JSON Schema for editors says what the loader's key table says, and the examples load.
#include "config/schema.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "config/load.h"
#include "config/value.h"
#include "fixtures.h"

namespace turnpike::config {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kConfigFolder = TURNPIKE_CONFIG_FOLDER;

const std::vector<std::pair<Section, std::string>> kSections = {
    {Section::Root, "root"},      {Section::Dataplane, "dataplane"}, {Section::Port, "port"},
    {Section::Route, "route"},    {Section::Tunnel, "tunnel"},       {Section::Peer, "peer"},
    {Section::Control, "control"}};

std::string reference_of(Section section) {
  for (const auto& [candidate, name] : kSections) {
    if (candidate == section) return "#/definitions/" + name;
  }
  return {};
}

void expect_range(const json& schema, const Key& key) {
  EXPECT_EQ(schema.at("type"), "integer");
  EXPECT_EQ(schema.at("minimum"), key.minimum);
  EXPECT_EQ(schema.at("maximum"), key.maximum);
}

void expect_text(const json& schema, const Key& key) {
  EXPECT_EQ(schema.at("type"), "string");
  EXPECT_EQ(schema.at("maxLength"), key.maximum);
}

// What the API asks of a description is what the loader asks, and the limit that editors are told is in it.
TEST(Descriptions, HaveOneRule) {
  const Key& key = *find_key(Section::Peer, "description");
  EXPECT_EQ(key.fault, &description_fault);
  EXPECT_EQ(key.maximum, kMaxDescriptionBytes);
  EXPECT_EQ(description_fault(std::string(key.maximum, 'x')), "");
  EXPECT_NE(description_fault(std::string(key.maximum + 1, 'x')), "");
}

void expect_same(const json& schema, const Key& key) {
  switch (key.kind) {
    case KeyKind::Integer:
      return expect_range(schema, key);
    case KeyKind::Boolean:
      EXPECT_EQ(schema.at("type"), "boolean");
      return;
    case KeyKind::Text:
      return expect_text(schema, key);
    case KeyKind::Choice: {
      const std::vector<std::string> choices(key.choices.begin(), key.choices.end());
      EXPECT_EQ(schema.at("enum"), json(choices));
      return;
    }
    case KeyKind::Integers:
      EXPECT_EQ(schema.at("type"), "array");
      return expect_range(schema.at("items"), key);
    case KeyKind::Texts:
      EXPECT_EQ(schema.at("type"), "array");
      return expect_text(schema.at("items"), key);
    case KeyKind::Mapping:
      EXPECT_EQ(schema.at("$ref"), reference_of(key.section));
      return;
    case KeyKind::Mappings:
      EXPECT_EQ(schema.at("type"), "array");
      EXPECT_EQ(schema.at("items").at("$ref"), reference_of(key.section));
      return;
  }
}

TEST(JsonSchema, SaysWhatTheLoaderReads) {
  std::ifstream file(kConfigFolder / "turnpike.schema.json");
  const json schema = json::parse(file);
  EXPECT_EQ(schema.at("definitions").size(), kSections.size());
  for (const auto& [section, name] : kSections) {
    SCOPED_TRACE(name);
    const json& definition = schema.at("definitions").at(name);
    EXPECT_EQ(definition.at("additionalProperties"), false);
    std::set<std::string> known;
    std::set<std::string> required;
    for (const Key& key : keys_of(section)) {
      SCOPED_TRACE(key.name);
      known.emplace(key.name);
      if (key.required) required.emplace(key.name);
      const auto property = definition.at("properties").find(key.name);
      if (property == definition.at("properties").end()) {
        ADD_FAILURE() << "the schema lacks a key that the loader knows";
        continue;
      }
      expect_same(*property, key);
    }
    for (const auto& [key, value] : definition.at("properties").items()) {
      EXPECT_TRUE(known.contains(key)) << "the loader does not know " << key;
    }
    EXPECT_EQ(definition.at("required").get<std::set<std::string>>(), required);
  }
}

// Defaults that the schema tells are those that the loader fills in.
TEST(JsonSchema, TellsTheDefaultsOfTheLoader) {
  std::ifstream file(kConfigFolder / "turnpike.schema.json");
  const json definitions = json::parse(file).at("definitions");
  const auto told = [&](const char* section, const char* key) {
    return definitions.at(section).at("properties").at(key).at("default");
  };
  const Dataplane dataplane;
  EXPECT_EQ(told("dataplane", "workers"), json(dataplane.workers));
  EXPECT_EQ(told("dataplane", "main_core"), dataplane.main_core);
  EXPECT_EQ(told("dataplane", "session_cores"), json(dataplane.session_cores));
  EXPECT_EQ(told("dataplane", "hugepages"), dataplane.hugepages);
  EXPECT_EQ(told("dataplane", "memory"), dataplane.memory_mib);
  EXPECT_EQ(told("dataplane", "file_prefix"), dataplane.file_prefix);
  EXPECT_EQ(told("dataplane", "crypto_device"), dataplane.crypto_device);
  EXPECT_EQ(told("dataplane", "crypto_sessions"), dataplane.crypto_sessions);
  EXPECT_EQ(told("port", "mtu"), Port().mtu);
  EXPECT_EQ(told("tunnel", "mtu"), Tunnel().mtu);
  EXPECT_EQ(told("tunnel", "peer_to_peer"), Tunnel().peer_to_peer);
  EXPECT_EQ(told("peer", "enabled"), Peer().enabled);
  EXPECT_EQ(told("peer", "persistent_keepalive"), Peer().persistent_keepalive);
  const Control control;
  EXPECT_EQ(told("control", "socket"), control.socket);
  EXPECT_EQ(told("control", "wg_socket_dir"), control.wg_socket_dir);
  EXPECT_EQ(told("control", "metrics"), to_string(*control.metrics));
  EXPECT_EQ(told("control", "state"), control.state);
  // Choices: the table's order is the order of the enumerations, the defaults are told by name.
  EXPECT_EQ(told("dataplane", "aead"),
            find_key(Section::Dataplane, "aead")->choices[static_cast<size_t>(dataplane.aead)]);
  EXPECT_EQ(told("dataplane", "idle"),
            find_key(Section::Dataplane, "idle")->choices[static_cast<size_t>(dataplane.idle)]);
  EXPECT_EQ(
      told("tunnel", "conflicts"),
      find_key(Section::Tunnel, "conflicts")->choices[static_cast<size_t>(Tunnel().conflicts)]);
  EXPECT_EQ(
      told("control", "durability"),
      find_key(Section::Control, "durability")->choices[static_cast<size_t>(control.durability)]);
}

// Every key file that the examples name, with keys of its own.
class Examples : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "turnpike-config-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    fs::create_directory(folder_ / "keys");
    for (const fs::path name : {"gateway.yaml", "lab.yaml"}) {
      fs::copy_file(kConfigFolder / "examples" / name, folder_ / name);
      fs::permissions(folder_ / name, fs::perms::owner_read | fs::perms::owner_write);
    }
    uint32_t number = 100;
    for (const char* name : {"staff.key", "branches.key", "alice.psk"}) {
      const fs::path path = folder_ / "keys" / name;
      std::ofstream(path) << test::key_text(number++) << "\n";
      fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

// Where the first line with `text` stands, counted from 1: comments of the examples may grow.
size_t line_of(const fs::path& file, const std::string& text) {
  std::ifstream in(file);
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (line.find(text) != std::string::npos) return number;
  }
  return 0;
}

TEST_F(Examples, Load) {
  for (const fs::path name : {"gateway.yaml", "lab.yaml"}) {
    const auto loaded = load_config(folder_ / name);
    ASSERT_TRUE(loaded.has_value()) << to_string(loaded.error().front());
    for (const ConfigError& warning : loaded->warnings) ADD_FAILURE() << to_string(warning);
  }
  const auto gateway = load_config(folder_ / "gateway.yaml");
  ASSERT_EQ(gateway->tunnels.size(), 2u);
  EXPECT_EQ(gateway->tunnels[0].peers.size(), 3u);
  EXPECT_EQ(gateway->tunnels[0].private_key.bytes()[3], 100);
  EXPECT_EQ(gateway->tunnels[0].peers[0].preshared_key->bytes()[3], 102);
  const auto lab = load_config(folder_ / "lab.yaml");
  EXPECT_EQ(lab->control.socket, (folder_ / "lab/control.sock").string());
  EXPECT_FALSE(lab->control.metrics.has_value());
  EXPECT_EQ(lab->control.durability, Durability::Off);
}

TEST_F(Examples, KeyFilesThatAreMissingWrongOrOpenAreNamed) {
  const fs::path file = folder_ / "gateway.yaml";
  const std::string where = file.string();
  const fs::path key = folder_ / "keys/staff.key";
  const size_t line = line_of(file, "private_key_file: keys/staff.key");
  ASSERT_GT(line, 0u);

  fs::permissions(key, fs::perms::others_read, fs::perm_options::add);
  auto loaded = load_config(file);
  ASSERT_TRUE(loaded.has_value());
  ASSERT_EQ(loaded->warnings.size(), 1u);
  EXPECT_EQ(to_string(loaded->warnings[0]),
            where + ":" + std::to_string(line) + ":23: tunnels[0].private_key_file: key file '" +
                key.string() + "' is open to all users; chmod 600 closes it");

  std::ofstream(key) << "no key\n";
  loaded = load_config(file);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_TRUE(loaded.error()[0].message.ends_with("does not hold one key of 44 base64 characters"));
  EXPECT_EQ(loaded.error()[0].line, line);
  EXPECT_EQ(loaded.error()[0].column, 23u);

  std::ofstream(key) << std::string(1 << 20, 'A');
  loaded = load_config(file);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_TRUE(loaded.error()[0].message.ends_with("does not hold one key of 44 base64 characters"));

  std::ofstream(key) << "  \r\n" << test::key_text(5) << "  \r\n\r\n";
  EXPECT_TRUE(load_config(file).has_value());

  fs::remove(key);
  loaded = load_config(file);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_TRUE(loaded.error()[0].message.ends_with("cannot be opened: No such file or directory"));

  // A pipe without a writer must not make the loader wait.
  ASSERT_EQ(::mkfifo(key.c_str(), 0600), 0);
  loaded = load_config(file);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_TRUE(loaded.error()[0].message.ends_with("is no regular file"));
}

TEST_F(Examples, AnInlineKeyInAnOpenFileIsWarnedOf) {
  const fs::path file = folder_ / "lab.yaml";
  fs::permissions(file, fs::perms::others_read, fs::perm_options::add);
  const auto loaded = load_config(file);
  ASSERT_TRUE(loaded.has_value());
  ASSERT_EQ(loaded->warnings.size(), 1u);
  EXPECT_EQ(to_string(loaded->warnings[0]),
            file.string() + ":" + std::to_string(line_of(file, "private_key: ")) +
                ":18: a secret key stands in a file that all users may read; chmod 600 closes it");
}

}  // namespace
}  // namespace turnpike::config

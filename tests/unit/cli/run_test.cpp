#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "config/load.h"
#include "control/cli/answer_text.h"
#include "control/cli/commands.h"
#include "control/cli/environment.h"
#include "control/cli/table.h"
#include "control/cli/watch.h"
#include "dataplane/base/text.h"
#include "dataplane/crypto/x25519.h"
#include "tests/unit/api/live_server.h"

namespace turnpike::cli {
namespace {

class Turnpike : public testing::Test {
 protected:
  int run(std::vector<std::string> arguments, const std::string& input = "") {
    std::istringstream in(input);
    std::ostringstream out, err;
    Environment environment{.in = in,
                            .out = out,
                            .err = err,
                            .width = width_,
                            .now_seconds = 1'767'225'630,
                            .socket = socket_};
    const int status = cli::run(arguments, environment);
    out_ = out.str();
    err_ = err.str();
    return status;
  }

  api::LiveServer server_;
  std::string socket_ = server_.path();
  size_t width_ = 0;
  std::string out_, err_;
};

TEST_F(Turnpike, ShowsTablesThatFitTheTerminal) {
  ASSERT_EQ(run({"show"}), kDone) << err_;
  for (const char* piece : {"generation 2", "wg0", "alice", "198.51.100.7:51820", "30 s ago",
                            "1.9 MiB", "fd00:8::2/128, 10.8.0.2/32", "02:00:00:00:00:01", "25 %",
                            "812", "no_allowed_ip", "never"}) {
    EXPECT_NE(out_.find(piece), std::string::npos) << piece << "\n" << out_;
  }
  // A worker on NUMA node 1, and one of which no node is known.
  ASSERT_EQ(run({"show", "workers"}), kDone);
  EXPECT_TRUE(std::regex_search(out_, std::regex(R"(LCORE +NODE +GENERATION)"))) << out_;
  EXPECT_TRUE(std::regex_search(out_, std::regex(R"(\b1 +1 +2 +25 %)"))) << out_;
  EXPECT_TRUE(std::regex_search(out_, std::regex(R"(\b2 +- +2 +0 %)"))) << out_;
  width_ = 80;
  ASSERT_EQ(run({"show", "peers"}), kDone);
  std::istringstream lines(out_);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(display_width(line), 80u) << line;
  EXPECT_NE(out_.find("\xe2\x80\xa6"), std::string::npos);
  EXPECT_EQ(out_.find("\x1b"), std::string::npos);  // no colours unless asked for
  EXPECT_EQ(run({"show", "peers", "--tunnel", "wg9"}), kError);
  EXPECT_NE(err_.find("there is no tunnel wg9"), std::string::npos);
}

TEST_F(Turnpike, ShowsJsonAsTheDaemonSaysIt) {
  ASSERT_EQ(run({"show", "--json"}), kDone);
  EXPECT_EQ(nlohmann::json::parse(out_).at("peers").size(), 3u);
  ASSERT_EQ(run({"owner", "wg0", "10.8.0.3", "--json"}), kDone);
  EXPECT_EQ(nlohmann::json::parse(out_).at("peer"), "bob");
}

TEST_F(Turnpike, ShowsATunnelWithoutAKeyAsOne) {
  ASSERT_EQ(run({"show", "tunnels", "--json"}), kDone);
  EXPECT_TRUE(nlohmann::json::parse(out_).at("tunnels").at(0).at("public_key").is_string());
  server_.on_thread([&] {
    auto tunnel = std::make_shared<state::Tunnel>(server_.backend.state().tunnel(0));
    tunnel->private_key = {};
    tunnel->public_key = {};
    server_.backend.apply({{.op = state::Op::TunnelSet, .tunnel = "wg0", .new_tunnel = tunnel}});
  });
  ASSERT_EQ(run({"show", "tunnels", "--json"}), kDone);
  EXPECT_TRUE(nlohmann::json::parse(out_).at("tunnels").at(0).at("public_key").is_null());
  ASSERT_EQ(run({"show", "tunnels"}), kDone);
  EXPECT_TRUE(out_.ends_with(" (none)\n")) << out_;
}

TEST_F(Turnpike, SaysWhoOwnsWhat) {
  EXPECT_EQ(run({"owner", "wg0", "10.8.0.3"}), kDone);
  EXPECT_EQ(out_, "bob owns 10.8.0.3/32 in wg0\n");
  EXPECT_EQ(run({"owner", "wg0", "10.8.0.0/24"}), kDone);
  EXPECT_EQ(out_, "nobody owns 10.8.0.0/24 in wg0\n");
  EXPECT_EQ(run({"owner", "wg0", "10.8.0.3/24"}), kError);
  EXPECT_NE(err_.find("did you mean 10.8.0.0/24?"), std::string::npos);
}

TEST_F(Turnpike, RefusesWithTheCommandThatMoves) {
  EXPECT_EQ(run({"ips", "claim", "wg0", "bob", "10.8.0.2/32", "10.9.0.0/16"}), kRefused);
  EXPECT_EQ(err_,
            "refused, nothing was changed:\n"
            "  10.8.0.2/32 in wg0 is owned by alice\n"
            "to move it from alice to bob:\n"
            "  turnpike ips move wg0 --from alice --to bob 10.8.0.2/32\n");
  // And that command does it.
  EXPECT_EQ(run({"ips", "move", "wg0", "--from", "alice", "--to", "bob", "10.8.0.2/32"}), kDone);
  EXPECT_EQ(out_, "committed as generation 3\n");
  EXPECT_EQ(run({"owner", "wg0", "10.8.0.2"}), kDone);
  EXPECT_EQ(out_, "bob owns 10.8.0.2/32 in wg0\n");
  EXPECT_EQ(run({"ips", "claim", "wg0", "alice", "10.8.0.2/32", "--json"}), kRefused);
  EXPECT_EQ(nlohmann::json::parse(out_).at("conflicts").at(0).at("owner"), "bob");
}

TEST_F(Turnpike, SaysThatAPeerHasToBeThereBeforeSomethingIsMovedToIt) {
  const std::string key = api::test_key_text(9);
  EXPECT_EQ(run({"peer", "add", "wg0", "carol", "--public-key", key, "--allowed-ips",
                 "10.8.0.2/32,10.9.0.0/16"}),
            kRefused);
  EXPECT_EQ(err_,
            "refused, nothing was changed:\n"
            "  10.8.0.2/32 in wg0 is owned by alice\n"
            "to move it from alice to carol, add carol without it, then:\n"
            "  turnpike ips move wg0 --from alice --to carol 10.8.0.2/32\n");
  EXPECT_EQ(
      run({"peer", "add", "wg0", "carol", "--public-key", key, "--allowed-ips", "10.9.0.0/16"}),
      kDone);
  EXPECT_EQ(run({"ips", "move", "wg0", "--from", "alice", "--to", "carol", "10.8.0.2/32"}), kDone);
}

TEST_F(Turnpike, ClaimsReleasesReplaces) {
  EXPECT_EQ(run({"ips", "claim", "wg0", api::test_key_text(3), "10.9.0.0/16", "fd00:9::/64"}),
            kDone);
  EXPECT_EQ(run({"ips", "claim", "wg0", api::test_key_text(3), "10.9.0.0/16"}), kDone);
  EXPECT_NE(out_.find("all is so already"), std::string::npos);
  EXPECT_EQ(run({"ips", "release", "wg0", api::test_key_text(3), "10.9.0.0/16"}), kDone);
  EXPECT_EQ(run({"ips", "release", "wg0", api::test_key_text(3), "10.9.0.0/16"}), kRefused);
  EXPECT_NE(err_.find("not owned by"), std::string::npos);
  EXPECT_EQ(run({"ips", "replace", "wg0", "alice"}), kDone);
  EXPECT_EQ(run({"owner", "wg0", "10.8.0.2"}), kDone);
  EXPECT_EQ(out_, "nobody owns 10.8.0.2/32 in wg0\n");
}

TEST_F(Turnpike, AddsSetsAndRemovesPeers) {
  EXPECT_EQ(
      run({"peer", "add", "wg0", "carol", "--public-key", api::test_key_text(9), "--allowed-ips",
           "10.9.0.0/16,10.10.0.0/16", "--persistent-keepalive", "25", "--preshared-key-file", "-"},
          api::test_key_text(77) + "\n"),
      kDone)
      << err_;
  EXPECT_EQ(run({"owner", "wg0", "10.10.1.1"}), kDone);
  EXPECT_EQ(out_, "carol owns 10.10.0.0/16 in wg0\n");
  server_.on_thread([&] {
    const auto& state = server_.backend.state();
    EXPECT_EQ(state.peer(state.find_peer(0, api::test_key(9))).preshared_key.bytes()[0], 77);
  });
  EXPECT_EQ(run({"peer", "set", "wg0", "carol", "--enabled", "false", "--endpoint", "192.0.2.1:5",
                 "--comment", "off & away"}),
            kDone)
      << err_;
  server_.on_thread([&] { EXPECT_EQ(server_.backend.last_comment, "off & away"); });
  EXPECT_EQ(run({"show", "peers"}), kDone);
  EXPECT_NE(out_.find("(disabled)"), std::string::npos);
  EXPECT_EQ(run({"peer", "remove", "wg0", "carol", "--dry-run"}), kDone);
  EXPECT_NE(out_.find("would be committed"), std::string::npos);
  EXPECT_EQ(run({"peer", "remove", "wg0", "carol", "--if-generation", "1"}), kStale);
  EXPECT_NE(err_.find("generation 4 by now"), std::string::npos) << err_;
  EXPECT_EQ(run({"peer", "remove", "wg0", "carol", "--if-generation", "4"}), kDone);
  EXPECT_EQ(run({"peer", "remove", "wg0", "carol"}), kRefused);
  EXPECT_NE(err_.find("there is no peer carol in wg0"), std::string::npos);
}

TEST_F(Turnpike, AppliesDocumentsFromFilesAndFromStandardInput) {
  const std::string yaml =
      "edits:\n  - {op: claim, tunnel: wg0, peer: bob, prefixes: [10.8.0.2/32]}\n"
      "  - {op: peer_remove, tunnel: wg0, peer: alice}\n";
  EXPECT_EQ(run({"apply", "-"}, yaml), kDone) << err_;
  const std::string file = server_.directory() + "/document.json";
  std::ofstream(file)
      << R"(  {"edits":[{"op":"claim","tunnel":"wg0","peer":"bob","prefixes":["10.0.0.1/8"]}]})";
  EXPECT_EQ(run({"apply", file}), kError);
  EXPECT_NE(
      err_.find("/edits/0/prefixes/0: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?"),
      std::string::npos)
      << err_;
  EXPECT_EQ(run({"apply", "/nonexistent"}), kError);
}

TEST_F(Turnpike, TellsUsageFromErrors) {
  EXPECT_EQ(run({}), kUsage);
  EXPECT_EQ(run({"frobnicate"}), kUsage);
  EXPECT_NE(err_.find("no command \"frobnicate\"; there are check, show,"), std::string::npos)
      << err_;
  EXPECT_EQ(run({"shwo", "peers"}), kUsage);
  EXPECT_NE(err_.find("did you mean show?"), std::string::npos) << err_;
  EXPECT_EQ(run({"ips", "clain", "wg0", "bob"}), kUsage);
  EXPECT_NE(err_.find("\"ips clain\"; did you mean ips claim?"), std::string::npos) << err_;
  EXPECT_EQ(run({"show", "sheep"}), kUsage);
  EXPECT_EQ(run({"ips", "claim", "wg0"}), kUsage);
  EXPECT_EQ(err_,
            "turnpike ips claim: PEER is required\nExample:\n"
            "  turnpike ips claim wg0 alice 10.8.0.2/32 fd00:8::2/128\n"
            "More: turnpike ips claim --help\n");
  EXPECT_EQ(run({"peer", "remove", "wg0", "bob", "--confirm", "soon"}), kUsage);
  EXPECT_EQ(run({"show", "--help"}), kDone);
  EXPECT_NE(out_.find("Example:"), std::string::npos);
  socket_ = "/nonexistent.sock";
  EXPECT_EQ(run({"show"}), kError);
  EXPECT_NE(err_.find("no daemon is listening at /nonexistent.sock"), std::string::npos);
  EXPECT_EQ(run({"show", "drops", "--socket", server_.path()}), kDone);
}

TEST_F(Turnpike, SaysOfADirectoryThatItIsNoFileToRead) {
  const std::string directory = server_.directory();
  EXPECT_EQ(run({"apply", directory}), kError);
  EXPECT_EQ(err_, "turnpike: " + directory + ": cannot be read: Is a directory\n");
  EXPECT_EQ(run({"peer", "set", "wg0", "bob", "--preshared-key-file", directory}), kError);
  EXPECT_EQ(err_, "turnpike: " + directory + ": cannot be read: Is a directory\n");
  EXPECT_EQ(run({"import", directory}), kError);
  EXPECT_EQ(err_, "turnpike: " + directory + ": cannot be read: Is a directory\n");
  EXPECT_EQ(run({"apply", directory + "/none"}), kError);
  EXPECT_EQ(err_, "turnpike: " + directory + "/none: cannot be read: No such file or directory\n");
  EXPECT_EQ(run({"apply", "-"}, "[]"), kError);
  EXPECT_EQ(err_,
            "turnpike: the document is not right; nothing was changed\n"
            "  the document must be an object with \"edits\"\n");
}

TEST_F(Turnpike, ChecksConfigurationsWithoutADaemon) {
  socket_ = "/nonexistent.sock";
  const std::string file = server_.directory() + "/bad.yaml";
  std::ofstream(file) << "tunnels: 5\n";
  EXPECT_EQ(run({"check", file}), kError);
  EXPECT_NE(err_.find(file + ":1:"), std::string::npos) << err_;
  EXPECT_EQ(run({"check", file, "--json"}), kError);
  const auto tree = nlohmann::json::parse(out_);
  EXPECT_FALSE(tree.at("valid").get<bool>());
  EXPECT_EQ(tree.at("mistakes").at(0).at("line"), 1);
  EXPECT_EQ(run({"check", "/nonexistent.yaml"}), kError);
}

TEST_F(Turnpike, FindsATunnelsOwnKeyAmongItsPeersBesideOtherMistakes) {
  PrivateKey key;
  key.bytes()[0] = 8;
  const std::string file = server_.directory() + "/own.yaml";
  std::ofstream(file) << "ports:\n"
                         "  - {name: a, device: net_null0, addresses: [192.0.2.1/24]}\n"
                         "  - {name: b, device: net_null1, addresses: [10.0.0.1/24]}\n"
                         "tunnels:\n"
                         "  - name: wg0\n"
                         "    private_key: "
                      << base::key_to_base64(key.bytes())
                      << "\n"
                         "    listen_port: 51820\n"
                         "    outside: a\n"
                         "    inside: c\n"
                         "    peers:\n"
                         "      - public_key: "
                      << base::key_to_base64(crypto::public_key(key).bytes) << "\n";
  EXPECT_EQ(run({"check", file}), kError);
  EXPECT_EQ(err_, file +
                      ":9:13: tunnels[0].inside: there is no port 'c'; a name under 'ports' is "
                      "expected\n" +
                      file +
                      ":11:21: tunnels[0].peers[0].public_key: this is the tunnel's own key; that "
                      "of the machine at the other end is expected\n");
}

TEST_F(Turnpike, ShowsTheHistoryWithWhoAndWhatWaits) {
  api::FakeBackend& backend = server_.backend;
  backend.history_answer =
      api::History{.generation = 42,
                   .commits = {{.generation = 42,
                                .at = {1'767'225'600'000'000'000},
                                .uid = 1000,
                                .pid = 4711,
                                .cause = store::Cause::Api,
                                .peers = 1,
                                .prefixes = 2,
                                .comment = "hand-over"},
                               {.generation = 41, .cause = store::Cause::File, .comment = "start"}},
                   .unconfirmed = {{42, 17}}};
  ASSERT_EQ(run({"history"}), kDone) << err_;
  for (const char* piece : {"42", "2026-01-01T00:00:00Z", "api", "1000", "4711",
                            "(undone in 17 s unless confirmed) hand-over", "file", "start"}) {
    EXPECT_NE(out_.find(piece), std::string::npos) << piece << "\n" << out_;
  }
  ASSERT_EQ(run({"history", "--json"}), kDone);
  const auto tree = nlohmann::json::parse(out_);
  EXPECT_EQ(tree.at("history").at(0).at("unconfirmed_seconds"), 17);
  EXPECT_TRUE(tree.at("history").at(1).at("unconfirmed_seconds").is_null());
  backend.history_answer = api::History{};
  ASSERT_EQ(run({"history"}), kDone);
  EXPECT_EQ(out_, "nothing was committed yet\n");
}

TEST_F(Turnpike, RollsBackAndConfirms) {
  api::FakeBackend& backend = server_.backend;
  backend.rollback_answer = api::CommitAnswer(api::Committed{.generation = 43});
  ASSERT_EQ(run({"rollback", "41", "--confirm", "1m", "--comment", "too soon"}), kDone) << err_;
  EXPECT_EQ(backend.last_generation, 41u);
  EXPECT_EQ(backend.last_options.confirm, Duration(60s));
  EXPECT_EQ(backend.last_comment, "too soon");
  EXPECT_NE(out_.find("43"), std::string::npos) << out_;
  backend.rollback_answer = api::NotFound{.what = "the history has no generation 7"};
  EXPECT_EQ(run({"rollback", "7"}), kError);
  EXPECT_NE(err_.find("the history has no generation 7"), std::string::npos) << err_;
  EXPECT_EQ(run({"rollback"}), kUsage);

  backend.confirm_answer = api::Confirmed{.generations = {43}};
  ASSERT_EQ(run({"confirm"}), kDone) << err_;
  EXPECT_EQ(out_, "generation 43 is confirmed\n");
  EXPECT_FALSE(backend.last_generation.has_value());
  backend.confirm_answer = api::NotFound{.what = "nothing awaits confirmation"};
  EXPECT_EQ(run({"confirm", "43"}), kError);
  EXPECT_EQ(backend.last_generation, 43u);
  EXPECT_EQ(err_, "turnpike: nothing awaits confirmation\n");
}

TEST_F(Turnpike, ReloadsAndSaysWhyNot) {
  server_.on_thread([&] {
    server_.backend.file_answer = api::Committed{.generation = 9, .warnings = {"f.yaml:3:1: x"}};
  });
  EXPECT_EQ(run({"reload", "--comment", "why"}), kDone);
  EXPECT_EQ(out_, "committed as generation 9\nwarning: f.yaml:3:1: x\n");
  server_.on_thread([&] {
    EXPECT_EQ(server_.backend.last_comment, "why");
    server_.backend.file_answer = api::FileMistakes{{{.file = "f.yaml",
                                                      .line = 2,
                                                      .column = 3,
                                                      .path = "control.state",
                                                      .message = "restart needed: x"}}};
  });
  EXPECT_EQ(run({"reload"}), kError);
  EXPECT_EQ(err_,
            "turnpike: the file cannot be applied; nothing was changed\n"
            "  f.yaml:2:3: control.state: restart needed: x\n");
  server_.on_thread([&] {
    server_.backend.file_answer = api::FileConflicts{
        {.conflicts = {{.kind = state::ConflictKind::OwnedByAnother,
                        .owner = "alice",
                        .peer = "bob"}}},
        {{.file = "f.yaml", .line = 7, .column = 1, .path = "tunnel wg0", .message = "taken"}}};
  });
  EXPECT_EQ(run({"reload"}), kRefused);
  EXPECT_NE(err_.find("f.yaml:7:1: tunnel wg0: taken"), std::string::npos) << err_;
  EXPECT_EQ(run({"diff", "f.yaml"}), kDone);  // the daemon is asked for an absolute path
}

TEST_F(Turnpike, ShowsWhatAReloadWouldDo) {
  gateway::FileDiff diff{.generation = 5, .changed = true};
  diff.peers = {{.kind = gateway::DiffKind::Removed, .tunnel = "wg0", .peer = "alice"}};
  diff.prefixes = {
      {.tunnel = "wg0", .prefix = *parse_prefix("10.8.0.2/32"), .from = "alice", .to = "bob"}};
  diff.sessions = {{.tunnel = "wg0", .peer = "alice", .ends = true, .why = "the peer is removed"}};
  diff.nested = {"nested"};
  server_.on_thread([&] { server_.backend.diff_answer = diff; });
  EXPECT_EQ(run({"diff", "some/../f.yaml"}), kDone) << err_;
  for (const char* piece :
       {"at generation 5", "alice  removed", "moved  alice  bob", "ends", "warning: nested"}) {
    EXPECT_NE(out_.find(piece), std::string::npos) << piece << "\n" << out_;
  }
  server_.on_thread([&] {
    EXPECT_TRUE(server_.backend.last_path.starts_with("/")) << server_.backend.last_path;
    EXPECT_TRUE(server_.backend.last_path.ends_with("/f.yaml"));
    EXPECT_EQ(server_.backend.last_path.find(".."), std::string::npos);
  });
}

TEST_F(Turnpike, ImportsWhatWgQuickHasAndSaysWhatItLeavesOut) {
  socket_ = "/nonexistent.sock";
  const std::string file = server_.directory() + "/home.conf", keys = server_.directory() + "/keys";
  std::ofstream(file) << "[Interface]\nPrivateKey = " << api::test_key_text(5)
                      << "\nAddress = 10.8.0.1/24\nListenPort = 51820\nDNS = 9.9.9.9\n"
                         "[Peer]\nPublicKey = "
                      << api::test_key_text(6) << "\nPresharedKey = " << api::test_key_text(7)
                      << "\nAllowedIPs = 10.8.0.2/32\n";
  EXPECT_EQ(run({"import", file, "--secrets", keys}), kDone) << err_;
  EXPECT_NE(err_.find(":5:7: DNS is left out"), std::string::npos) << err_;
  EXPECT_EQ(out_.find(api::test_key_text(5)), std::string::npos);
  const std::string yaml = server_.directory() + "/home.yaml";
  std::ofstream(yaml) << out_;
  const auto loaded = config::load_config(yaml);
  ASSERT_TRUE(loaded) << config::to_string(loaded.error().front());
  EXPECT_EQ(loaded->tunnels[0].name, "home");
  EXPECT_EQ(loaded->tunnels[0].private_key.bytes()[0], 5);
  EXPECT_EQ(loaded->tunnels[0].peers[0].preshared_key->bytes()[0], 7);
  for (const auto& entry : std::filesystem::directory_iterator(keys)) {
    EXPECT_EQ(entry.status().permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  EXPECT_EQ(run({"import", file, "--secrets", keys}), kError);  // never over a key that is there
  EXPECT_NE(err_.find("File exists"), std::string::npos) << err_;
  EXPECT_EQ(run({"import", "/nonexistent.conf"}), kError);
}

TEST_F(Turnpike, ImportsKeysIntoAnyDirectoryThatAConfigurationCanName) {
  const std::string file = server_.directory() + "/wg0.conf";
  std::ofstream(file) << "[Interface]\nPrivateKey = " << api::test_key_text(5)
                      << "\nListenPort = 51820\n[Peer]\nPublicKey = " << api::test_key_text(6)
                      << "\nPresharedKey = " << api::test_key_text(7) << "\n";
  const std::string yaml = server_.directory() + "/elsewhere/turnpike.yaml";
  std::filesystem::create_directory(server_.directory() + "/elsewhere");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(server_.directory());  // relative to it, wherever the file goes
  for (const char* keys : {"keys/", "two words", "#no comment", "'q' \"uo\" \\te", "a: b", "- [x]",
                           "~", "true", "\xc3\xa4", " lead and trail ", "./a/../b"}) {
    std::filesystem::create_directory(server_.directory() + "/a");
    ASSERT_EQ(run({"import", file, "--secrets", keys}), kDone) << keys << ": " << err_;
    std::ofstream(yaml) << out_;
    const auto loaded = config::load_config(yaml);
    ASSERT_TRUE(loaded) << keys << ": " << config::to_string(loaded.error().front());
    EXPECT_EQ(loaded->tunnels[0].peers[0].preshared_key->bytes()[0], 7);
  }
  for (const char* keys : {"k\xff", "new\nline", "tab\t", "\x01", "\xed\xa0\x80"}) {
    EXPECT_EQ(run({"import", file, "--secrets", keys}), kError) << out_;
    EXPECT_NE(err_.find("a configuration cannot name this directory"), std::string::npos) << err_;
    EXPECT_EQ(out_, "");
    EXPECT_FALSE(std::filesystem::exists(keys)) << err_;
    EXPECT_EQ(run({"export", "--secrets", keys}), kError) << out_;
    EXPECT_NE(err_.find("a configuration cannot name this directory"), std::string::npos) << err_;
    EXPECT_FALSE(std::filesystem::exists(keys)) << err_;
  }
  std::filesystem::current_path(before);
}

TEST_F(Turnpike, ADirectoryOfKeysBelowAWorkingDirectoryThatIsGoneIsAnError) {
  const std::string file = server_.directory() + "/wg0.conf", gone = server_.directory() + "/gone";
  std::ofstream(file) << "[Interface]\nPrivateKey = " << api::test_key_text(5) << "\n";
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::create_directory(gone);
  std::filesystem::current_path(gone);
  std::filesystem::remove(gone);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"import", file, "--secrets", "keys"},
        std::vector<std::string>{"export", "--secrets", "keys"}}) {
    EXPECT_EQ(run(words), kError) << out_;
    EXPECT_NE(err_.find("keys: No such file or directory"), std::string::npos) << err_;
    EXPECT_EQ(out_, "");
  }
  const std::string keys = server_.directory() + "/keys";
  EXPECT_EQ(run({"import", file, "--secrets", keys}), kDone) << err_;
  EXPECT_EQ(run({"export", "--secrets", keys, "--output", "turnpike.yaml"}), kError) << out_;
  EXPECT_NE(err_.find("turnpike.yaml: No such file or directory"), std::string::npos) << err_;
  std::filesystem::current_path(before);
}

TEST_F(Turnpike, ImportMakesNothingOfWhatWouldNotLoad) {
  const std::string file = server_.directory() + "/the office.conf",
                    keys = server_.directory() + "/keys";
  std::ofstream(file) << "[Interface]\nPrivateKey = " << api::test_key_text(5)
                      << "\nListenPort = 51820\n";
  EXPECT_EQ(run({"import", file, "--secrets", keys}), kError);
  EXPECT_NE(err_.find("'the office' is no good name"), std::string::npos) << err_;
  EXPECT_FALSE(std::filesystem::exists(keys));
  EXPECT_EQ(run({"import", file, "--tunnel", "office", "--secrets", keys}), kDone) << err_;
}

TEST_F(Turnpike, TopPrintsRatesOfEachRound) {
  EXPECT_EQ(run({"top", "--rounds", "1", "--json"}), kDone) << err_;
  EXPECT_EQ(nlohmann::json::parse(out_).at("peers").size(), 3u);
  EXPECT_EQ(run({"top", "--rounds", "1"}), kDone);
  EXPECT_NE(out_.find("3 peers"), std::string::npos) << out_;
  EXPECT_EQ(out_.find('\x1b'), std::string::npos);  // no terminal
}

TEST(Watch, WritesALineForAPerson) {
  EXPECT_EQ(event_text(R"({"event":"committed","generation":4,"time":"2026-01-01T00:00:00Z"})"),
            "2026-01-01T00:00:00Z  committed  generation=4\n");
  EXPECT_EQ(event_text("nonsense"), "nonsense\n");
}

TEST(Table, ShrinksTheWidestColumnThatMay) {
  Table table({{.title = "A"}, {.title = "B", .shrinks_to = 5}, {.title = "N", .right = true}});
  table.add({"alpha", "0123456789abcdef", "7"});
  table.add({"b", "\xc3\xa4\xc3\xb6\xc3\xbc", "12345"});
  EXPECT_EQ(table.text(0, false),
            "A      B                     N\n"
            "alpha  0123456789abcdef      7\n"
            "b      \xc3\xa4\xc3\xb6\xc3\xbc               12345\n");
  EXPECT_EQ(table.text(22, false),
            "A      B             N\n"
            "alpha  0123456\xe2\x80\xa6      7\n"
            "b      \xc3\xa4\xc3\xb6\xc3\xbc       12345\n");
  EXPECT_NE(table.text(3, false).find("0123\xe2\x80\xa6"), std::string::npos);
}

TEST(Table, LetsNoCellWriteToTheTerminalWhatItLikes) {
  Table table({{.title = "NAME"}, {.title = "COMMENT"}});
  table.add({"a", "one\ntwo\x1b[31m\x7f \xc3\xa9"});
  table.add({"b", "\xc2\x9b\x33\x31m\xc2\xa9"});  // U+009B does what ESC [ does
  EXPECT_EQ(table.text(0, false),
            "NAME  COMMENT\na     one two [31m  \xc3\xa9\nb      31m\xc2\xa9\n");
}

TEST(Events, WriteNothingToTheTerminalThatItActsOn) {
  EXPECT_EQ(event_text(R"({"event":"committed","comment":"a\u001b[2J\nb\u009b2J\u00e4"})"),
            "                      committed  comment=a [2J b 2J\xc3\xa4\n");
}

TEST(Answers, WriteNothingToTheTerminalThatItActsOn) {
  EXPECT_EQ(problem_text({.status = 404, .body = R"({"detail":"no tunnel \u001b[2J\u009b2J"})"}),
            "no tunnel  [2J 2J");
  EXPECT_EQ(commit_text({.status = 200,
                         .body = R"({"committed":true,"generation":2,"warnings":["\u009b2J"]})"}),
            "committed as generation 2\nwarning:  2J\n");
}

TEST(Human, SizesAgesAndDurations) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(~uint64_t{0}), "16.0 EiB");
  EXPECT_EQ(human_age(119), "119 s");
  EXPECT_EQ(human_age(120), "2 min");
  EXPECT_EQ(human_age(86'400 * 3), "3 d");
  EXPECT_EQ(parse_duration("90"), 90u);
  EXPECT_EQ(parse_duration("5m"), 300u);
  EXPECT_EQ(parse_duration("24h"), 86'400u);
  for (const char* bad : {"", "s", "0", "25h", "-1", "1d", "1 m"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

}  // namespace
}  // namespace turnpike::cli

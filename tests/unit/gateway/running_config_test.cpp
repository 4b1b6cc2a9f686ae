#include "control/gateway/running_config.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "config/value.h"
#include "control/gateway/file_diff.h"
#include "control/gateway/file_overrides.h"
#include "control/gateway/file_transaction.h"
#include "tests/unit/gateway/files.h"
#include "tests/unit/gone_directory.h"

namespace turnpike::gateway {
namespace {

using state::Edit;
using state::Op;

// A gateway with the file of three peers, of whom alice has a preshared key; both keys come from files.
class RunningConfigTest : public testing::Test {
 protected:
  RunningConfigTest() {
    file_.tunnels[0].peers[0].preshared_key.emplace();
    file_.tunnels[0].peers[0].preshared_key->bytes()[0] = 7;
    file_.secret_files = {{.tunnel = 0, .peer = {}, .path = "/etc/turnpike/wg0.key"},
                          {.tunnel = 0, .peer = test::key(1), .index = 0, .path = "keys/a.psk"}};
    file_.control.socket = "run/c.sock";
    file_.ports[1].spread = config::SpreadPolicy::Always;
    apply(difference(config::Config{}, file_).transaction.edits);
  }

  void apply(std::vector<Edit> edits) {
    const auto change = state::plan(state_, {.edits = std::move(edits)});
    ASSERT_TRUE(change) << state::describe(change.error().conflicts.front());
    state_.apply(*change);
  }
  void set_peer(uint8_t number, state::PeerPatch patch) {
    apply({{.op = Op::PeerSet, .tunnel = "wg0", .peer = test::key(number), .patch = patch}});
  }
  RunningConfig running() {
    return running_config(state_, topology_of(topology_file_.value_or(file_), {{}, {}}), file_,
                          file_);
  }

  config::Config file_ = test::three_peers();
  std::optional<config::Config> topology_file_;
  state::State state_;
};

TEST_F(RunningConfigTest, IsTheFileWhereNothingWasEdited) {
  const RunningConfig running = this->running();
  EXPECT_TRUE(running.config.tunnels == file_.tunnels);
  EXPECT_TRUE(running.config.ports == file_.ports);
  EXPECT_TRUE(running.config.dataplane == file_.dataplane);
  EXPECT_EQ(running.generation, state_.generation());
  EXPECT_TRUE(running.notes.empty());
  EXPECT_EQ(running.config.control.socket, std::filesystem::absolute("run/c.sock").string());
}

TEST_F(RunningConfigTest, LeavesPathsRelativeWhereTheWorkingDirectoryIsGoneAndSaysSo) {
  const turnpike::test::GoneDirectory gone;
  const RunningConfig running = this->running();
  EXPECT_EQ(running.config.control.socket, "run/c.sock");
  ASSERT_EQ(running.notes.size(), 1u);
  EXPECT_EQ(running.notes[0].find("the path run/c.sock and other relative ones are left so: "), 0u)
      << running.notes[0];
}

TEST_F(RunningConfigTest, NamesTheFilesOfKeysThatAreStillTheirs) {
  RunningConfig running = this->running();
  EXPECT_EQ(running.keys_without_file, 0u);
  ASSERT_NE(config::find_secret_file(running.config, 0), nullptr);
  EXPECT_EQ(config::find_secret_file(running.config, 0)->path, "/etc/turnpike/wg0.key");
  EXPECT_EQ(config::find_secret_file(running.config, 0, test::key(1))->path,
            std::filesystem::absolute("keys/a.psk").string());

  // Another key than the file's, and a key where it has none.
  PresharedKey other;
  other.bytes()[0] = 8;
  set_peer(1, {.preshared_key = other});
  set_peer(2, {.preshared_key = other});
  auto tunnel = std::make_shared<state::Tunnel>(state_.tunnel(0));
  tunnel->private_key.bytes()[5] = 99;
  tunnel->public_key = crypto::public_key(tunnel->private_key);
  apply({{.op = Op::TunnelSet, .tunnel = "wg0", .new_tunnel = tunnel}});
  running = this->running();
  EXPECT_EQ(running.keys_without_file, 3u);
  EXPECT_EQ(running.named_without_file,
            (std::vector<std::string>{"tunnel wg0", "peer alice", "peer bob"}));
  EXPECT_TRUE(running.config.secret_files.empty());
  EXPECT_TRUE(running.config.tunnels[0].private_key == tunnel->private_key);
}

TEST_F(RunningConfigTest, SaysWhatAConfigurationCannot) {
  set_peer(1, {.name = "-alice"});
  set_peer(2, {.description = "a\x01z\xff"});
  set_peer(3, {.endpoint = *parse_endpoint("224.0.0.1:1")});
  auto tunnel = std::make_shared<state::Tunnel>(state_.tunnel(0));
  tunnel->listen_port = 0;
  tunnel->fwmark = 3;
  tunnel->private_key = {};
  apply({{.op = Op::TunnelSet, .tunnel = "wg0", .new_tunnel = tunnel}});
  const RunningConfig running = this->running();
  const config::Tunnel& made = running.config.tunnels[0];
  EXPECT_EQ(made.peers[0].name, "");
  EXPECT_EQ(made.peers[1].description, "a z\xef\xbf\xbd");
  EXPECT_TRUE(made.peers[2].endpoint.is_none());
  std::string all;
  for (const std::string& note : running.notes) all += note + "\n";
  for (const char* piece :
       {"no listen_port", "fwmark", "no private key", "peer -alice of tunnel wg0: its name",
        "peer bob of tunnel wg0: control characters", "peer carol of tunnel wg0: its endpoint"}) {
    EXPECT_NE(all.find(piece), std::string::npos) << piece << "\n" << all;
  }
  EXPECT_EQ(running.notes.size(), 6u);
}

TEST_F(RunningConfigTest, SaysOfEachNameThatAFileDoesNotTakeWhatIsWrongWithIt) {
  const std::string key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  for (const auto& [name, why] :
       {std::pair(std::string("-x"), "begins with -"), std::pair(std::string("x "), "with a blank"),
        std::pair(std::string("a\x01z"), "control character"),
        std::pair(std::string(config::kMaxPeerNameBytes + 1, 'x'), "129 bytes long"),
        std::pair(key, "shaped like a key")}) {
    set_peer(1, {.name = name});
    const RunningConfig running = this->running();
    EXPECT_EQ(running.config.tunnels[0].peers[0].name, "");
    ASSERT_EQ(running.notes.size(), 1u) << name;
    EXPECT_NE(running.notes[0].find("its name is left out: "), std::string::npos);
    EXPECT_NE(running.notes[0].find(why), std::string::npos) << running.notes[0];
  }
}

TEST_F(RunningConfigTest, LeavesOutATunnelWithoutPorts) {
  topology_file_ = file_;
  topology_file_->tunnels.clear();
  const RunningConfig running = this->running();
  EXPECT_TRUE(running.config.tunnels.empty());
  ASSERT_EQ(running.notes.size(), 1u);
  EXPECT_NE(running.notes[0].find("tunnel wg0 is left out"), std::string::npos);
}

TEST_F(RunningConfigTest, NamesSomeOfManyAndCountsTheRest) {
  std::vector<Edit> edits;
  for (uint8_t i = 10; i < 110; ++i) {
    edits.push_back({.op = Op::PeerAdd,
                     .tunnel = "wg0",
                     .public_key = test::key(i),
                     .patch = state::PeerPatch{.endpoint = *parse_endpoint("224.0.0.1:1")}});
  }
  apply(std::move(edits));
  const RunningConfig running = this->running();
  EXPECT_EQ(running.notes.size(), RunningConfig::kNamedMax + 1);
  EXPECT_EQ(running.notes.back(), "and 80 more such peers");
}

TEST_F(RunningConfigTest, AsAFileChangesNothingAndTakesOverWhatWasMadeAtRunTime) {
  apply({{.op = Op::PeerAdd,
          .tunnel = "wg0",
          .public_key = test::key(9),
          .prefixes = {*parse_prefix("10.77.0.0/16")},
          .patch = state::PeerPatch{.name = "dave"}},
         {.op = Op::Move,
          .tunnel = "wg0",
          .peer = test::key(1),
          .to = test::key(2),
          .prefixes = {*parse_prefix("10.9.0.0/24")}},
         {.op = Op::PeerRemove, .tunnel = "wg0", .peer = test::key(3)}});
  set_peer(1, {.description = "moved out"});
  const config::Config exported = running().config;
  const Adapted adapted = adapt(difference(file_, exported), state_);
  const auto change = state::plan(state_, adapted.transaction.transaction);
  ASSERT_TRUE(change) << state::describe(change.error().conflicts.front());
  const FileDiff diff = diff_of(state_, *change, [](PeerId) { return true; });
  EXPECT_FALSE(diff.changed);
  EXPECT_TRUE(diff.peers.empty() && diff.prefixes.empty() && diff.sessions.empty());
  // dave, his prefix, and the one that was moved
  EXPECT_EQ(diff.taken_over, 3u);
}

}  // namespace
}  // namespace turnpike::gateway

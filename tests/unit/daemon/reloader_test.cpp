#include "control/daemon/reloader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/load.h"
#include "control/gateway/file_diff.h"
#include "control/state/plan.h"

namespace turnpike::daemon {
namespace {

constexpr const char* kHead = R"(
ports:
  - {name: outside, device: net_tap0, addresses: [192.0.2.1/24]}
  - {name: inside, device: net_tap1, addresses: [10.0.0.1/24]}
tunnels:
  - name: wg0
    private_key: aAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8=
    listen_port: 51820
    outside: outside
    inside: inside
    peers:
)";
constexpr const char* kAlice =
    "      - {name: alice, public_key: aXhQuhzulriNDAfrDvoN58yf6Hyo8VI99iztJ85WlkI=, "
    "allowed_ips: [10.8.0.2/32]}\n";
constexpr const char* kBob =
    "      - {name: bob, public_key: bXhQuhzulriNDAfrDvoN58yf6Hyo8VI99iztJ85WlkI=, "
    "allowed_ips: [10.8.0.3/32]}\n";

// What a daemon does with a file, with everything at once where the daemon waits; offloaded work can be held.
class Reloading : public testing::Test {
 protected:
  Reloading() {
    std::string name = (std::filesystem::temp_directory_path() / "turnpike-reload-XXXXXX").string();
    directory = ::mkdtemp(name.data());
    path = directory / "turnpike.yaml";
    write(std::string(kHead) + kAlice + kBob);
    auto loaded = config::load_config(path);
    EXPECT_TRUE(loaded) << config::to_string(loaded.error().front());
    auto first = std::make_shared<const config::Config>(std::move(*loaded));
    topology = gateway::topology_of(*first, std::vector<MacAddress>(2));
    apply(gateway::difference(config::Config{}, *first).transaction);
    reloader = std::make_unique<Reloader>(
        Reloader::Parts{.path = path.string(),
                        .started = first,
                        .applied = first,
                        .macs = std::vector<MacAddress>(2),
                        .has_session = [](PeerId) { return true; },
                        .offload =
                            [this](std::function<void()> work, std::function<void()> done) {
                              if (!hold) {
                                work();
                                return done();
                              }
                              held.push_back([work, done] {
                                work();
                                done();
                              });
                            },
                        .later =
                            [this](std::function<void(const state::State&)> call) {
                              ++slices;
                              call(state);
                            },
                        .commit =
                            [this](FileCommit file, const api::CommitOptions& options,
                                   std::function<void(api::CommitAnswer)> answer) {
                              auto change = state::plan(state, file.make(state));
                              if (!change) return answer(std::move(change.error()));
                              change->topology = file.topology != topology;
                              if (file.judged) file.judged(state, *change);
                              api::Committed committed{.changed = !change->empty()};
                              if (!options.dry_run) {
                                topology = file.topology;
                                state.apply(*change);
                              }
                              committed.generation = state.generation();
                              answer(committed);
                            }});
  }
  ~Reloading() override { std::filesystem::remove_all(directory); }

  // Keys stand in it: readable by all, it would be warned of.
  void write(const std::string& text) {
    std::ofstream(path) << text;
    std::filesystem::permissions(
        path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  void apply(const state::Transaction& transaction) {
    const auto change = state::plan(state, transaction);
    ASSERT_TRUE(change) << state::describe(change.error().conflicts.front());
    state.apply(*change);
  }
  void move(const char* from, const char* to) {
    apply({.edits = {{.op = state::Op::Move,
                      .tunnel = "wg0",
                      .peer = std::string(from),
                      .to = std::string(to),
                      .prefixes = {*parse_prefix("10.8.0.2/32")}}}});
  }
  api::FileAnswer reload(api::FileOptions options = {}) {
    api::FileAnswer got = api::CommitFailure{"no answer"};
    reloader->reload(std::move(options), [&](api::FileAnswer answer) { got = std::move(answer); });
    return got;
  }
  api::DiffAnswer diff(const std::filesystem::path& file) {
    api::DiffAnswer got = api::CommitFailure{"no answer"};
    reloader->diff(file.string(), [&](api::DiffAnswer answer) { got = std::move(answer); });
    return got;
  }
  std::string owner() const {
    const state::Claim* claim = state.owner(0, *parse_prefix("10.8.0.2/32"));
    return claim == nullptr ? "nobody" : state::label(state.peer(claim->peer));
  }

  std::filesystem::path directory, path;
  state::State state;
  gateway::Topology topology;
  std::unique_ptr<Reloader> reloader;
  bool hold = false;
  std::vector<std::function<void()>> held;
  size_t slices = 0;
};

TEST_F(Reloading, AnUnchangedFileIsNoCommit) {
  const Generation before = state.generation();
  const auto answer = reload();
  ASSERT_TRUE(std::holds_alternative<api::Committed>(answer));
  EXPECT_FALSE(std::get<api::Committed>(answer).changed);
  EXPECT_EQ(state.generation(), before);
}

TEST_F(Reloading, WhatIsDifferentIsCommittedAndIsThenTheFileAppliedLast) {
  write(std::string(kHead) + kAlice);
  auto answer = reload();
  ASSERT_TRUE(std::holds_alternative<api::Committed>(answer));
  EXPECT_EQ(state.peer_count(), 1u);
  write(std::string(kHead) + kAlice + kBob);
  answer = reload();
  EXPECT_EQ(state.peer_count(), 2u);
  EXPECT_EQ(reloader->applied()->tunnels[0].peers.size(), 2u);
}

TEST_F(Reloading, ARunTimeMoveStaysAndIsListedWithFileAndLine) {
  move("alice", "bob");
  const auto answer = reload();
  EXPECT_EQ(owner(), "bob");
  const auto& warnings = std::get<api::Committed>(answer).warnings;
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].rfind(path.string() + ":12:", 0), 0u) << warnings[0];
  EXPECT_NE(warnings[0].find("10.8.0.2/32 is bob's by an edit at run time"), std::string::npos);
}

TEST_F(Reloading, HowManyMoreAreOverriddenIsSaidLast) {
  std::string text = kHead;
  text +=
      "      - {name: alice, public_key: aXhQuhzulriNDAfrDvoN58yf6Hyo8VI99iztJ85WlkI=, "
      "allowed_ips: [";
  for (size_t i = 0; i <= gateway::kOverridesShownMax; ++i) {
    text += "10." + std::to_string(i >> 8) + "." + std::to_string(i & 255) + ".0/24, ";
  }
  write(text + "10.8.0.2/32]}\n");
  ASSERT_TRUE(std::holds_alternative<api::Committed>(reload()));
  apply({.edits = {{.op = state::Op::Replace, .tunnel = "wg0", .peer = std::string("alice")}}});
  const auto answer = reload();
  const auto& warnings = std::get<api::Committed>(answer).warnings;
  ASSERT_EQ(warnings.size(), gateway::kOverridesShownMax + 1);
  EXPECT_TRUE(warnings.front().starts_with(path.string() + ":12:")) << warnings.front();
  EXPECT_TRUE(warnings.back().ends_with("and 2 more lines are overridden")) << warnings.back();
}

TEST_F(Reloading, MistakesAreNamedAndNothingIsApplied) {
  write(std::string(kHead) + kAlice + "      - {name: bob, public_key: nonsense}\n");
  const auto answer = reload();
  const auto& mistakes = std::get<api::FileMistakes>(answer).mistakes;
  ASSERT_EQ(mistakes.size(), 1u);
  EXPECT_EQ(mistakes[0].line, 13u);
  EXPECT_EQ(state.peer_count(), 2u);
  write(std::string(kHead) + kAlice);
  EXPECT_TRUE(
      std::holds_alternative<api::Committed>(reload()));  // the next one starts from the same place
  EXPECT_EQ(state.peer_count(), 1u);
}

TEST_F(Reloading, AKeyThatIsReadAtStartNeedsARestart) {
  write(std::string(kHead) + kAlice + "control: {metrics: \"\"}\n");
  const auto answer = reload();
  const auto& mistakes = std::get<api::FileMistakes>(answer).mistakes;
  ASSERT_EQ(mistakes.size(), 1u);
  EXPECT_EQ(config::to_string(mistakes[0])
                .rfind(path.string() + ":13:20: control.metrics: restart needed", 0),
            0u)
      << config::to_string(mistakes[0]);
  EXPECT_EQ(state.peer_count(), 2u);

  std::string text = std::string(kHead) + kAlice;
  text.insert(text.find("device: net_tap1"), "spread: always, ");
  write(text);
  const auto spread = reload();
  ASSERT_TRUE(std::holds_alternative<api::FileMistakes>(spread));
  EXPECT_EQ(config::to_string(std::get<api::FileMistakes>(spread).mistakes.at(0))
                .rfind(path.string() + ":4:28: ports[1].spread: restart needed", 0),
            0u);
  EXPECT_EQ(state.peer_count(), 2u);
}

TEST_F(Reloading, ConflictsHaveTheirPlaceAndTheFileIsNotTheOneAppliedLast) {
  apply({.edits = {{.op = state::Op::Claim,
                    .tunnel = "wg0",
                    .peer = std::string("alice"),
                    .prefixes = {*parse_prefix("10.8.0.9/32")}}}});
  const auto before = reloader->applied();
  std::string bob = kBob;
  bob.replace(bob.find("10.8.0.3/32"), 11, "10.8.0.9/32");
  write(std::string(kHead) + kAlice + bob);
  const auto answer = reload();
  const auto& conflicts = std::get<api::FileConflicts>(answer);
  ASSERT_EQ(conflicts.at.size(), 1u);
  EXPECT_EQ(conflicts.at[0].line, 13u);
  EXPECT_EQ(conflicts.refusal.conflicts[0].owner, "alice");
  EXPECT_EQ(reloader->applied(), before);
  EXPECT_NE(state.owner(0, *parse_prefix("10.8.0.3/32")), nullptr);
}

TEST_F(Reloading, AddressesAloneMakeAGeneration) {
  std::string text = std::string(kHead) + kAlice + kBob;
  text.replace(text.find("10.0.0.1/24"), 11, "10.0.9.1/24");
  write(text);
  const Generation before = state.generation();
  EXPECT_TRUE(std::get<api::Committed>(reload()).changed);
  EXPECT_EQ(state.generation(), before + 1);
  EXPECT_EQ(topology.ports[1].addresses[0].address, *parse_ip("10.0.9.1"));
}

TEST_F(Reloading, ADryRunAndADiffChangeNothing) {
  write(std::string(kHead) + kBob);
  api::FileOptions options;
  options.commit.dry_run = true;
  EXPECT_TRUE(std::get<api::Committed>(reload(options)).changed);
  const auto other = directory / "other.yaml";
  std::filesystem::copy(path, other);
  const auto answer = diff(other);
  const auto& made = std::get<gateway::FileDiff>(answer);
  ASSERT_EQ(made.peers.size(), 1u);
  EXPECT_EQ(made.peers[0].peer, "alice");
  EXPECT_EQ(made.peers[0].kind, gateway::DiffKind::Removed);
  ASSERT_EQ(made.sessions.size(), 1u);
  EXPECT_TRUE(made.sessions[0].ends);
  ASSERT_EQ(made.prefixes.size(), 1u);
  EXPECT_EQ(made.prefixes[0].from, "alice");
  EXPECT_EQ(made.prefixes[0].to, "");
  EXPECT_EQ(state.peer_count(), 2u);
  EXPECT_TRUE(std::get<api::Committed>(reload()).changed);  // neither became the file applied last
}

TEST_F(Reloading, OneFileAtATimeAndOnlySoManyWait) {
  hold = true;
  int answered = 0, busy = 0;
  for (size_t i = 0; i < Reloader::kWaitingMax + 2; ++i) {
    reloader->reload({}, [&](const api::FileAnswer& answer) {
      ++(std::holds_alternative<api::CommitFailure>(answer) ? busy : answered);
    });
  }
  EXPECT_EQ(busy, 2);
  EXPECT_EQ(held.size(), 1u);
  for (size_t i = 0; i < held.size(); ++i) {
    const auto run = held[i];
    run();
  }
  EXPECT_EQ(answered, static_cast<int>(Reloader::kWaitingMax));
}

TEST_F(Reloading, ManyPeersAreLookedAtInSlices) {
  std::string text = kHead;
  for (int i = 0; i < 200; ++i) {
    std::string key = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaE=";
    key[0] = static_cast<char>('A' + i / 26);
    key[1] = static_cast<char>('a' + i % 26);
    text += "      - {public_key: " + key + "}\n";
  }
  write(text);
  EXPECT_TRUE(std::holds_alternative<api::Committed>(reload()));
  slices = 0;
  EXPECT_TRUE(std::holds_alternative<api::Committed>(reload()));
  EXPECT_EQ(slices, (200 + Reloader::kPeersPerSlice - 1) / Reloader::kPeersPerSlice);
}

}  // namespace
}  // namespace turnpike::daemon

#include "control/gateway/file_overrides.h"

#include <gtest/gtest.h>

#include "tests/unit/gateway/files.h"

namespace turnpike::gateway {
namespace {

using state::Edit;
using state::Op;
using test::peer;

class AFileAgainstAState : public testing::Test {
 protected:
  AFileAgainstAState() { load(config::Config{}, test::three_peers()); }

  static Prefix prefix(const char* text) { return *parse_prefix(text); }

  void commit(const state::Transaction& transaction) {
    const auto change = state::plan(state, transaction);
    ASSERT_TRUE(change) << state::describe(change.error().conflicts.front());
    state.apply(*change);
  }
  // What somebody does at run time.
  void edit(Op op, const char* peer, std::vector<const char*> prefixes, const char* to = "") {
    Edit made{.op = op, .tunnel = "wg0", .peer = std::string(peer), .to = std::string(to)};
    for (const char* text : prefixes) made.prefixes.push_back(prefix(text));
    commit({.edits = {made}});
  }
  void set(const char* peer, state::PeerPatch patch) {
    Edit made{.op = Op::PeerSet, .tunnel = "wg0", .peer = std::string(peer)};
    made.patch = std::move(patch);
    commit({.edits = {made}});
  }
  // The names of conflicts, if there are any; else the file is what runs.
  std::string load(const config::Config& before, const config::Config& after) {
    const Adapted adapted = adapt(difference(before, after), state);
    notes = adapted.notes;
    const auto change = state::plan(state, adapted.transaction.transaction);
    std::string conflicts;
    if (!change) {
      for (const auto& error : errors_of(change.error(), adapted.transaction, after)) {
        conflicts += config::to_string(error) + "\n";
      }
      return conflicts;
    }
    state.apply(*change);
    return conflicts;
  }
  std::vector<config::ConfigError> overrides(const config::Config& before,
                                             const config::Config& after) {
    OverrideScan scan(std::make_shared<const config::Config>(before),
                      std::make_shared<const config::Config>(after));
    while (scan.step(state, 1)) {
    }
    return scan.take();
  }
  std::string owner(const char* text) const {
    const state::Claim* claim = state.owner(0, prefix(text));
    return claim == nullptr ? "nobody" : state::label(state.peer(claim->peer));
  }
  const state::Peer& find(const char* name) const {
    return state.peer(state.find_peer(0, std::string_view(name)));
  }

  state::State state;
  std::vector<config::ConfigError> notes;
};

TEST_F(AFileAgainstAState, AnUnchangedFileAsksForNothingWhateverWasDoneAtRunTime) {
  edit(Op::Move, "alice", {"10.8.0.2/32"}, "bob");
  edit(Op::PeerRemove, "carol", {});
  const Generation before = state.generation();
  EXPECT_EQ(load(test::three_peers(), test::three_peers()), "");
  EXPECT_EQ(state.generation(), before);
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
}

TEST_F(AFileAgainstAState, LinesThatEditsOverrideAreListedWithTheirPlace) {
  const config::Config file = test::three_peers();
  EXPECT_TRUE(overrides(file, file).empty());
  edit(Op::Move, "alice", {"10.8.0.2/32"}, "bob");
  edit(Op::Release, "alice", {"10.9.0.0/24"});
  edit(Op::PeerRemove, "carol", {});
  set("bob", {.persistent_keepalive = 25, .enabled = true});
  const auto found = overrides(file, file);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(config::to_string(found[0]),
            "turnpike.yaml:11:20: tunnel wg0: 10.8.0.2/32 is bob's by an edit at run time");
  EXPECT_EQ(config::to_string(found[1]),
            "turnpike.yaml:11:20: tunnel wg0: 10.9.0.0/24 of peer alice was released at run time");
  EXPECT_EQ(
      config::to_string(found[2]),
      "turnpike.yaml:20:5: tunnel wg0: persistent_keepalive of peer bob was changed at run time");
  EXPECT_EQ(config::to_string(found[3]),
            "turnpike.yaml:30:5: tunnel wg0: peer carol was removed at run time");
}

// wg(8) changes them, and a rollback may take the tunnel away.
TEST_F(AFileAgainstAState, WhatATunnelWasGivenAtRunTimeIsListed) {
  config::Config file = test::three_peers();
  file.tunnels[0].places = config::Places({7, 5});
  auto given = std::make_shared<state::Tunnel>(state.tunnel(0));
  given->private_key = {};
  given->listen_port = 51999;
  commit({.edits = {{.op = Op::TunnelSet, .tunnel = "wg0", .new_tunnel = given}}});
  auto found = overrides(file, file);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(config::to_string(found[0]),
            "turnpike.yaml:7:5: tunnel wg0: private_key, listen_port was changed at run time");
  config::Config after = file;
  after.tunnels[0].listen_port = 51821;
  EXPECT_EQ(load(file, after), "");
  found = overrides(file, after);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].message, "private_key was changed at run time");
  commit({.edits = {{.op = Op::TunnelRemove, .tunnel = "wg0"}}});
  found = overrides(file, file);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].message, "it was removed at run time");
}

TEST_F(AFileAgainstAState, ALineThatChangesIsNoOverrideButIsApplied) {
  set("bob", {.persistent_keepalive = 25});
  config::Config after = test::three_peers();
  after.tunnels[0].peers[1].persistent_keepalive = 10;
  EXPECT_TRUE(overrides(test::three_peers(), after).empty());
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(find("bob").persistent_keepalive, 10);
}

TEST_F(AFileAgainstAState, OverridesHaveABoundAndTheRestIsCounted) {
  config::Config file = test::three_peers();
  auto& list = file.tunnels[0].peers[2].allowed_ips;
  for (uint32_t i = 0; i < kOverridesShownMax + 7; ++i) {
    list.push_back({.prefix = Prefix::masked(IpAddress::v4(0x0b00'0000 + i), 32), .at = {40, 1}});
  }
  const auto found = overrides(file, file);  // the state knows none of them
  ASSERT_EQ(found.size(), kOverridesShownMax + 1);
  EXPECT_EQ(found.back().message, "and 7 more lines are overridden");
}

TEST_F(AFileAgainstAState, WhatWasAddedAtRunTimeIsTakenOverWhenTheFileListsIt) {
  Edit add{.op = Op::PeerAdd, .tunnel = "wg0", .public_key = test::key(4)};
  add.patch = state::PeerPatch{.name = "dave"};
  add.prefixes = {prefix("10.8.0.5/32")};
  commit({.edits = {add}});
  const PeerId id = find("dave").id;
  EXPECT_EQ(find("dave").origin, state::Origin::Api);
  config::Config after = test::three_peers();
  after.tunnels[0].peers.push_back(peer("dave", 4, {"10.8.0.5/32", "10.8.0.6/32"}, 40));
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(find("dave").id, id);  // the session stays
  EXPECT_EQ(find("dave").origin, state::Origin::File);
  EXPECT_EQ(state.owner(0, prefix("10.8.0.5/32"))->origin, state::Origin::File);
  EXPECT_EQ(owner("10.8.0.6/32"), "dave");
}

TEST_F(AFileAgainstAState, WhatTheFileGivesUpStaysWithWhoGotItAtRunTime) {
  edit(Op::Move, "alice", {"10.8.0.2/32"}, "bob");
  edit(Op::PeerRemove, "carol", {});
  config::Config after = test::three_peers();
  after.tunnels[0].peers[0].allowed_ips.erase(after.tunnels[0].peers[0].allowed_ips.begin());
  after.tunnels[0].peers.pop_back();
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(notes[0].message.find("was removed at run time already"), std::string::npos);
  EXPECT_EQ(notes[1].message, "10.8.0.2/32 stays with bob, who got it at run time");
}

TEST_F(AFileAgainstAState, AMoveInTheFileThatWasMadeAtRunTimeIsDone) {
  edit(Op::Move, "alice", {"10.8.0.2/32"}, "bob");
  config::Config after = test::three_peers();
  auto& peers = after.tunnels[0].peers;
  peers[1].allowed_ips.push_back(peers[0].allowed_ips.front());
  peers[0].allowed_ips.erase(peers[0].allowed_ips.begin());
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
  EXPECT_EQ(state.owner(0, prefix("10.8.0.2/32"))->origin, state::Origin::File);
}

TEST_F(AFileAgainstAState, AMoveInTheFileOfWhatAThirdPeerGotIsAConflictWithPlaceAndOwner) {
  edit(Op::Move, "alice", {"10.8.0.2/32"}, "carol");
  config::Config after = test::three_peers();
  auto& peers = after.tunnels[0].peers;
  peers[1].allowed_ips.push_back({.prefix = prefix("10.8.0.2/32"), .at = {22, 33}});
  peers[0].allowed_ips.erase(peers[0].allowed_ips.begin());
  peers[0].persistent_keepalive = 9;
  EXPECT_EQ(load(test::three_peers(), after),
            "turnpike.yaml:22:33: tunnel wg0: 10.8.0.2/32 in wg0 is owned by carol\n");
  EXPECT_EQ(find("alice").persistent_keepalive, 0);  // nothing of it was applied
}

TEST_F(AFileAgainstAState, AMoveInTheFileOfWhatNobodyHasAnyMoreIsAClaim) {
  edit(Op::Release, "alice", {"10.8.0.2/32"});
  config::Config after = test::three_peers();
  auto& peers = after.tunnels[0].peers;
  peers[1].allowed_ips.push_back(peers[0].allowed_ips.front());
  peers[0].allowed_ips.erase(peers[0].allowed_ips.begin());
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
}

TEST_F(AFileAgainstAState, AMoveFromAPeerThatWasDisabledAtRunTimeIsAClaimToo) {
  set("alice", {.enabled = false});
  config::Config after = test::three_peers();
  auto& peers = after.tunnels[0].peers;
  peers[1].allowed_ips.push_back(peers[0].allowed_ips.front());
  peers[0].allowed_ips.erase(peers[0].allowed_ips.begin());
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
  set("alice", {.enabled = true});  // it no longer asks for what the file took away
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
  EXPECT_EQ(owner("10.9.0.0/24"), "alice");
}

TEST_F(AFileAgainstAState, AChangedLineOfAPeerThatIsGoneIsAConflict) {
  edit(Op::PeerRemove, "bob", {});
  config::Config after = test::three_peers();
  after.tunnels[0].peers[1].persistent_keepalive = 10;
  EXPECT_EQ(
      load(test::three_peers(), after).rfind("turnpike.yaml:20:5: tunnel wg0: there is no peer", 0),
      0u);
}

TEST_F(AFileAgainstAState, OnlyWhatTheFileChangesOfATunnelIsSet) {
  state::Tunnel marked = state.tunnel(0);
  marked.fwmark = 7;
  marked.private_key.bytes()[5] = 9;
  marked.public_key = crypto::public_key(marked.private_key);
  commit({.edits = {{.op = Op::TunnelSet,
                     .tunnel = "wg0",
                     .new_tunnel = std::make_shared<state::Tunnel>(marked)}}});
  config::Config after = test::three_peers();
  after.tunnels[0].listen_port = 51999;
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(state.tunnel(0).listen_port, 51999);
  EXPECT_EQ(state.tunnel(0).fwmark, 7u);
  EXPECT_EQ(state.tunnel(0).public_key, marked.public_key);
}

TEST_F(AFileAgainstAState, TunnelsComeAndGo) {
  config::Config after = test::three_peers();
  after.tunnels = {test::tunnel("wg1", 51821, {peer("alice", 1, {"10.8.0.2/32"})})};
  EXPECT_EQ(load(test::three_peers(), after), "");
  EXPECT_EQ(state.find_tunnel("wg0"), nullptr);
  ASSERT_NE(state.find_tunnel("wg1"), nullptr);
  EXPECT_EQ(state.peer_count(), 1u);
  EXPECT_EQ(load(after, test::three_peers()), "");
  EXPECT_EQ(state.peer_count(), 3u);
}

TEST_F(AFileAgainstAState, OfTwoPeersThatListAPrefixTheEnabledOneHandsItOver) {
  config::Config both = test::three_peers();
  auto& peers = both.tunnels[0].peers;
  peers[2].enabled = false;
  peers[2].allowed_ips = {peers[0].allowed_ips[0]};  // carol remembers what alice owns
  std::swap(peers[0], peers[2]);
  EXPECT_EQ(load(test::three_peers(), both), "");
  config::Config after = both;
  for (config::Peer& p : after.tunnels[0].peers) {
    std::erase_if(p.allowed_ips,
                  [&](const auto& ip) { return ip.prefix == prefix("10.8.0.2/32"); });
  }
  after.tunnels[0].peers[1].allowed_ips.push_back({.prefix = prefix("10.8.0.2/32"), .at = {}});
  EXPECT_EQ(load(both, after), "");
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
  EXPECT_EQ(find("carol").claims, 0u);
}

}  // namespace
}  // namespace turnpike::gateway

#include "control/gateway/committer.h"

#include <gtest/gtest.h>

#include "tests/unit/gateway/gateway_fixture.h"
#include "tests/unit/gateway/helper.h"

namespace turnpike::gateway {
namespace {

class CommitterTest : public GatewayTest {
 protected:
  CommitterTest() : GatewayTest(2000) {}
  ~CommitterTest() override { finish(); }

  static state::Edit edit(state::Op op, const char* peer, std::vector<Prefix> prefixes) {
    state::Edit e{.op = op, .tunnel = "wg0", .prefixes = std::move(prefixes)};
    e.peer = std::string(peer);
    return e;
  }
  static std::vector<Prefix> many(uint8_t second, size_t count) {
    std::vector<Prefix> prefixes;
    for (uint32_t i = 0; i < count; ++i) {
      prefixes.push_back(
          Prefix::masked(IpAddress::v4((10u << 24) | (uint32_t{second} << 16) | i), 32));
    }
    return prefixes;
  }
  void submit(std::vector<state::Edit> edits, std::string name, bool dry_run = false) {
    state::Transaction transaction{.comment = name, .edits = std::move(edits)};
    committer.submit({.make = [transaction](const state::State&) { return transaction; },
                      .dry_run = dry_run,
                      .answer =
                          [this, name](Committer::Outcome outcome) {
                            answers.push_back(name);
                            outcomes.push_back(std::move(outcome));
                          }});
  }
  // Until nothing is under way.
  void finish() {
    while (!helper.idle()) helper.step();
    session.done_ticket = session.last_ticket;
    for (int i = 0; i < 10; ++i) committer.poll(now);
  }
  std::string owner_of(const Prefix& prefix) {
    const state::Claim* claim = state.owner(0, prefix);
    return claim == nullptr ? "" : state::label(state.peer(claim->peer));
  }

  std::vector<std::string> answers;
  std::vector<Committer::Outcome> outcomes;
  Committer committer{
      state, *gateway,
      [this](auto work, auto done) { helper.offload(std::move(work), std::move(done)); },
      [this] { return now; }};
  Helper helper;  // ends first
};

TEST_F(CommitterTest, ASmallTransactionIsDoneAtOnce) {
  submit({edit(state::Op::Claim, "alice", many(1, 1))}, "small");
  EXPECT_EQ(answers, std::vector<std::string>{"small"});
  EXPECT_TRUE(helper.idle());
  EXPECT_EQ(owner_of(many(1, 1)[0]), "alice");
}

TEST_F(CommitterTest, WhileALargeOneIsJudgedTheStateIsReadAndOthersWaitTheirTurn) {
  const Generation before = state.generation();
  helper.hold(true);
  submit({edit(state::Op::Claim, "alice", many(1, 1000))}, "large");
  submit({edit(state::Op::Release, "alice", {many(1, 1000)[7]})}, "small");
  EXPECT_TRUE(answers.empty());
  EXPECT_TRUE(committer.ready());
  EXPECT_EQ(owner_of(many(1, 1)[0]), "") << "nothing of it can be seen yet";
  EXPECT_EQ(state.generation(), before);
  helper.hold(false);
  finish();
  EXPECT_EQ(answers, (std::vector<std::string>{"large", "small"}));
  EXPECT_EQ(owner_of(many(1, 1000)[999]), "alice");
  EXPECT_EQ(owner_of(many(1, 1000)[7]), "") << "the second was judged after the first";
  EXPECT_EQ(state.generation(), before + 2);
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.1.3.231"), index_of("alice"));
}

TEST_F(CommitterTest, NobodyReadsWhileALargeOneIsMadeTrueAndWhoAskedGoesOnAfterwards) {
  helper.hold(true);
  submit({edit(state::Op::Claim, "alice", many(1, 1000))}, "large");
  helper.hold(false);
  helper.step();  // judged
  EXPECT_FALSE(committer.ready());
  EXPECT_TRUE(committer.poll(now)) << "to be asked again";
  std::string seen = "nothing yet";
  committer.when_ready([&] { seen = owner_of(many(1, 1)[0]); });
  submit({edit(state::Op::Claim, "bob", many(1, 1))}, "refused");
  EXPECT_EQ(seen, "nothing yet");
  helper.step();  // true
  EXPECT_TRUE(committer.ready());
  EXPECT_EQ(seen, "alice");
  finish();
  EXPECT_EQ(answers, (std::vector<std::string>{"large", "refused"}));
  EXPECT_TRUE(std::holds_alternative<state::Refusal>(outcomes[1]));
}

TEST_F(CommitterTest, WhatIsInForceIsWhatTheWorkersHaveAndMayBeAskedWhileTheStateChanges) {
  const auto workers_come_round = [&] {
    for (auto& door : doors) (void)door->begin_burst();
    finish();
  };
  workers_come_round();
  const Generation before = state.generation();
  EXPECT_EQ(committer.in_force(), before);
  submit({edit(state::Op::Claim, "alice", many(1, 1))}, "small");
  EXPECT_EQ(state.generation(), before + 1) << "the state is ahead";
  EXPECT_EQ(committer.in_force(), before);
  workers_come_round();
  EXPECT_EQ(committer.in_force(), before + 1);
  helper.hold(true);
  submit({edit(state::Op::Claim, "alice", many(2, 100))}, "large");
  helper.hold(false);
  helper.step();  // judged
  EXPECT_FALSE(committer.ready());
  EXPECT_EQ(committer.in_force(), before + 1);
  helper.step();  // made true
  EXPECT_EQ(committer.in_force(), before + 1) << "no worker has it";
  workers_come_round();
  EXPECT_EQ(committer.in_force(), before + 2);
}

TEST_F(CommitterTest, ALargeOneThatIsRefusedOrOnlyTriedChangesNothing) {
  const Generation before = state.generation();
  auto prefixes = many(1, 1000);
  prefixes.push_back(*parse_prefix("10.8.0.3/32"));  // bob's
  submit({edit(state::Op::Claim, "alice", prefixes)}, "refused");
  submit({edit(state::Op::Claim, "alice", many(1, 1000))}, "tried", true);
  submit({edit(state::Op::Claim, "alice", {*parse_prefix("10.8.0.0/16")})}, "nested", true);
  finish();
  ASSERT_EQ(outcomes.size(), 3u);
  const auto& refusal = std::get<state::Refusal>(outcomes[0]);
  ASSERT_EQ(refusal.conflicts.size(), 1u);
  EXPECT_EQ(state::describe(refusal.conflicts[0]), "10.8.0.3/32 in wg0 is owned by bob");
  EXPECT_TRUE(std::get<Committer::Done>(outcomes[1]).changed);
  EXPECT_EQ(std::get<Committer::Done>(outcomes[2]).warnings.size(), 1u);
  EXPECT_EQ(state.generation(), before);
  EXPECT_EQ(owner_of(many(1, 1)[0]), "");
}

TEST_F(CommitterTest, ADryRunSaysWhenMorePrefixesAreNestedThanItLists) {
  submit({edit(state::Op::Claim, "alice", many(1, 150))}, "inner");
  submit({edit(state::Op::Claim, "bob", {*parse_prefix("0.0.0.0/0")})}, "outer", true);
  finish();
  ASSERT_EQ(outcomes.size(), 2u);
  const auto& warnings = std::get<Committer::Done>(outcomes[1]).warnings;
  ASSERT_EQ(warnings.size(), 101u);
  EXPECT_NE(warnings[99].find("lies inside 0.0.0.0/0 of bob"), std::string::npos) << warnings[99];
  EXPECT_EQ(warnings[100], "more prefixes than these 100 lie inside those of others");
}

TEST_F(CommitterTest, ALargeOneForWhichSlotsAreShortFailsAndTheNextIsDone) {
  std::vector<state::Edit> edits;
  for (uint32_t i = 0; i < 3000; ++i) {
    state::Edit e{.op = state::Op::PeerAdd, .tunnel = "wg0", .patch = state::PeerPatch{}};
    store_be64(e.public_key.bytes.data(), i + 1000);
    edits.push_back(std::move(e));
  }
  submit(edits, "too many");
  edits.resize(1500);
  submit(edits, "enough");
  finish();
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<Committer::Failure>(outcomes[0]));
  EXPECT_TRUE(std::holds_alternative<Committer::Done>(outcomes[1]));
  EXPECT_EQ(state.peer_count(), 1502u);
  EXPECT_EQ(gateway->peers().size(), 1502u);
}

TEST_F(CommitterTest, AnAnswerMayAskForTheNextCommit) {
  committer.submit({.make =
                        [](const state::State&) {
                          return state::Transaction{
                              .edits = {edit(state::Op::Claim, "alice", many(1, 1))}};
                        },
                    .answer =
                        [this](const Committer::Outcome&) {
                          submit({edit(state::Op::Claim, "bob", many(2, 1))}, "second");
                        }});
  finish();
  EXPECT_EQ(answers, std::vector<std::string>{"second"});
  EXPECT_EQ(owner_of(many(2, 1)[0]), "bob");
}

TEST_F(CommitterTest, WhatCannotBeStagedUndoesWhatWasPrepared) {
  for (const size_t count : {size_t{1}, size_t{1000}}) {
    committer.submit(
        {.make =
             [count](const state::State&) {
               return state::Transaction{
                   .edits = {edit(state::Op::Claim, "alice", many(1, count))}};
             },
         .stage = [] { return Result<void, std::string>(fail(std::string("no"))); },
         .answer = [this](Committer::Outcome o) { outcomes.push_back(std::move(o)); }});
    finish();
    ASSERT_FALSE(outcomes.empty());
    EXPECT_EQ(std::get<Committer::Failure>(outcomes.back()).what, "no");
    EXPECT_EQ(owner_of(many(1, 1)[0]), "");
  }
  submit({edit(state::Op::Claim, "alice", many(1, 1))}, "after it");
  EXPECT_EQ(owner_of(many(1, 1)[0]), "alice");
}

TEST(ItemsOf, CountWhatAnEditTouchesAndNotOnlyWhatItSays) {
  state::State state;
  auto tunnel = std::make_shared<state::Tunnel>();
  tunnel->public_key.bytes[0] = 1;  // not the peer's
  state::Edit peer{
      .op = state::Op::PeerAdd, .tunnel = "wg0", .patch = state::PeerPatch{.name = "a"}};
  for (uint32_t i = 0; i < 100; ++i) {
    peer.prefixes.push_back(Prefix::masked(IpAddress::v4((10u << 24) | i), 32));
  }
  const auto change = state::plan(
      state,
      {.edits = {{.op = state::Op::TunnelAdd, .tunnel = "wg0", .new_tunnel = tunnel}, peer}});
  ASSERT_TRUE(change);
  state.apply(*change);
  const auto items = [&](state::Edit edit) {
    edit.tunnel = "wg0";
    edit.peer = std::string("a");
    return items_of(state, {.edits = {edit}}, 50);
  };
  EXPECT_EQ(items({.op = state::Op::Claim, .prefixes = {*parse_prefix("10.9.0.0/16")}}), 2u);
  EXPECT_GT(items({.op = state::Op::PeerRemove}), 50u);
  EXPECT_GT(items({.op = state::Op::Replace}), 50u);
  EXPECT_GT(items({.op = state::Op::TunnelRemove}), 50u);
}

}  // namespace
}  // namespace turnpike::gateway

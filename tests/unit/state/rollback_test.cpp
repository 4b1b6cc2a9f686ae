#include "control/state/rollback.h"

#include "tests/unit/state/state_fixture.h"

namespace turnpike::state {
namespace {

class Rollback : public StateTest {
 protected:
  // Commits, and remembers the way back.
  void step(std::vector<Edit> edits) {
    auto change = plan(state_, {.edits = std::move(edits)});
    ASSERT_TRUE(change) << text(change.error());
    ways_.insert(ways_.begin(), undo(state_, *change));
    state_.apply(*change);
  }
  Transaction back(size_t commits) {
    auto transaction = rollback(state_, std::span(ways_).first(commits));
    EXPECT_TRUE(transaction) << text(transaction.error());
    return transaction ? *transaction : Transaction{};
  }
  void expect_back(size_t commits, const std::string& then) {
    auto change = plan(state_, back(commits));
    ASSERT_TRUE(change) << text(change.error());
    state_.apply(*change);
    EXPECT_EQ(dump(state_), then);
  }

  std::vector<Transaction> ways_;  // the newest first
};

TEST_F(Rollback, LeadsOverSeveralCommitsInOneStep) {
  step({add("a", 1, {"10.0.0.1/32", "10.0.0.2/32"}), add("b", 2)});
  const std::string then = dump(state_);
  step({move("a", "b", {"10.0.0.1/32"})});
  step({set("b", {.name = "c", .endpoint = parse_endpoint("192.0.2.1:51820")})});
  step({enable("c", false)});
  step({remove("a"), add("d", 4, {"10.0.0.2/32"})});
  expect_back(4, then);
}

TEST_F(Rollback, OfWhatCameAndWentAsksForNothing) {
  step({add("a", 1)});
  step({claim("a", {"10.0.0.1/32"})});
  step({release("a", {"10.0.0.1/32"})});
  EXPECT_TRUE(back(2).edits.empty());
}

TEST_F(Rollback, BringsATunnelBackWithItsPeers) {
  step({add_tunnel("wg1"),
        {.op = Op::PeerAdd,
         .tunnel = "wg1",
         .public_key = key_of(7),
         .prefixes = prefixes({"10.7.0.0/16"}),
         .patch = PeerPatch{.name = "far"}}});
  step({add("a", 1, {"10.0.0.1/32"})});
  const std::string then = dump(state_);
  step({{.op = Op::TunnelRemove, .tunnel = "wg1"}});
  step({move("a", "a", {})});
  step({release("a", {"10.0.0.1/32"})});
  expect_back(3, then);
}

TEST_F(Rollback, TouchesNoPeerBesideThoseOfTheCommits) {
  step({add("a", 1, {"10.0.0.1/32"}), add("b", 2, {"10.0.0.2/32"})});
  step({release("a", {"10.0.0.1/32"})});
  const Transaction transaction = back(1);
  ASSERT_EQ(transaction.edits.size(), 1u);
  EXPECT_EQ(transaction.edits[0].op, Op::Claim);
  EXPECT_EQ(transaction.edits[0].peer, PeerSelector(key_of(1)));
}

TEST_F(Rollback, IsRefusedWhereTheWaysBelongToAnotherState) {
  step({add("a", 1, {"10.0.0.1/32"})});
  step({release("a", {"10.0.0.1/32"})});
  step({claim("a", {"10.0.0.1/32"})});
  const Transaction stranger{.edits = {claim("nobody", {"10.0.0.9/32"})}};
  EXPECT_FALSE(rollback(state_, std::span(&stranger, 1)));
}

}  // namespace
}  // namespace turnpike::state

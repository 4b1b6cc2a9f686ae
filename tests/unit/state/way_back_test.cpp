#include "control/state/way_back.h"

#include "tests/unit/state/state_fixture.h"

namespace turnpike::state {
namespace {

class WayBack : public StateTest {
 protected:
  WayBack() { commit({add("alice", 1, {"10.0.0.1/32"}), add("bob", 2)}); }
  // Commits, and gives the way back from it.
  Transaction step(std::vector<Edit> edits) {
    auto change = plan(state_, {.edits = std::move(edits)});
    if (!change) {
      ADD_FAILURE() << text(change.error());
      return {};
    }
    Transaction back = undo(state_, *change);
    state_.apply(*change);
    return back;
  }
  Edit tunnel(uint16_t port, uint32_t fwmark) {
    Tunnel changed = *state_.find_tunnel("wg0");
    changed.listen_port = port;
    changed.fwmark = fwmark;
    return {.op = Op::TunnelSet,
            .tunnel = "wg0",
            .new_tunnel = std::make_shared<const Tunnel>(changed)};
  }
};

TEST_F(WayBack, IsFreeUntilTheSameAttributeIsSetAgain) {
  const Transaction back = step({set("bob", {.persistent_keepalive = 25})});
  step({set("bob", {.description = "text", .enabled = false})});
  step({set("alice", {.persistent_keepalive = 30})});
  EXPECT_TRUE(is_as_left(state_, back));
  const Transaction again = step({set("bob", {.persistent_keepalive = 30})});
  EXPECT_FALSE(is_as_left(state_, back));
  step(again.edits);
  EXPECT_TRUE(is_as_left(state_, back));
  step({remove("bob")});
  EXPECT_TRUE(is_as_left(state_, back));
}

TEST_F(WayBack, IsFreeUntilTheSameOfATunnelIsSetAgain) {
  const Transaction back = step({tunnel(1000, 0)});
  step({tunnel(1000, 7)});
  EXPECT_TRUE(is_as_left(state_, back));
  step({tunnel(2000, 7)});
  EXPECT_FALSE(is_as_left(state_, back));
}

TEST_F(WayBack, MeetsAnotherInAnAttributeAPrefixOrAPeerThatComesOrGoes) {
  const Transaction keepalive = step({set("bob", {.persistent_keepalive = 25})});
  const Transaction text = step({set("bob", {.description = "text"})});
  const Transaction both = step({set("bob", {.description = "more", .persistent_keepalive = 30})});
  EXPECT_FALSE(touch_the_same(keepalive, text));
  EXPECT_TRUE(touch_the_same(keepalive, both));
  const Transaction move_one = step({move("alice", "bob", {"10.0.0.1/32"})});
  const Transaction claim_two = step({claim("bob", {"10.0.0.2/32"})});
  const Transaction release_one = step({release("bob", {"10.0.0.1/32"})});
  EXPECT_FALSE(touch_the_same(move_one, claim_two));
  EXPECT_TRUE(touch_the_same(move_one, release_one));
  EXPECT_FALSE(touch_the_same(keepalive, claim_two));
  const Transaction removed = step({remove("bob")});
  EXPECT_TRUE(touch_the_same(keepalive, removed));
  EXPECT_TRUE(touch_the_same(removed, claim_two));
  const Transaction port = step({tunnel(1000, 0)});
  const Transaction mark = step({tunnel(1000, 7)});
  EXPECT_FALSE(touch_the_same(port, mark));
  EXPECT_FALSE(touch_the_same(port, keepalive));
  EXPECT_TRUE(touch_the_same(port, step({tunnel(2000, 7)})));
}

}  // namespace
}  // namespace turnpike::state

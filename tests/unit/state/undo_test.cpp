#include "control/state/undo.h"

#include "tests/unit/state/state_fixture.h"

namespace turnpike::state {
namespace {

class Undo : public StateTest {
 protected:
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
  [[nodiscard]] PeerAttributes peer(const char* name) const {
    return state_.peer(state_.find_peer(0, std::string_view(name))).attributes();
  }
};

TEST_F(Undo, LeavesAttributesThatTheChangeDidNotTouchAsTheyAreByNow) {
  step({add("bob", 2, {"10.0.0.1/32"})});
  const Transaction back = step({set("bob", {.persistent_keepalive = 25})});
  PresharedKey rotated;
  rotated.bytes()[0] = 7;
  step({set("bob", {.preshared_key = rotated, .enabled = false})});
  step(back.edits);
  EXPECT_EQ(peer("bob").persistent_keepalive, 0);
  EXPECT_FALSE(peer("bob").enabled) << "it was revoked meanwhile";
  EXPECT_EQ(peer("bob").preshared_key, rotated);
}

TEST_F(Undo, LeavesWhatTheChangeOfATunnelDidNotTouchAsItIsByNow) {
  const auto with = [&](uint16_t port, uint8_t key) {
    Tunnel tunnel = *state_.find_tunnel("wg0");
    tunnel.listen_port = port;
    tunnel.private_key.bytes()[0] = key;
    tunnel.public_key.bytes[0] = key;
    return Edit{
        .op = Op::TunnelSet, .tunnel = "wg0", .new_tunnel = std::make_shared<const Tunnel>(tunnel)};
  };
  step({with(1000, 1)});
  const Transaction back = step({with(2000, 1)});
  step({with(2000, 2)});
  step(back.edits);
  EXPECT_EQ(state_.find_tunnel("wg0")->listen_port, 1000);
  EXPECT_EQ(state_.find_tunnel("wg0")->private_key.bytes()[0], 2);
  EXPECT_EQ(state_.find_tunnel("wg0")->public_key.bytes[0], 2);
}

}  // namespace
}  // namespace turnpike::state

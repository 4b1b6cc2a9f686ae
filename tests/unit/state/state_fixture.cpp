#include "tests/unit/state/state_fixture.h"

#include <algorithm>

#include "dataplane/base/text.h"

namespace turnpike::state {

std::string dump(const State& state) {
  std::vector<std::string> lines;
  for (const Tunnel& tunnel : state.tunnels()) {
    if (tunnel.index == kNoTunnel) continue;
    lines.push_back("tunnel " + tunnel.name + " " + std::to_string(tunnel.index) + " " +
                    std::to_string(tunnel.listen_port) + " " + std::to_string(tunnel.fwmark) +
                    (tunnel.conflicts == ConflictPolicy::Move ? " move" : ""));
  }
  for (uint32_t slot = state.next_peer(0); slot != kNoSlot; slot = state.next_peer(slot + 1)) {
    const Peer& peer = state.peer(slot);
    const std::string key = base::key_to_base64(peer.public_key.bytes);
    lines.push_back("peer " + std::to_string(peer.tunnel) + " " + key + " " +
                    std::string(peer.name.view()) + "|" + std::string(peer.description.view()) +
                    "|" + base::to_hex(peer.preshared_key.bytes()) + "|" +
                    to_string(peer.endpoint) + "|" + std::to_string(peer.persistent_keepalive) +
                    (peer.enabled ? "" : " disabled") +
                    (peer.origin == Origin::File ? " file" : ""));
    uint32_t claims = 0;
    state.for_each_claim(slot, [&](const Claim& claim) {
      ++claims;
      const bool owned = state.owner(peer.tunnel, claim.prefix) == &claim;
      EXPECT_EQ(owned, peer.enabled);
      EXPECT_EQ(state.dormant(slot, claim.prefix) == &claim, !peer.enabled);
      lines.push_back((owned ? "claim " : "dormant ") + key + " " + to_string(claim.prefix) +
                      (claim.origin == Origin::File ? " file" : ""));
    });
    EXPECT_EQ(claims, peer.claims);
    EXPECT_EQ(state.find_peer(peer.id), slot);
    EXPECT_EQ(state.find_peer(peer.tunnel, peer.public_key), slot);
    if (!peer.name.empty()) {
      EXPECT_EQ(state.find_peer(peer.tunnel, peer.name.view()), slot);
    }
  }
  std::ranges::sort(lines);
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

std::string text(const Refusal& refusal) {
  std::string all;
  for (const Conflict& c : refusal.conflicts) {
    all += std::to_string(c.edit) + " " + std::string(to_string(c.kind)) + " " +
           (c.prefix ? to_string(*c.prefix) : "-") + " " + (c.owner.empty() ? "-" : c.owner) + " " +
           (c.peer.empty() ? "-" : c.peer) + "\n";
  }
  return all;
}

Change StateTest::commit(std::vector<Edit> edits, bool follow_policy) {
  const std::string before = dump(state_);
  auto change = plan(state_, {.follow_policy = follow_policy, .edits = std::move(edits)});
  if (!change) {
    ADD_FAILURE() << text(change.error());
    return {};
  }
  const Transaction back = undo(state_, *change);
  const Change back_exactly = inverse(state_, *change);
  const Generation generation = state_.generation();
  EXPECT_EQ(state_.apply(*change), generation + (change->empty() ? 0 : 1));
  // There, back and there again: the state of the test goes on as committed.
  const std::string after = dump(state_);
  if (!change->empty()) {
    const Change there = inverse(state_, back_exactly);
    state_.apply(back_exactly);
    EXPECT_EQ(dump(state_), before);
    state_.apply(there);
    EXPECT_EQ(dump(state_), after);
  }
  auto reverse = plan(state_, back);
  if (!reverse) {
    ADD_FAILURE() << "undo: " << text(reverse.error());
    return *change;
  }
  const Transaction forth = undo(state_, *reverse);
  state_.apply(*reverse);
  if (change->origins.empty()) {
    EXPECT_EQ(dump(state_), before);
  }
  auto again = plan(state_, forth);
  if (!again) {
    ADD_FAILURE() << "redo: " << text(again.error());
    return *change;
  }
  state_.apply(*again);
  if (change->origins.empty()) {
    EXPECT_EQ(dump(state_), after);
  }
  return *change;
}

std::string StateTest::refuse(std::vector<Edit> edits) {
  const std::string before = dump(state_);
  const auto change = plan(state_, {.edits = std::move(edits)});
  EXPECT_EQ(dump(state_), before);
  if (change) return "committed\n";
  EXPECT_EQ(change.error().generation, state_.generation());
  return text(change.error());
}

std::string StateTest::owner(const char* prefix) const {
  const Claim* found = state_.owner(0, parse_prefix(prefix).value());
  return found == nullptr ? "" : label(state_.peer(found->peer));
}

}  // namespace turnpike::state

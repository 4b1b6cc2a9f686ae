// Short words for the tests of control/state.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "control/state/plan.h"
#include "control/state/undo.h"

namespace turnpike::state {

inline PublicKey key_of(uint64_t number) {
  PublicKey key;
  std::memcpy(key.bytes.data(), &number, sizeof(number));
  const uint64_t spread = mix_hash(number + 1);
  std::memcpy(key.bytes.data() + 8, &spread, sizeof(spread));
  return key;
}

inline std::vector<Prefix> prefixes(std::initializer_list<const char*> texts) {
  std::vector<Prefix> list;
  for (const char* text : texts) list.push_back(parse_prefix(text).value());
  return list;
}

inline Edit claim(const std::string& peer, std::initializer_list<const char*> list) {
  return {.op = Op::Claim, .tunnel = "wg0", .peer = peer, .prefixes = prefixes(list)};
}
inline Edit release(const std::string& peer, std::initializer_list<const char*> list) {
  return {.op = Op::Release, .tunnel = "wg0", .peer = peer, .prefixes = prefixes(list)};
}
inline Edit replace(const std::string& peer, std::initializer_list<const char*> list) {
  return {.op = Op::Replace, .tunnel = "wg0", .peer = peer, .prefixes = prefixes(list)};
}
inline Edit move(const std::string& from, const std::string& to,
                 std::initializer_list<const char*> list) {
  return {.op = Op::Move, .tunnel = "wg0", .peer = from, .to = to, .prefixes = prefixes(list)};
}
inline Edit add(const std::string& name, uint64_t key,
                std::initializer_list<const char*> list = {}) {
  return {.op = Op::PeerAdd,
          .tunnel = "wg0",
          .public_key = key_of(key),
          .prefixes = prefixes(list),
          .patch = PeerPatch{.name = name}};
}
inline Edit set(const std::string& peer, PeerPatch patch) {
  return {.op = Op::PeerSet, .tunnel = "wg0", .peer = peer, .patch = std::move(patch)};
}
inline Edit enable(const std::string& peer, bool enabled) {
  return set(peer, {.enabled = enabled});
}
inline Edit remove(const std::string& peer) {
  return {.op = Op::PeerRemove, .tunnel = "wg0", .peer = peer};
}
inline Edit add_tunnel(const std::string& name, ConflictPolicy conflicts = ConflictPolicy::Refuse) {
  auto tunnel = std::make_shared<Tunnel>();
  tunnel->conflicts = conflicts;
  tunnel->public_key = key_of(999'999);
  return {.op = Op::TunnelAdd, .tunnel = name, .new_tunnel = tunnel};
}

// Everything that an operator can see, as text; two states are the same when these are.
std::string dump(const State& state);
// "edit kind prefix owner peer" of each conflict, one a line.
std::string text(const Refusal& refusal);

class StateTest : public testing::Test {
 protected:
  StateTest() { commit({add_tunnel("wg0")}); }
  // Expects success; checks that the way back leads back.
  Change commit(std::vector<Edit> edits, bool follow_policy = false);
  // Expects a refusal without a trace, and gives its text.
  std::string refuse(std::vector<Edit> edits);
  [[nodiscard]] std::string owner(const char* prefix) const;

  State state_;
};

}  // namespace turnpike::state

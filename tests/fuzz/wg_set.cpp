// Any bytes as requests of wg(8): complete ones become a transaction on a state with some peers, which is then
// judged; never a crash, and what is accepted leaves no prefix with two owners.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "control/api/wg_protocol.h"
#include "control/state/plan.h"
#include "dataplane/base/check.h"

namespace {

using namespace turnpike;

state::State some_peers() {
  auto tunnel = std::make_shared<state::Tunnel>();
  tunnel->public_key.bytes[31] = 9;
  tunnel->conflicts = state::ConflictPolicy::Move;
  state::Transaction transaction;
  transaction.edits.push_back({.op = state::Op::TunnelAdd, .tunnel = "wg0", .new_tunnel = tunnel});
  for (uint8_t i = 1; i <= 3; ++i) {
    state::Edit peer{.op = state::Op::PeerAdd, .tunnel = "wg0", .patch = state::PeerPatch{}};
    peer.public_key.bytes.fill(i);
    peer.patch->enabled = i != 3;
    peer.prefixes = {Prefix::masked(IpAddress::v4((10u << 24) | i), 32)};
    transaction.edits.push_back(std::move(peer));
  }
  state::State state;
  const auto change = state::plan(state, transaction);
  CHECK(change.has_value());
  state.apply(*change);
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  state::State state = some_peers();
  api::WgParser parser;
  for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
    if (!parser.line(text.substr(0, end))) continue;
    if (parser.error() == 0 && parser.request().set) {
      const auto change = state::plan(state, api::wg_transaction(state, "wg0", parser.request()));
      if (change) {
        for (const state::PrefixChange& prefix : change->prefixes) {
          CHECK(prefix.old_owner != prefix.new_owner);
        }
        const Generation before = state.generation();
        CHECK(state.apply(*change) == before + (change->empty() ? 0 : 1));
      } else {
        CHECK(!change.error().conflicts.empty());
      }
    }
    parser = {};
  }
  return 0;
}

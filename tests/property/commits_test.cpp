// Several clients at once against a map: what they ask for, small and large, with and without a generation that
// they have seen, is judged in the order of asking, whole or not at all. A real helper thread works out the large
// ones.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "control/gateway/committer.h"
#include "tests/unit/gateway/gateway_fixture.h"
#include "tests/unit/gateway/helper.h"

namespace turnpike::gateway {
namespace {

constexpr const char* kPeers[] = {"alice", "bob"};
constexpr size_t kClients = 8;
constexpr uint32_t kPrefixes = 120;

// What one client asked for, and what came of it.
struct Asked {
  state::Op op;
  size_t peer, to;
  std::set<uint32_t> prefixes;
  std::optional<Generation> if_generation;
  bool dry_run = false;
  std::optional<Committer::Outcome> outcome;
};

class Model {
 public:
  explicit Model(Generation from) : generation(from) {}

  // Whether it is to be committed; then it is.
  bool judge(const Asked& asked, bool& changed) {
    if (asked.if_generation && *asked.if_generation != generation) return false;
    for (const uint32_t prefix : asked.prefixes) {
      const auto owner = owners.find(prefix);
      const bool claims = asked.op == state::Op::Claim || asked.op == state::Op::Replace;
      if (claims && owner != owners.end() && owner->second != asked.peer) return false;
      if (!claims && (owner == owners.end() || owner->second != asked.peer)) return false;
    }
    auto next = owners;
    if (asked.op == state::Op::Replace) {
      std::erase_if(next, [&](const auto& owner) { return owner.second == asked.peer; });
    }
    for (const uint32_t prefix : asked.prefixes) {
      if (asked.op == state::Op::Release) {
        next.erase(prefix);
      } else {
        next[prefix] = asked.op == state::Op::Move ? asked.to : asked.peer;
      }
    }
    changed = next != owners;
    if (changed && !asked.dry_run) {
      owners = std::move(next);
      ++generation;
    }
    return true;
  }

  std::map<uint32_t, size_t> owners;
  Generation generation;
};

Prefix prefix_of(uint32_t number) {
  return Prefix::masked(IpAddress::v4((10u << 24) | (100u << 16) | (number << 8)), 24);
}

class Commits : public GatewayTest {
 protected:
  Commits() : GatewayTest(16) {}

  state::Transaction transaction_of(const Asked& asked) {
    state::Edit edit{.op = asked.op, .tunnel = "wg0"};
    edit.peer = std::string(kPeers[asked.peer]);
    edit.to = std::string(kPeers[asked.to]);
    for (const uint32_t prefix : asked.prefixes) edit.prefixes.push_back(prefix_of(prefix));
    return {.if_generation = asked.if_generation, .edits = {edit}};
  }
  Asked random_asked(std::mt19937& random, Generation seen) {
    constexpr state::Op kOps[] = {state::Op::Claim, state::Op::Release, state::Op::Move,
                                  state::Op::Replace};
    Asked asked{.op = kOps[random() % 4], .peer = random() % 2, .to = 0, .prefixes = {}};
    asked.to = 1 - asked.peer;
    // Half of them of what the peer has, so that enough succeeds.
    const uint32_t slot = state.find_peer(0, std::string_view(kPeers[asked.peer]));
    const size_t count = random() % 3 == 0 ? 20 + random() % 60 : 1 + random() % 3;
    if (random() % 2 == 0 && committer.ready()) {
      state.for_each_claim(slot, [&](const state::Claim& claim) {
        const uint32_t address = claim.prefix.address.v4_host_order();
        if (asked.prefixes.size() < count && claim.prefix.length == 24) {
          asked.prefixes.insert((address >> 8) & 0xff);
        }
      });
    }
    // A replace says all that the peer has, and the peers of the fixture have more: those go.
    while (asked.prefixes.size() < count) asked.prefixes.insert(random() % kPrefixes);
    if (random() % 3 == 0) asked.if_generation = seen;
    asked.dry_run = random() % 8 == 0;
    return asked;
  }

  Committer committer{
      state, *gateway,
      [this](auto work, auto done) { helper.offload(std::move(work), std::move(done)); },
      [this] { return now; }};
  Helper helper;  // ends first
};

TEST_F(Commits, OfSeveralClientsAreJudgedOneAfterTheOtherAsTheMapSays) {
  const char* given = std::getenv("TURNPIKE_SEED");
  const uint32_t seed =
      given != nullptr ? static_cast<uint32_t>(std::atoi(given)) : std::random_device{}();
  SCOPED_TRACE("TURNPIKE_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const int rounds = std::getenv("TURNPIKE_TEST_FULL") != nullptr ? 20'000 : 1'000;
  // The fixture's peers start with prefixes of their own; they give them up first.
  for (const char* peer : kPeers) {
    state::Edit none{.op = state::Op::Replace, .tunnel = "wg0"};
    none.peer = std::string(peer);
    committer.submit(
        {.make = [none](const state::State&) { return state::Transaction{.edits = {none}}; },
         .answer = [](const Committer::Outcome&) {}});
  }
  ASSERT_EQ(state.prefix_count(), 0u);
  Model model(state.generation());
  std::deque<Asked> asked;
  std::array<Generation, kClients> seen;
  seen.fill(state.generation());
  size_t committed = 0, refused = 0, stale = 0;

  for (int round = 0; round < rounds; ++round) {
    // Some ask at the same time; a client looks at the generation only now and then.
    for (size_t i = 0, burst = 1 + random() % kClients; i < burst; ++i) {
      Generation& mine = seen[random() % kClients];
      if (committer.ready() && random() % 2 == 0) mine = state.generation();
      Asked& one = asked.emplace_back(random_asked(random, mine));
      committer.submit({.make = [t = transaction_of(one)](const state::State&) { return t; },
                        .dry_run = one.dry_run,
                        .answer =
                            [&one](Committer::Outcome outcome) {
                              ASSERT_FALSE(one.outcome) << "answered twice";
                              one.outcome = std::move(outcome);
                            }});
    }
    for (size_t steps = random() % 4; steps > 0 && !helper.idle(); --steps) helper.step();
    committer.poll(now);
    if (random() % 4 != 0) continue;
    while (!helper.idle()) helper.step();
    for (int i = 0; i < 4; ++i) committer.poll(now);

    for (const Asked& one : asked) {
      ASSERT_TRUE(one.outcome) << "not answered";
      bool changed = false;
      const bool expected = model.judge(one, changed);
      const auto* done = std::get_if<Committer::Done>(&*one.outcome);
      ASSERT_EQ(done != nullptr, expected);
      if (done == nullptr) {
        const auto& refusal = std::get<state::Refusal>(*one.outcome);
        ASSERT_FALSE(refusal.conflicts.empty());
        ++(refusal.is_stale() ? stale : refused);
        ASSERT_EQ(refusal.generation, model.generation);
        continue;
      }
      ASSERT_EQ(done->changed, changed);
      ASSERT_EQ(done->generation, model.generation);
      ++committed;
    }
    asked.clear();
    // Every acknowledged one is visible, every refused one without trace: in the state and to the workers.
    ASSERT_EQ(state.generation(), model.generation);
    ASSERT_EQ(state.prefix_count(), model.owners.size());
    doors[0]->wake();
    const publish::Snapshot& snapshot = doors[0]->begin_burst();
    for (uint32_t prefix = 0; prefix < kPrefixes; ++prefix) {
      const auto owner = model.owners.find(prefix);
      const state::Claim* claim = state.owner(0, prefix_of(prefix));
      ASSERT_EQ(claim != nullptr, owner != model.owners.end());
      const PeerIndex index =
          owner == model.owners.end() ? kNoPeer : index_of(kPeers[owner->second]);
      const uint32_t key = prefix_of(prefix).address.v4_host_order() | 7;
      PeerIndex found = kNoPeer;
      lookup::lookup_burst(snapshot.tunnels[0].allowed_v4, {&key, 1}, {&found, 1});
      ASSERT_EQ(found, index);
    }
    doors[0]->sleep();  // or it would hold up what comes next
  }
  while (!helper.idle()) helper.step();
  for (int i = 0; i < 4; ++i) committer.poll(now);
  // Or the test shows nothing.
  EXPECT_GT(committed, 20u);
  EXPECT_GT(refused, 20u);
  EXPECT_GT(stale, 20u);
}

// `add B; remove B`, and all that may be tried in between: neither the state nor the workers nor the session thread
// ever hear of anybody else. What belongs to a session (keys, counters) is the session thread's alone.
TEST_F(Commits, OfAStrangerWhoComesAndGoesAskNothingOfTheSessionsOfOthers) {
  const auto commit = [&](std::vector<state::Edit> edits) {
    bool done = false;
    committer.submit(
        {.make = [edits = std::move(edits)](
                     const state::State&) { return state::Transaction{.edits = edits}; },
         .answer =
             [&](const Committer::Outcome& outcome) {
               done = std::holds_alternative<Committer::Done>(outcome);
             }});
    while (!helper.idle()) helper.step();
    session.done_ticket = session.last_ticket;
    for (int i = 0; i < 4; ++i) committer.poll(now);
    return done;
  };
  const std::vector<const char*> pool = {"10.8.0.2/32", "fd00:8::2/128", "10.8.0.3/32",
                                         "10.8.0.0/24", "0.0.0.0/0",     "10.9.0.0/16"};
  const PeerIndex alice = index_of("alice"), bob = index_of("bob");
  const size_t posted = session.posted.size();
  std::mt19937 random(20261126);
  size_t came = 0, refused = 0;
  for (int round = 0; round < 200; ++round) {
    state::Edit add{.op = state::Op::PeerAdd, .tunnel = "wg0"};
    add.public_key.bytes[0] = 99;
    add.patch = state::PeerPatch{.name = "stranger"};
    state::Edit wish{.op = random() % 2 == 0 ? state::Op::Claim : state::Op::Replace,
                     .tunnel = "wg0"};
    wish.peer = std::string("stranger");
    wish.prefixes = {*parse_prefix(pool[random() % pool.size()])};
    if (!commit({add, wish})) {
      ++refused;
      continue;
    }
    ++came;
    for (int i = 0; i < 5; ++i) {
      wish.prefixes = {*parse_prefix(pool[random() % pool.size()])};
      refused += commit({wish}) ? 0 : 1;
    }
    state::Edit remove{.op = state::Op::PeerRemove, .tunnel = "wg0"};
    remove.peer = std::string("stranger");
    ASSERT_TRUE(commit({remove}));
    EXPECT_EQ(state.prefix_count(), 3u);
    EXPECT_EQ(index_of("alice"), alice);
    EXPECT_EQ(index_of("bob"), bob);
    doors[0]->wake();
    const publish::Snapshot& snapshot = doors[0]->begin_burst();
    EXPECT_EQ(owner(snapshot, "10.8.0.2"), alice);
    EXPECT_EQ(owner(snapshot, "10.8.0.3"), bob);
    EXPECT_EQ(owner(snapshot, "10.9.0.1"), kNoPeer);
    doors[0]->sleep();
  }
  EXPECT_GT(came, 50u);
  EXPECT_GT(refused, 50u);
  EXPECT_GT(session.posted.size(), posted + came);
  for (size_t i = posted; i < session.posted.size(); ++i) {
    const SessionCommand& command = session.posted[i];
    PeerIndex about = kNoPeer;
    if (const auto* added = std::get_if<AddPeer>(&command)) about = added->settings.peer.index;
    if (const auto* removed = std::get_if<RemovePeer>(&command)) about = removed->peer.index;
    ASSERT_NE(about, kNoPeer) << "a command of another kind";
    ASSERT_NE(about, alice);
    ASSERT_NE(about, bob);
  }
}

}  // namespace
}  // namespace turnpike::gateway

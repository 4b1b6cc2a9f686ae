// Random transactions of several clients against a model that knows nothing of givers, takers and overlays:
// every peer wants a set of prefixes, and a transaction is refused for owners when two enabled peers would
// want the same one in the end.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "control/state/rollback.h"
#include "tests/unit/state/state_fixture.h"

namespace turnpike::state {
namespace {

constexpr int kPeers = 6;

const std::vector<Prefix>& pool() {
  static const std::vector<Prefix> all =
      prefixes({"0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/32", "10.0.0.2/32",
                "10.0.0.3/32", "10.0.0.4/31", "::/0", "fd00::/8", "fd00::/64", "fd00::1/128"});
  return all;
}

struct ModelPeer {
  bool enabled = true;
  std::set<Prefix> wants;
};

struct Model {
  std::map<std::string, ModelPeer> peers;

  bool owns(const std::string& peer, const Prefix& prefix) const {
    const auto found = peers.find(peer);
    return found != peers.end() && found->second.enabled && found->second.wants.contains(prefix);
  }
  std::set<Prefix> wanted_twice() const {
    std::set<Prefix> seen, twice;
    for (const auto& [name, peer] : peers) {
      if (!peer.enabled) continue;
      for (const Prefix& p : peer.wants) {
        if (!seen.insert(p).second) twice.insert(p);
      }
    }
    return twice;
  }
};

std::string name_of(const PeerSelector& selector) { return std::get<std::string>(selector); }

// False for what a disabled peer notes or forgets.
bool changes_owners(const Model& before, const Model& after, const Edit& e) {
  const auto enabled = [](const Model& model, const std::string& name) {
    const auto found = model.peers.find(name);
    return found == model.peers.end() || found->second.enabled;
  };
  if (e.op == Op::Release) return enabled(before, name_of(e.peer));
  if (e.op == Op::Move) {
    return enabled(before, name_of(e.peer)) || enabled(after, name_of(e.to));
  }
  return enabled(after, e.op == Op::PeerAdd ? *e.patch->name : name_of(e.peer));
}

// The outcome, or nothing if the transaction is wrong for another reason than owners.
std::optional<Model> outcome(const Model& before, const std::vector<Edit>& edits) {
  Model after = before;
  std::map<Prefix, std::pair<size_t, Op>> listed;
  std::set<std::string> removed, added, set, replaced;
  for (const Edit& e : edits) {
    if (e.op == Op::PeerAdd) added.insert(*e.patch->name);
    if (e.op == Op::PeerRemove && !removed.insert(name_of(e.peer)).second) return std::nullopt;
    if (e.op == Op::PeerSet) set.insert(name_of(e.peer));
  }
  for (const std::string& name : removed) {
    if (!before.peers.contains(name) || set.contains(name)) return std::nullopt;
    after.peers.erase(name);
  }
  for (const Edit& e : edits) {
    if (e.op == Op::PeerAdd && !after.peers.emplace(*e.patch->name, ModelPeer{}).second) {
      return std::nullopt;
    }
    if (e.op == Op::PeerSet) {
      if (!before.peers.contains(name_of(e.peer))) return std::nullopt;
      after.peers[name_of(e.peer)].enabled = *e.patch->enabled;
    }
  }
  for (size_t i = 0; i < edits.size(); ++i) {
    if (!changes_owners(before, after, edits[i])) continue;
    for (const Prefix& p : edits[i].prefixes) {
      const auto [at, fresh] = listed.try_emplace(p, i, edits[i].op);
      if (!fresh && at->second.first != i &&
          (at->second.second != Op::Replace || edits[i].op != Op::Replace)) {
        return std::nullopt;
      }
    }
  }
  for (const Edit& e : edits) {  // what is given
    if (e.op == Op::Release || e.op == Op::Move) {
      const std::string giver = name_of(e.peer);
      const auto had = before.peers.find(giver);
      for (const Prefix& p : e.prefixes) {
        const bool may = had != before.peers.end() && had->second.wants.contains(p) &&
                         (had->second.enabled || e.op == Op::Release);
        if (!may) return std::nullopt;
        // A new peer of the same name never had it.
        if (!removed.contains(giver)) after.peers[giver].wants.erase(p);
      }
      if (had == before.peers.end() && !added.contains(giver)) return std::nullopt;
    }
    if (e.op == Op::Replace) {
      const std::string peer = name_of(e.peer);
      if (!after.peers.contains(peer) || !replaced.insert(peer).second) return std::nullopt;
      after.peers[peer].wants.clear();
    }
  }
  for (const Edit& e : edits) {  // what is taken
    std::string taker;
    if (e.op == Op::Claim || e.op == Op::Replace) taker = name_of(e.peer);
    if (e.op == Op::Move) taker = name_of(e.to);
    if (e.op == Op::PeerAdd) taker = *e.patch->name;
    if (taker.empty()) continue;
    if (!after.peers.contains(taker)) return std::nullopt;
    after.peers[taker].wants.insert(e.prefixes.begin(), e.prefixes.end());
  }
  return after;
}

class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {
    auto change = plan(state_, {.edits = {add_tunnel("wg0")}});
    state_.apply(*change);
  }

  void step() {
    std::vector<Edit> edits;
    const size_t count = 1 + pick(4);
    for (size_t i = 0; i < count; ++i) edits.push_back(edit());
    Transaction transaction{.edits = edits};
    // Each of three clients remembers the generation that it saw last; some look before they leap.
    Generation& seen = seen_[pick(seen_.size())];
    const bool checks = pick(3) == 0;
    if (checks) transaction.if_generation = seen;
    const bool stale = checks && seen != state_.generation();
    seen = state_.generation();

    const std::string before = dump(state_);
    const auto change = plan(state_, transaction);
    const std::optional<Model> after = outcome(model_, edits);
    if (stale) {
      ASSERT_FALSE(change);
      ASSERT_TRUE(change.error().is_stale());
    } else if (after && after->wanted_twice().empty()) {
      ASSERT_TRUE(change) << text(change.error());
      const Transaction back = undo(state_, *change);
      // A peer that goes and comes back alike is another peer all the same.
      const bool reborn = !change->peers_removed.empty() && !change->peers_added.empty();
      state_.apply(*change);
      model_ = *after;
      ASSERT_TRUE(reborn || change->empty() == (dump(state_) == before));
      check_owners();
      if (pick(2) == 0) {
        ++undone_;
        const std::string here = dump(state_);
        const auto reverse = plan(state_, back);
        ASSERT_TRUE(reverse) << text(reverse.error());
        const Transaction forth = undo(state_, *reverse);
        state_.apply(*reverse);
        ASSERT_EQ(dump(state_), before);
        const auto again = plan(state_, forth);
        ASSERT_TRUE(again) << text(again.error());
        state_.apply(*again);
        ASSERT_EQ(dump(state_), here);
      }
      past_.push_back({.before = before, .back = back});
      if (pick(8) == 0) roll_back(1 + pick(std::min<size_t>(past_.size(), 10)));
      ++committed_;
    } else {
      ASSERT_FALSE(change);
      ASSERT_EQ(dump(state_), before);
      if (after) {
        std::set<Prefix> named;
        for (const Conflict& c : change.error().conflicts) {
          ASSERT_TRUE(c.kind == ConflictKind::OwnedByAnother || c.kind == ConflictKind::TakenTwice);
          ASSERT_TRUE(c.prefix.has_value());
          ASSERT_FALSE(c.owner.empty() || c.peer.empty() || c.owner == c.peer);
          named.insert(*c.prefix);
        }
        ASSERT_EQ(named, after->wanted_twice());  // every one, and no other
        ++conflicts_;
      }
    }
  }

  int committed_ = 0;
  int conflicts_ = 0;
  int undone_ = 0;
  int rolled_back_ = 0;

 private:
  // Over several commits in one step, and forth again.
  void roll_back(size_t commits) {
    std::vector<Transaction> ways;
    for (size_t i = 1; i <= commits; ++i) ways.push_back(past_[past_.size() - i].back);
    const std::string here = dump(state_);
    const auto transaction = rollback(state_, ways);
    ASSERT_TRUE(transaction) << text(transaction.error());
    const auto change = plan(state_, *transaction);
    ASSERT_TRUE(change) << text(change.error());
    const Transaction forth = undo(state_, *change);
    state_.apply(*change);
    ASSERT_EQ(dump(state_), past_[past_.size() - commits].before);
    const auto again = plan(state_, forth);
    ASSERT_TRUE(again) << text(again.error());
    state_.apply(*again);
    ASSERT_EQ(dump(state_), here);
    ++rolled_back_;
  }

  size_t pick(size_t below) { return random_() % below; }
  std::string peer() { return "p" + std::to_string(pick(kPeers)); }

  Edit edit() {
    std::vector<Prefix> list;
    for (size_t i = pick(4); i > 0; --i) list.push_back(pool()[pick(pool().size())]);
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
    Edit made = claim(peer(), {});
    const size_t kind = pick(16);
    if (kind < 3) {
      made = claim(peer(), {});
    } else if (kind < 6) {
      made = release(peer(), {});
      keep_owned(list, made);
    } else if (kind < 9) {
      made = move(peer(), peer(), {});
      keep_owned(list, made);
    } else if (kind < 11) {
      made = replace(peer(), {});
    } else if (kind < 13) {
      const size_t number = pick(kPeers);
      made = add("p" + std::to_string(number), number);
    } else {
      made = kind == 13 ? remove(peer()) : enable(peer(), pick(3) != 0);
      if (kind == 15) {  // the model does not know these; ways back and rollbacks have to
        made.patch->persistent_keepalive = static_cast<uint16_t>(pick(3));
        if (pick(2) == 0) made.patch->description = std::to_string(pick(3));
      }
      list.clear();
    }
    made.prefixes = list;
    return made;
  }

  // Mostly what the giver has, or hardly anything would ever succeed.
  void keep_owned(std::vector<Prefix>& list, const Edit& made) {
    if (pick(4) == 0) return;
    const auto found = model_.peers.find(name_of(made.peer));
    list.clear();
    if (found == model_.peers.end()) return;
    for (const Prefix& p : found->second.wants) {
      if (pick(2) == 0) list.push_back(p);
    }
  }

  void check_owners() {
    ASSERT_EQ(state_.peer_count(), model_.peers.size());
    uint32_t owned = 0;
    for (const Prefix& p : pool()) {
      const Claim* claim = state_.owner(0, p);
      std::string owner;
      for (const auto& [name, peer] : model_.peers) {
        if (model_.owns(name, p)) owner = name;
      }
      ASSERT_EQ(claim == nullptr ? "" : label(state_.peer(claim->peer)), owner) << to_string(p);
      owned += owner.empty() ? 0 : 1;
    }
    ASSERT_EQ(state_.prefix_count(), owned);
    for (const auto& [name, peer] : model_.peers) {
      const uint32_t slot = state_.find_peer(0, std::string_view(name));
      ASSERT_NE(slot, kNoSlot);
      std::set<Prefix> wants;
      state_.for_each_claim(slot, [&](const Claim& c) { wants.insert(c.prefix); });
      ASSERT_EQ(wants, peer.wants);
    }
  }

  std::mt19937_64 random_;
  State state_;
  Model model_;
  std::array<Generation, 3> seen_{};
  struct Past {
    std::string before;
    Transaction back;
  };
  std::vector<Past> past_;  // each commit
};

TEST(Transactions, DoWhatTheModelSaysAndNothingElse) {
  const char* only = std::getenv("TURNPIKE_SEED");
  const uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  const uint64_t worlds = only != nullptr ? 1 : 100;
  int committed = 0, conflicts = 0, undone = 0, rolled_back = 0;
  for (uint64_t seed = first; seed < first + worlds; ++seed) {
    SCOPED_TRACE(testing::Message() << "TURNPIKE_SEED=" << seed);
    World world(seed);
    for (int i = 0; i < 300; ++i) {
      world.step();
      if (testing::Test::HasFatalFailure()) return;
    }
    committed += world.committed_;
    conflicts += world.conflicts_;
    undone += world.undone_;
    rolled_back += world.rolled_back_;
  }
  if (only == nullptr) {  // the walk reaches what it is about
    EXPECT_GT(committed, 3000);
    EXPECT_GT(conflicts, 500);
    EXPECT_GT(undone, 1000);
    EXPECT_GT(rolled_back, 300);
  }
}

TEST(Transactions, LeaveEveryOtherPeerAsItWasWhenAStrangerComesAndGoes) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    State state;
    const auto commit = [&](std::vector<Edit> edits) {
      const auto change = plan(state, {.edits = std::move(edits)});
      if (change) state.apply(*change);
      return change.has_value();
    };
    ASSERT_TRUE(commit({add_tunnel("wg0"), add("a", 1), add("b", 2)}));
    for (const Prefix& p : pool()) {
      Edit e = claim(random() % 2 == 0 ? "a" : "b", {});
      e.prefixes = {p};
      if (random() % 3 != 0) {
        ASSERT_TRUE(commit({e}));
      }
    }
    const std::string before = dump(state);
    const PeerId a = state.peer(state.find_peer(0, std::string_view("a"))).id;
    bool came = false;
    for (int i = 0; i < 20; ++i) {
      std::vector<Edit> edits;
      if (!came) edits.push_back(add("x", 3));
      Edit wish = random() % 2 == 0 ? claim("x", {}) : replace("x", {});
      wish.prefixes = {pool()[random() % pool().size()]};
      edits.push_back(wish);
      came |= commit(edits);
    }
    if (came) {
      ASSERT_TRUE(commit({remove("x")}));
    }
    ASSERT_EQ(dump(state), before);
    ASSERT_EQ(state.peer(state.find_peer(0, std::string_view("a"))).id, a);
  }
}

}  // namespace
}  // namespace turnpike::state

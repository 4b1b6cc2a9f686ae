// Commits whose log is played by the test: what it writes, and what it refuses.
#include <gtest/gtest.h>

#include "control/gateway/committer.h"
#include "tests/unit/gateway/gateway_fixture.h"

namespace turnpike::gateway {
namespace {

class FakeLog final : public store::Log {
 public:
  void post(store::Entry entry, uint64_t chain, Done done) override {
    posted.push_back({std::get<store::Record>(std::move(entry)), chain, std::move(done)});
  }
  // The oldest that waits.
  void answer(const std::string& error = "") {
    ASSERT_LT(answered, posted.size());
    auto& job = posted[answered++];
    if (!error.empty()) failed_chain = std::max(failed_chain, job.chain);
    if (job.chain <= failed_chain) return job.done(fail(std::string("the disk is full")));
    durable.push_back(job.record.entry.generation);
    if (job.record.change != nullptr) changes.push_back(job.record.change);
    job.done({});
  }
  void answer_all() {
    while (answered < posted.size()) answer();
  }

  struct Posted {
    store::Record record;
    uint64_t chain;
    Done done;
  };
  std::deque<Posted> posted;
  size_t answered = 0;
  uint64_t failed_chain = 0;
  std::vector<Generation> durable;
  std::vector<std::shared_ptr<const state::Change>> changes;  // durable ones
};

class DurableCommits : public GatewayTest {
 protected:
  DurableCommits() : GatewayTest(8) {}

  void submit(std::vector<state::Edit> edits, const std::string& name,
              std::optional<Duration> confirm = {}, std::optional<Generation> if_generation = {}) {
    state::Transaction transaction{
        .if_generation = if_generation, .comment = name, .edits = std::move(edits)};
    committer.submit({.make = [transaction](const state::State&) { return transaction; },
                      .entry = {.at = {1'000}, .uid = 5, .pid = 6},
                      .confirm = confirm,
                      .answer =
                          [this, name](Committer::Outcome outcome) {
                            answers.push_back(name);
                            outcomes.push_back(std::move(outcome));
                          }});
  }
  void see() {
    session.done_ticket = session.last_ticket;
    for (int i = 0; i < 4; ++i) {
      committer.poll(now);
      for (auto& door : doors) (void)door->begin_burst();
      settle();
    }
  }
  static state::Edit claim(const char* peer, const char* prefix) {
    state::Edit e{.op = state::Op::Claim, .tunnel = "wg0", .prefixes = {*parse_prefix(prefix)}};
    e.peer = std::string(peer);
    return e;
  }
  static state::Edit add(const char* name, uint8_t key, std::vector<Prefix> prefixes = {}) {
    state::Edit e{.op = state::Op::PeerAdd, .tunnel = "wg0", .prefixes = std::move(prefixes)};
    e.public_key.bytes[0] = key;
    e.patch = state::PeerPatch{.name = name};
    return e;
  }
  std::string owner_in_state(const char* prefix) {
    const state::Claim* c = state.owner(0, *parse_prefix(prefix));
    return c == nullptr ? "" : state::label(state.peer(c->peer));
  }
  // The generation that a start would find on the disk, where each is made of the one before.
  [[nodiscard]] Generation stored() const {
    Generation found = at_start;
    for (const auto& change : log.changes) EXPECT_EQ(change->base, found++);
    return found;
  }
  [[nodiscard]] std::string failure(size_t at) {
    const auto* f = std::get_if<Committer::Failure>(&outcomes.at(at));
    return f == nullptr ? "" : f->what;
  }

  Generation at_start = state.generation();
  FakeLog log;
  std::vector<std::string> answers;
  std::vector<Committer::Outcome> outcomes;
  Committer committer{state, *gateway,
                      [](auto work, auto done) {
                        work();
                        done();
                      },
                      [this] { return now; }, &log};
};

TEST_F(DurableCommits, NothingIsPublishedOrAnsweredBeforeItIsDurable) {
  const Generation before = gateway->newest().generation;
  submit({claim("alice", "10.9.0.0/24")}, "a");
  see();
  EXPECT_TRUE(answers.empty());
  EXPECT_EQ(gateway->newest().generation, before);
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.9.0.1"), kNoPeer);
  log.answer();
  see();
  EXPECT_EQ(answers, std::vector<std::string>{"a"});
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.9.0.1"), index_of("alice"));
  EXPECT_EQ(log.posted[0].record.entry.generation, before + 1);
  EXPECT_EQ(log.posted[0].record.entry.comment, "a");
  EXPECT_EQ(store::decode_transaction(log.posted[0].record.undo).value().edits.size(), 1u);
}

TEST_F(DurableCommits, TheNextIsJudgedBeforeTheFirstIsDurableSoThatTheyShareASync) {
  submit({claim("alice", "10.9.0.0/24")}, "first");
  submit({claim("bob", "10.9.1.0/24")}, "second");
  submit({claim("bob", "10.9.0.0/24")}, "conflicts with the first");
  submit({claim("alice", "10.9.0.0/24")}, "is so already");
  ASSERT_EQ(log.posted.size(), 2u);
  EXPECT_TRUE(answers.empty()) << "an answer may rest on what is not durable yet";
  log.answer_all();
  see();
  ASSERT_EQ(answers.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    if (answers[i] == "conflicts with the first") {
      EXPECT_TRUE(std::holds_alternative<state::Refusal>(outcomes[i]));
    } else if (answers[i] == "is so already") {
      EXPECT_FALSE(std::get<Committer::Done>(outcomes[i]).changed);
    } else {
      EXPECT_TRUE(std::get<Committer::Done>(outcomes[i]).changed);
    }
  }
}

TEST_F(DurableCommits, WhatCannotBeWrittenIsTakenBackWithAllThatRestsOnIt) {
  const PeerIndex alice = index_of("alice");
  const auto packets_before = gateway->newest().generation;
  submit({{.op = state::Op::PeerRemove, .tunnel = "wg0", .peer = std::string("alice")}}, "removal");
  submit({add("carol", 3, {*parse_prefix("10.8.0.2/32")})}, "takes what is free then");
  submit({claim("bob", "10.8.0.2/32")}, "refused because of carol");
  log.answer("full");
  while (log.answered < log.posted.size()) log.answer();
  see();
  ASSERT_EQ(outcomes.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(failure(i), "the disk is full; nothing was changed") << answers[i];
  }
  EXPECT_TRUE(log.durable.empty());
  EXPECT_EQ(owner_in_state("10.8.0.2/32"), "alice");
  EXPECT_EQ(index_of("alice"), alice) << "the peer, its slot and its session are as they were";
  EXPECT_EQ(gateway->newest().generation, packets_before);
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.2"), alice);
  EXPECT_EQ(committer.in_force(), packets_before);
  EXPECT_EQ(session.count<RemovePeer>(), 0u);
  // Later, with room on the disk, it goes on.
  submit({claim("alice", "10.9.0.0/24")}, "later");
  log.answer();
  see();
  EXPECT_EQ(answers.back(), "later");
  EXPECT_EQ(std::get<Committer::Done>(outcomes.back()).generation, packets_before + 1);
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.9.0.1"), alice);
}

TEST_F(DurableCommits, NumbersThatWereShownAreNeverThoseOfAnotherStateAfterARestart) {
  const Generation before = committer.generation();
  EXPECT_EQ(before, state.generation());
  for (int round = 0; round < 3; ++round) {
    submit({claim("alice", "10.9.0.0/24")}, "first");
    submit({claim("alice", "10.9.1.0/24")}, "second");
    EXPECT_EQ(committer.generation(), before) << "nobody hears of what is on its way to the disk";
    log.answer("full");
    log.answer("full");
    EXPECT_EQ(committer.generation(), before);
    EXPECT_EQ(state.generation(), before) << "what is taken back gives its number back";
    EXPECT_EQ(stored(), committer.generation()) << "a restart goes on with it";
  }
  // Who saw that generation may commit on it.
  submit({claim("bob", "10.9.1.0/24")}, "on what was shown", {}, before);
  log.answer();
  EXPECT_EQ(committer.generation(), before + 1) << "durable, though no worker has it yet";
  see();
  EXPECT_EQ(std::get<Committer::Done>(outcomes.back()).generation, before + 1);
  EXPECT_EQ(stored(), before + 1);
  submit({claim("bob", "10.9.2.0/24")}, "late", {}, before);
  log.answer_all();
  EXPECT_TRUE(std::get<state::Refusal>(outcomes.back()).is_stale());
}

// The generation that a diff shows is that of the state it is judged on.
TEST_F(DurableCommits, ADryRunIsJudgedWhenNothingIsOnItsWayToTheDisk) {
  for (const bool large : {false, true}) {
    for (const bool written : {false, true}) {  // so that the claim is news each time
      SCOPED_TRACE(testing::Message() << "large " << large << ", written " << written);
      const Generation before = committer.generation();
      std::vector<Generation> seen;
      bool answered = false;
      submit({claim("alice", large ? "10.9.0.0/24" : "10.9.1.0/24")}, "on its way");
      committer.submit(
          {.make = [](const state::State&) { return state::Transaction{}; },
           .large = large,
           .dry_run = true,
           .amend = [&](state::Change&) { seen = {state.generation(), committer.generation()}; },
           .answer = [&](const Committer::Outcome&) { answered = true; }});
      EXPECT_EQ(state.generation(), before + 1);
      EXPECT_EQ(committer.generation(), before);
      EXPECT_TRUE(seen.empty() && !answered);
      log.answer(written ? "" : "the disk is full");
      see();
      EXPECT_TRUE(answered);
      const Generation after = before + (written ? 1 : 0);
      // A small one may have been made of what was taken back, and is refused.
      if (written || large) {
        EXPECT_EQ(seen, (std::vector<Generation>{after, after}));
      }
    }
  }
}

TEST_F(DurableCommits, WhatIsBeforeAFailureStands) {
  submit({claim("alice", "10.9.0.0/24")}, "stands");
  submit({claim("alice", "10.9.1.0/24")}, "fails");
  log.answer();
  log.answer("full");
  see();
  EXPECT_EQ(owner_in_state("10.9.0.0/24"), "alice");
  EXPECT_EQ(owner_in_state("10.9.1.0/24"), "");
}

TEST_F(DurableCommits, WhileOneLooksUpWhatIsDurableNothingComesInBetween) {
  submit({claim("alice", "10.9.0.0/24")}, "before");
  std::function<void()> go;
  Generation judged_on = 0;
  committer.submit({.make =
                        [&](const state::State& s) {
                          judged_on = s.generation();
                          return state::Transaction{.edits = {claim("bob", "10.9.1.0/24")}};
                        },
                    .look_up =
                        [&](Committer::Request& request, std::function<void()> call) {
                          EXPECT_EQ(state.generation(), at_start + 1);
                          request.settles = {7};
                          go = std::move(call);
                        },
                    .answer = [&](const Committer::Outcome&) { answers.emplace_back("it"); }});
  submit({claim("bob", "10.9.2.0/24")}, "after");
  EXPECT_FALSE(go) << "the one before is not durable";
  log.answer();
  ASSERT_TRUE(go);
  EXPECT_EQ(log.posted.size(), 1u);
  EXPECT_EQ(state.generation(), at_start + 1);
  go();
  EXPECT_EQ(judged_on, at_start + 1);
  log.answer_all();
  log.answer_all();
  see();
  EXPECT_EQ(answers, (std::vector<std::string>{"before", "it", "after"}));
  EXPECT_EQ(log.posted[1].record.settled, std::vector<Generation>{7});
  EXPECT_EQ(log.posted[2].record.entry.generation, at_start + 3);
}

TEST_F(DurableCommits, ALargeOneIsDurableBeforeItIsTrue) {
  std::vector<state::Edit> edits;
  for (int i = 0; i < 100; ++i) {
    edits.push_back(claim("alice", ("10.20." + std::to_string(i) + ".0/24").c_str()));
  }
  submit({claim("bob", "10.9.0.0/24")}, "small");
  submit(edits, "large");
  EXPECT_EQ(log.posted.size(), 1u) << "it waits for what is in flight";
  log.answer();
  ASSERT_EQ(log.posted.size(), 2u);
  EXPECT_EQ(owner_in_state("10.20.7.0/24"), "");
  log.answer();
  see();
  EXPECT_EQ(owner_in_state("10.20.7.0/24"), "alice");
  EXPECT_EQ(answers, (std::vector<std::string>{"small", "large"}));
  submit({{.op = state::Op::Replace, .tunnel = "wg0", .peer = std::string("alice")}}, "no room");
  log.answer("full");
  EXPECT_EQ(failure(2), "the disk is full; nothing was changed");
  EXPECT_EQ(owner_in_state("10.20.7.0/24"), "alice");
}

TEST_F(DurableCommits, WhatTheGatewayHasNoRoomForIsUndoneOnTheDiskToo) {
  for (uint8_t i = 0; i < 6; ++i) {
    submit({add(("p" + std::to_string(i)).c_str(), static_cast<uint8_t>(20 + i))}, "fills");
  }
  log.answer_all();
  see();
  ASSERT_EQ(gateway->peers().size(), 8u);
  const Generation before = state.generation();
  submit({add("one", 40)}, "too many");
  submit({claim("one", "10.9.0.0/24")}, "rests on it");
  log.answer();
  EXPECT_EQ(failure(6), failure(7));
  submit({claim("bob", "10.9.5.0/24")}, "waits until what is on the disk is known");
  log.answer();  // which rested on it
  log.answer();  // the first of those that undo them
  EXPECT_EQ(committer.generation(), before) << "the one that runs";
  EXPECT_EQ(outcomes.size(), 8u);
  log.answer();
  EXPECT_EQ(committer.generation(), before + 4);
  EXPECT_EQ(stored(), before + 4);
  see();
  EXPECT_NE(failure(6).find("peer slots"), std::string::npos) << failure(6);
  EXPECT_EQ(failure(7), failure(6));
  EXPECT_EQ(state.find_peer(0, std::string_view("one")), state::kNoSlot);
  EXPECT_EQ(log.durable.back(), before + 4);
  const store::Record& undone = log.posted.at(log.answered - 1).record;
  EXPECT_EQ(undone.entry.cause, store::Cause::Withdrawn);
  ASSERT_EQ(undone.change->peers_removed.size(), 1u);
  submit({claim("alice", "10.9.0.0/24")}, "goes on");
  log.answer_all();
  see();
  ASSERT_EQ(outcomes.size(), 10u);
  EXPECT_EQ(std::get<Committer::Done>(outcomes[8]).generation, before + 5);
  EXPECT_EQ(std::get<Committer::Done>(outcomes[9]).generation, before + 6);
}

TEST_F(DurableCommits, WhenEvenThatCannotBeWrittenNothingMoreIsCommitted) {
  for (uint8_t i = 0; i < 6; ++i) {
    submit({add(("p" + std::to_string(i)).c_str(), static_cast<uint8_t>(20 + i))}, "fills");
  }
  log.answer_all();
  const Generation before = committer.generation();
  submit({add("one", 40)}, "too many");
  std::vector<state::Edit> edits;
  for (int i = 0; i < 100; ++i) {
    edits.push_back(claim("alice", ("10.20." + std::to_string(i) + ".0/24").c_str()));
  }
  submit(edits, "large, waits");
  log.answer();
  log.answer("full");
  EXPECT_NE(failure(outcomes.size() - 1).find("restart turnpiked"), std::string::npos);
  // The disk has before + 1: nobody may have seen this number, nor any behind it.
  EXPECT_EQ(stored(), before + 1);
  EXPECT_EQ(committer.generation(), before);
  EXPECT_EQ(state.generation(), before);
  EXPECT_EQ(log.answered, log.posted.size());
  submit({claim("alice", "10.9.0.0/24")}, "refused");
  EXPECT_NE(failure(outcomes.size() - 1).find("restart turnpiked"), std::string::npos);
}

TEST_F(DurableCommits, AFileThatAsksForNothingNewIsStillRemembered) {
  auto rows = std::make_shared<store::FileRows>();
  rows->tunnels.push_back({"wg0", {}});
  bool answered = false;
  committer.submit({.make = [](const state::State&) { return state::Transaction{}; },
                    .file = rows,
                    .answer =
                        [&](Committer::Outcome outcome) {
                          answered = true;
                          EXPECT_FALSE(std::get<Committer::Done>(outcome).changed);
                        }});
  ASSERT_EQ(log.posted.size(), 1u);
  EXPECT_EQ(log.posted[0].record.change, nullptr);
  EXPECT_EQ(log.posted[0].record.file, rows);
  EXPECT_FALSE(answered);
  log.answer();
  EXPECT_TRUE(answered);
}

TEST_F(DurableCommits, ACommitToBeConfirmedSaysUntilWhen) {
  submit({claim("alice", "10.9.0.0/24")}, "", 60s);
  const auto& unconfirmed = log.posted.at(0).record.unconfirmed;
  ASSERT_TRUE(unconfirmed.has_value());
  EXPECT_EQ(unconfirmed->generation, log.posted[0].record.entry.generation);
  EXPECT_EQ(unconfirmed->until.nanoseconds, 60'000'001'000u);
}

}  // namespace
}  // namespace turnpike::gateway

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
};

class DurableCommits : public GatewayTest {
 protected:
  DurableCommits() : GatewayTest(8) {}

  void submit(std::vector<state::Edit> edits, const std::string& name,
              std::optional<Duration> confirm = {}) {
    state::Transaction transaction{.comment = name, .edits = std::move(edits)};
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
  [[nodiscard]] std::string failure(size_t at) {
    const auto* f = std::get_if<Committer::Failure>(&outcomes.at(at));
    return f == nullptr ? "" : f->what;
  }

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
  EXPECT_EQ(log.posted[0].record.undo.edits.size(), 1u);
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
  EXPECT_GT(std::get<Committer::Done>(outcomes.back()).generation, packets_before + 2);
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.9.0.1"), alice);
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
  log.answer_all();  // and the two that undo them
  see();
  EXPECT_NE(failure(6).find("peer slots"), std::string::npos) << failure(6);
  EXPECT_EQ(failure(7), failure(6));
  EXPECT_EQ(state.find_peer(0, std::string_view("one")), state::kNoSlot);
  EXPECT_EQ(log.durable.back(), before + 4);
  EXPECT_EQ(log.posted.back().record.entry.cause, store::Cause::Withdrawn);
  ASSERT_EQ(log.posted.back().record.change->peers_removed.size(), 1u);
  submit({claim("alice", "10.9.0.0/24")}, "goes on");
  log.answer();
  see();
  EXPECT_EQ(std::get<Committer::Done>(outcomes.back()).generation, before + 5);
}

TEST_F(DurableCommits, WhenEvenThatCannotBeWrittenNothingMoreIsCommitted) {
  for (uint8_t i = 0; i < 6; ++i) {
    submit({add(("p" + std::to_string(i)).c_str(), static_cast<uint8_t>(20 + i))}, "fills");
  }
  log.answer_all();
  submit({add("one", 40)}, "too many");
  log.answer();
  log.answer("full");
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

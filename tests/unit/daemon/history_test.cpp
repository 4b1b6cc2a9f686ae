// Commits that await their confirmation, with a real journal and short times. In place of the committer and the workers:
// each transaction is judged, written and true at once.
#include "control/daemon/history.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include "tests/unit/store/store_fixture.h"

namespace turnpike::daemon {
namespace {

using namespace std::chrono_literals;
using gateway::Committer;
using state::PeerPatch;

class HistoryTest : public store::StoreTest {
 protected:
  HistoryTest() {
    commit_now({state::add_tunnel("wg0"), state::add("bob", 2)});
    reopen_journal();
  }
  ~HistoryTest() override {
    history_.reset();
    journal_.reset();
  }

  void commit_now(std::vector<state::Edit> edits) { store::StoreTest::commit(std::move(edits)); }

  void reopen_journal() {
    journal_ = std::make_unique<store::Journal>(
        std::move(*store_), [this](auto call) { boost::asio::post(io_, std::move(call)); });
    history_ = std::make_unique<History>(History::Parts{
        .io = io_,
        .journal = *journal_,
        .generation = [this] { return state_.generation(); },
        .submit = [this](Committer::Request request) { submit(std::move(request)); },
        .coming = [this]() -> const std::set<Generation>& { return coming_; },
        .wall = [] { return WallTime{1'000}; },
        .told = [](const Committer::Outcome& outcome, const store::HistoryEntry&,
                   bool) -> api::CommitAnswer {
          const auto* done = std::get_if<Committer::Done>(&outcome);
          if (done == nullptr) return api::CommitFailure{};
          return api::Committed{.generation = done->generation, .changed = done->changed};
        },
        .undo_again_after = 50ms});
  }

  void submit(Committer::Request request) {
    if (!request.look_up) return judge(request);
    const auto asked = std::make_shared<Committer::Request>(std::move(request));
    asked->look_up(*asked, [this, asked] { judge(*asked); });
  }
  void judge(const Committer::Request& request) {
    const state::Transaction transaction = request.make(state_);
    auto change = state::plan(state_, transaction);
    if (!change) return request.answer(std::move(change.error()));
    if (change->empty()) {
      return request.answer(Committer::Done{.generation = state_.generation(), .changed = false});
    }
    store::Record record{.change = std::make_shared<const state::Change>(*change),
                         .entry = request.entry,
                         .undo = store::encode(state::undo(state_, *change)),
                         .file = {},
                         .unconfirmed = {},
                         .settled = request.settles};
    record.entry.generation = state_.generation() + 1;
    record.entry.comment = transaction.comment;
    if (request.confirm) {
      record.unconfirmed =
          store::Unconfirmed{record.entry.generation, WallTime{2'000}, *request.confirm};
    }
    journal_->post(std::move(record), ++chain_,
                   [this, change = std::move(*change),
                    answer = request.answer](const Result<void, std::string>& written) {
                     if (!written) return answer(Committer::Failure{.what = written.error()});
                     answer(Committer::Done{.generation = state_.apply(change)});
                   });
  }

  // Until it is true; then it awaits its confirmation, if it is to.
  Generation commit(std::vector<state::Edit> edits, std::optional<Duration> confirm = {}) {
    std::optional<Committer::Outcome> outcome;
    submit({.make = [&](const state::State&) { return state::Transaction{.edits = edits}; },
            .confirm = confirm,
            .answer = [&](Committer::Outcome o) { outcome = std::move(o); }});
    run_until([&] { return outcome.has_value(); });
    const auto* done = outcome ? std::get_if<Committer::Done>(&*outcome) : nullptr;
    if (done == nullptr) {
      ADD_FAILURE() << "not committed";
      return 0;
    }
    if (confirm) history_->await(done->generation, *confirm);
    return done->generation;
  }
  Generation keepalive(uint16_t seconds, std::optional<Duration> confirm = {}) {
    return commit({state::set("bob", {.persistent_keepalive = seconds})}, confirm);
  }
  [[nodiscard]] uint16_t keepalive() const { return bob().persistent_keepalive; }
  [[nodiscard]] state::PeerAttributes bob() const {
    return state_.peer(state_.find_peer(0, std::string_view("bob"))).attributes();
  }
  [[nodiscard]] bool has(const char* peer) const {
    return state_.find_peer(0, std::string_view(peer)) != state::kNoSlot;
  }

  void run_until(const std::function<bool()>& reached) {
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (!reached() && std::chrono::steady_clock::now() < until) {
      io_.restart();
      io_.run_for(2ms);
    }
    ASSERT_TRUE(reached());
  }
  void run_for(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    run_until([&] { return std::chrono::steady_clock::now() >= until; });
  }
  api::ConfirmAnswer confirm() {
    std::optional<api::ConfirmAnswer> answer;
    history_->confirm({}, [&](api::ConfirmAnswer a) { answer = std::move(a); });
    run_until([&] { return answer.has_value(); });
    return answer.value_or(api::NotFound{"no answer"});
  }
  // Neither here nor on the disk.
  void expect_nothing_awaits() {
    EXPECT_TRUE(std::holds_alternative<api::NotFound>(confirm()));
    history_.reset();
    journal_.reset();
    EXPECT_TRUE(load().unconfirmed.empty());
  }

  boost::asio::io_context io_;
  std::unique_ptr<store::Journal> journal_;
  std::unique_ptr<History> history_;
  const std::set<Generation> coming_;  // none: each is answered at once
  uint64_t chain_ = 0;
};

TEST_F(HistoryTest, AnUndoLeavesAttributesThatTheCommitDidNotTouch) {
  keepalive(25, 50ms);
  commit({state::enable("bob", false)});
  run_until([&] { return keepalive() == 0; });
  EXPECT_FALSE(bob().enabled) << "revoked meanwhile, without a word of confirmation";
  expect_nothing_awaits();
}

TEST_F(HistoryTest, OfTwoThatAwaitConfirmationOfTheSameAttributeTheSecondBringsTheFirstNotBack) {
  keepalive(25, 50ms);
  keepalive(30, 300ms);
  run_until([&] { return keepalive() == 0; });
  run_for(400ms);
  EXPECT_EQ(keepalive(), 0) << "25 was never confirmed";
  expect_nothing_awaits();
}

TEST_F(HistoryTest, TheFirstOfTwoThatWaitsLongerGoesBackAloneAfterTheSecond) {
  keepalive(25, 300ms);
  keepalive(30, 50ms);
  run_until([&] { return keepalive() == 25; });
  commit({state::add("dave", 4)});
  run_until([&] { return keepalive() == 0; });
  EXPECT_TRUE(has("dave"));
  expect_nothing_awaits();
}

TEST_F(HistoryTest, ALaterEditOfTheSameAttributeGoesWithAllThatCameAfter) {
  keepalive(25, 50ms);
  keepalive(30);
  commit({state::add("dave", 4)});
  run_until([&] { return keepalive() == 0; });
  EXPECT_FALSE(has("dave"));
  expect_nothing_awaits();
}

TEST_F(HistoryTest, ARollbackThatAwaitsConfirmationDoesNotBringBackWhatWasNeverConfirmed) {
  const Generation before = state_.generation();
  const Prefix prefix = *parse_prefix("10.9.0.1/32");
  commit({state::claim("bob", {"10.9.0.1/32"})}, 100ms);
  std::optional<api::RollbackAnswer> answer;
  history_->roll_back(
      before, {.commit = {.caller = {}, .confirm = 300ms}, .if_generation = {}, .comment = {}},
      [&](api::RollbackAnswer a) { answer = std::move(a); });
  run_until([&] { return answer.has_value(); });
  EXPECT_EQ(state_.owner(0, prefix), nullptr);
  run_for(500ms);
  EXPECT_EQ(state_.owner(0, prefix), nullptr);
  expect_nothing_awaits();
}

TEST_F(HistoryTest, AConfirmationThatCannotBeWrittenIsToldAndCanBeRepeated) {
  keepalive(25, 20s);
  commit({state::add("dave", 4)}, 20s);
  {
    const store::FullDisk full;
    EXPECT_TRUE(std::holds_alternative<api::CommitFailure>(confirm()));
  }
  const auto again = confirm();
  ASSERT_TRUE(std::holds_alternative<api::Confirmed>(again));
  EXPECT_EQ(std::get<api::Confirmed>(again).generations.size(), 2u);
  expect_nothing_awaits();
}

TEST_F(HistoryTest, WhatCouldNotBeConfirmedIsUndoneWhenItsTimeIsOver) {
  keepalive(25, 200ms);
  {
    const store::FullDisk full;
    EXPECT_TRUE(std::holds_alternative<api::CommitFailure>(confirm()));
  }
  EXPECT_EQ(keepalive(), 25);
  run_until([&] { return keepalive() == 0; });
  expect_nothing_awaits();
}

TEST_F(HistoryTest, AnUndoThatCannotBeWrittenIsTriedAgain) {
  keepalive(25, 20ms);
  {
    const store::FullDisk full;
    run_for(100ms);
    EXPECT_EQ(keepalive(), 25);
  }
  run_until([&] { return keepalive() == 0; });
  expect_nothing_awaits();
}

}  // namespace
}  // namespace turnpike::daemon

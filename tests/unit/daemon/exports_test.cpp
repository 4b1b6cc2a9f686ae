#include "control/daemon/exports.h"

#include <gtest/gtest.h>

#include <deque>

#include "control/gateway/file_transaction.h"
#include "tests/unit/gateway/files.h"

namespace turnpike::daemon {
namespace {

using Running = std::shared_ptr<const gateway::RunningConfig>;

class ExportsTest : public testing::Test {
 protected:
  ExportsTest() {
    const auto change =
        state::plan(state_, gateway::difference(config::Config{}, *file_).transaction);
    state_.apply(*change);
  }

  void begin(bool with_keys = false, api::Access access = api::Access::All) {
    exports_->begin({.caller = {.uid = 7}, .access = access, .with_keys = with_keys},
                    [this](api::RunningAnswer answer) { answers_.push_back(std::move(answer)); });
  }
  // As the committer does when its turn has come: on another thread, then on the control thread.
  void run_one(gateway::Committer::Outcome outcome = gateway::Committer::Done{}) {
    gateway::Committer::Request request = std::move(submitted_.front());
    submitted_.pop_front();
    EXPECT_TRUE(request.dry_run && request.large);
    EXPECT_TRUE(request.make(state_).edits.empty());
    request.answer(std::move(outcome));
  }

  std::shared_ptr<const config::Config> file_ =
      std::make_shared<const config::Config>(gateway::test::three_peers());
  gateway::Topology topology_ = gateway::topology_of(*file_, {{}, {}});
  state::State state_;
  std::deque<gateway::Committer::Request> submitted_;
  std::vector<api::RunningAnswer> answers_;
  std::vector<uid_t> keys_given_;
  int let_go_ = 0;
  std::unique_ptr<Exports> exports_ = std::make_unique<Exports>(Exports::Parts{
      .started = file_,
      .applied = [this] { return file_; },
      .topology = topology_,
      .submit = [this](gateway::Committer::Request r) { submitted_.push_back(std::move(r)); },
      .offload =
          [this](const auto& work, const auto& done) {
            ++let_go_;
            work();
            done();
          },
      .keys_given = [this](const api::Caller& caller) { keys_given_.push_back(caller.uid); }});
};

TEST_F(ExportsTest, AreOfTheStateThatTheirTurnMeets) {
  begin();
  EXPECT_TRUE(answers_.empty());
  const auto change = state::plan(
      state_,
      {.edits = {{.op = state::Op::PeerRemove, .tunnel = "wg0", .peer = gateway::test::key(3)}}});
  state_.apply(*change);
  run_one();
  ASSERT_EQ(answers_.size(), 1u);
  const auto& running = std::get<Running>(answers_[0]);
  EXPECT_EQ(running->generation, state_.generation());
  EXPECT_EQ(running->config.tunnels.at(0).peers.size(), 2u);
  EXPECT_TRUE(keys_given_.empty());
}

TEST_F(ExportsTest, AreAFewAtATime) {
  for (size_t i = 0; i < Exports::kAtATime; ++i) begin();
  begin();
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<api::Busy>(answers_[0]));
  // One that is still being sent takes its place; one that is over does not.
  run_one();
  begin();
  EXPECT_TRUE(std::holds_alternative<api::Busy>(answers_.back()));
  EXPECT_EQ(let_go_, 0);
  answers_.clear();
  EXPECT_EQ(let_go_, 1);
  begin();
  EXPECT_TRUE(answers_.empty());
  EXPECT_EQ(submitted_.size(), Exports::kAtATime);
}

TEST_F(ExportsTest, OfReadersLeavePlacesForOthers) {
  begin(false, api::Access::Read);
  begin(false, api::Access::Read);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<api::Busy>(answers_[0]));
  for (size_t i = 1; i < Exports::kAtATime; ++i) begin();
  EXPECT_EQ(answers_.size(), 1u);
  EXPECT_EQ(submitted_.size(), Exports::kAtATime);
  // The reader's place is free again when it is over.
  run_one();
  answers_.clear();
  begin(false, api::Access::Read);
  EXPECT_TRUE(answers_.empty());
}

TEST_F(ExportsTest, SayWhoHadTheKeysAndWhatFailed) {
  begin(true);
  EXPECT_EQ(keys_given_, std::vector<uid_t>{7});
  run_one(gateway::Committer::Failure{.what = "the disk is full"});
  EXPECT_EQ(std::get<api::CommitFailure>(answers_.at(0)).what, "the disk is full");
}

TEST_F(ExportsTest, MayBeSentForLongerThanTheDaemonLives) {
  begin();
  run_one();
  exports_.reset();
  EXPECT_EQ(std::get<Running>(answers_.at(0))->config.tunnels.size(), 1u);
  answers_.clear();
  EXPECT_EQ(let_go_, 0);
}

}  // namespace
}  // namespace turnpike::daemon

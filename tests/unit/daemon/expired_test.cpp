// Commits whose time to be confirmed ran out while no daemon ran: every way that undo_expired() may take.
#include "control/daemon/expired.h"

#include <gtest/gtest.h>

#include "control/store/database.h"
#include "tests/unit/gateway/gateway_fixture.h"
#include "tests/unit/store/store_fixture.h"

namespace turnpike::daemon {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr WallTime kStart{100 * kSecond};  // of the new daemon
constexpr WallTime kOver{90 * kSecond}, kLater{130 * kSecond};

class ExpiredTest : public store::StoreTest {
 protected:
  ExpiredTest() { StoreTest::commit({state::add_tunnel("wg0"), state::add("bob", 2)}); }

  // Awaits its confirmation until then, where that is said.
  Generation commit(std::vector<state::Edit> edits, std::optional<WallTime> until = {}) {
    store::Record record = plan(std::move(edits));
    const Generation generation = record.entry.generation;
    if (until) record.unconfirmed = store::Unconfirmed{generation, *until, Duration(60 * kSecond)};
    const store::Entry entry = std::move(record);
    EXPECT_TRUE(store_->write({&entry, 1}).has_value());
    return generation;
  }
  Generation keepalive(uint16_t seconds, std::optional<WallTime> until = {}) {
    return commit({state::set("bob", {.persistent_keepalive = seconds})}, until);
  }

  // A new process.
  Expired start() {
    auto loaded = load();
    state_ = state::State();
    gateway_ = std::make_unique<gateway::Gateway>(gateway::Gateway::Parts{
        .pages = pages_, .epoch = epoch_, .doors = {}, .session = session_});
    session_.done_ticket = UINT64_MAX;
    Boot boot(*store_, state_, *gateway_, [] { return Instant{kSecond}; });
    EXPECT_TRUE(boot.restore(loaded, {}).has_value());
    waiting_ = loaded.unconfirmed;
    const std::optional<store::FullDisk> full =
        disk_is_full_ ? std::optional<store::FullDisk>(std::in_place) : std::nullopt;
    return undo_expired(boot, *store_, state_, waiting_,
                        {.at = kStart, .cause = store::Cause::Unconfirmed, .comment = {}});
  }
  // What is told, and that the disk has the state that runs and `left` as what still waits.
  void expect(const Expired& told, std::vector<Generation> undone, std::vector<Generation> left) {
    EXPECT_EQ(told.errors, std::vector<std::string>());
    ASSERT_EQ(told.undone.size(), undone.size());
    for (size_t i = 0; i < undone.size(); ++i) {
      EXPECT_TRUE(told.undone[i].starts_with("generation " + std::to_string(undone[i]) + " "))
          << told.undone[i];
    }
    EXPECT_EQ(generations(waiting_), left);
    const store::Loaded loaded = load();
    EXPECT_EQ(generations(loaded.unconfirmed), left);
    EXPECT_EQ(state::dump(state_of(loaded)), state::dump(state_));
  }
  static std::vector<Generation> generations(const std::vector<store::Unconfirmed>& waiting) {
    std::vector<Generation> all;
    for (const store::Unconfirmed& one : waiting) all.push_back(one.generation);
    return all;
  }
  void edit(const std::string& sql) {
    store_.reset();
    store::Database(path_).execute(sql);
  }

  [[nodiscard]] uint16_t keepalive() const {
    return state_.peer(state_.find_peer(0, std::string_view("bob"))).persistent_keepalive;
  }
  [[nodiscard]] bool has(const char* peer) const {
    return state_.find_peer(0, std::string_view(peer)) != state::kNoSlot;
  }

  SystemPages pages_;
  publish::Epoch epoch_;
  gateway::FakeSession session_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::vector<store::Unconfirmed> waiting_;
  bool disk_is_full_ = false;
};

TEST_F(ExpiredTest, OneWhoseTimeIsNotOverWaitsForWhatIsLeftOfIt) {
  const Generation at = keepalive(25, kLater);
  expect(start(), {}, {at});
  EXPECT_EQ(keepalive(), 25);
  EXPECT_EQ(waiting_[0].within, Duration(30 * kSecond));
}

TEST_F(ExpiredTest, OneThatNothingBuildsOnIsUndoneAlone) {
  const Generation at = keepalive(25, kOver);
  commit({state::add("dave", 4)});
  expect(start(), {at}, {});
  EXPECT_EQ(keepalive(), 0);
  EXPECT_TRUE(has("dave"));
}

TEST_F(ExpiredTest, SeveralAreUndoneTheNewestFirst) {
  const Generation first = keepalive(25, kOver), second = keepalive(30, kOver);
  expect(start(), {second, first}, {});
  EXPECT_EQ(keepalive(), 0);
}

TEST_F(ExpiredTest, AnAttributeThatWasSetAgainGoesWithAllThatCameAfter) {
  const Generation at = keepalive(25, kOver);
  keepalive(30);
  commit({state::add("dave", 4)});
  expect(start(), {at}, {});
  EXPECT_EQ(keepalive(), 0);
  EXPECT_FALSE(has("dave"));
}

TEST_F(ExpiredTest, APrefixThatMovedOnGoesWithAllThatCameAfter) {
  const Generation at = commit({state::claim("bob", {"10.9.0.0/24"})}, kOver);
  commit({state::add("dave", 4)});
  commit({state::move("bob", "dave", {"10.9.0.0/24"})});
  expect(start(), {at}, {});
  EXPECT_EQ(state_.owner(0, *parse_prefix("10.9.0.0/24")), nullptr);
  EXPECT_FALSE(has("dave"));
}

TEST_F(ExpiredTest, ALaterOneThatStillWaitsAndTouchesTheSameGoesWithIt) {
  const Generation at = commit({state::add("dave", 4)}, kOver);
  commit({state::set("dave", {.persistent_keepalive = 30})}, kLater);  // is in the way of nothing
  expect(start(), {at}, {});
  EXPECT_FALSE(has("dave"));
}

TEST_F(ExpiredTest, ALaterOneThatStillWaitsAndTouchesSomethingElseWaitsOn) {
  const Generation at = commit({state::add("dave", 4)}, kOver);
  const Generation later = keepalive(30, kLater);
  expect(start(), {at}, {later});
  EXPECT_FALSE(has("dave"));
  EXPECT_EQ(keepalive(), 30);
}

TEST_F(ExpiredTest, OneThatTheHistoryHasForgottenStaysAndThatIsTold) {
  const Generation at = keepalive(25, kOver);
  commit({state::add("dave", 4)});  // the newest one is never forgotten
  edit("DELETE FROM history WHERE generation = " + std::to_string(at));
  const Expired told = start();
  EXPECT_TRUE(told.undone.empty());
  ASSERT_EQ(told.errors.size(), 1u);
  EXPECT_NE(told.errors[0].find("is not undone: the history has no generation"), std::string::npos)
      << told.errors[0];
  EXPECT_EQ(keepalive(), 25);
}

TEST_F(ExpiredTest, WhereTheWayBackOfALaterOneIsDamagedItStaysAndThatIsTold) {
  keepalive(25, kOver);
  const Generation later = keepalive(30);
  edit("UPDATE history SET undo = x'00' WHERE generation = " + std::to_string(later));
  const Expired told = start();
  EXPECT_TRUE(told.undone.empty());
  ASSERT_EQ(told.errors.size(), 1u);
  EXPECT_NE(told.errors[0].find("is damaged"), std::string::npos) << told.errors[0];
  EXPECT_EQ(keepalive(), 30);
}

TEST_F(ExpiredTest, WhereTheWayBackOfALaterOneLeadsNowhereItStaysAndThatIsTold) {
  keepalive(25, kOver);
  const Generation other = commit({state::add("dave", 4)});
  const Generation later = keepalive(30);
  edit("UPDATE history SET undo = (SELECT undo FROM history WHERE generation = " +
       std::to_string(other) + ") WHERE generation = " + std::to_string(later));
  const Expired told = start();  // dave would have to be removed twice
  EXPECT_TRUE(told.undone.empty());
  ASSERT_EQ(told.errors.size(), 1u);
  EXPECT_NE(told.errors[0].find("is not undone: "), std::string::npos);
  EXPECT_EQ(keepalive(), 30);
  EXPECT_TRUE(has("dave"));
}

TEST_F(ExpiredTest, WhatCannotBeWrittenIsToldAndTriedAgainAtTheNextStart) {
  const Generation at = keepalive(25, kOver);
  disk_is_full_ = true;
  const Expired told = start();
  EXPECT_TRUE(told.undone.empty());
  ASSERT_EQ(told.errors.size(), 1u);
  EXPECT_NE(told.errors[0].find("cannot be written"), std::string::npos) << told.errors[0];
  EXPECT_EQ(keepalive(), 25);
  disk_is_full_ = false;
  expect(start(), {at}, {});
  EXPECT_EQ(keepalive(), 0);
}

}  // namespace
}  // namespace turnpike::daemon

#include <sys/stat.h>

#include "tests/unit/gone_directory.h"
#include "tests/unit/store/store_fixture.h"

namespace turnpike::store {
namespace {

using state::add;
using state::add_tunnel;
using state::claim;
using state::dump;
using state::enable;
using state::move;
using state::release;
using state::remove;
using state::set;

TEST_F(StoreTest, ANewStoreHoldsNothing) {
  const Loaded loaded = load();
  EXPECT_EQ(loaded.generation, 0u);
  EXPECT_TRUE(loaded.content.empty());
  EXPECT_TRUE(loaded.file.tunnels.empty());
  EXPECT_TRUE(loaded.unconfirmed.empty());
  struct stat status{};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(StoreTest, CanBeMadeWithoutAWorkingDirectory) {
  const turnpike::test::GoneDirectory gone;
  const std::string made = path_ + "-other";
  auto opened = Store::open(made);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_FALSE(Store::open("relative.db")) << "there is nowhere to make it";
}

TEST_F(StoreTest, AFileThatOthersCanReadIsClosedToThem) {
  store_.reset();
  std::filesystem::permissions(path_, std::filesystem::perms(0644));
  reopen();
  struct stat status{};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(StoreTest, ADirectoryMayBeALinkTheFileMayNot) {
  store_.reset();
  std::filesystem::create_directory_symlink(directory_, directory_ / "link");
  EXPECT_TRUE(Store::open((directory_ / "link" / "state.db").string()).has_value());
  std::filesystem::create_symlink(path_, directory_ / "other.db");
  EXPECT_FALSE(Store::open((directory_ / "other.db").string()).has_value());
}

TEST_F(StoreTest, EveryKindOfChangeComesBack) {
  const auto check = [&](const char* after) {
    const Loaded loaded = load();
    const state::State again = state_of(loaded);
    EXPECT_EQ(dump(again), dump(state_)) << after;
    EXPECT_EQ(again.generation(), state_.generation()) << after;
    EXPECT_EQ(again.next_peer_id(), state_.next_peer_id()) << after;
  };
  commit({add_tunnel("wg0"), add_tunnel("wg1", state::ConflictPolicy::Move)});
  check("tunnels");
  commit({add("a", 1, {"10.0.0.0/24", "fd00::/64"}), add("b", 2), add("c", 3, {"10.9.0.0/16"})});
  check("peers");
  commit({set("b", {.description = "text",
                    .preshared_key =
                        PresharedKey(std::span<const uint8_t, kKeyBytes>(state::key_of(5).bytes)),
                    .endpoint = parse_endpoint("[2001:db8::1]:51820").value(),
                    .persistent_keepalive = 25})});
  check("attributes");
  commit({move("a", "b", {"10.0.0.0/24"}), release("a", {"fd00::/64"}), claim("b", {"0.0.0.0/0"})});
  check("owners");
  commit({enable("b", false)});
  check("a disabled peer");
  commit({claim("b", {"10.1.0.0/16"}), release("b", {"0.0.0.0/0"})});
  check("dormant prefixes");
  commit({remove("b"), add("b", 2, {"10.1.0.0/16"})});
  check("another peer of the same name and key");
  commit({enable("c", false)});
  commit({remove("c")});
  check("a disabled peer that goes");
  commit({{.op = state::Op::TunnelRemove, .tunnel = "wg0"}, add_tunnel("wg2")});
  check("a tunnel that goes with its peers");
}

TEST_F(StoreTest, AnOriginThatTheFileTakesOverComesBack) {
  commit({add_tunnel("wg0"), add("a", 1, {"10.0.0.0/24"})});
  state::Edit by_file = claim("a", {"10.0.0.0/24"});
  by_file.origin = state::Origin::File;
  commit({by_file});
  commit({enable("a", false), add("d", 4)});
  state::Edit noted = claim("a", {"10.5.0.0/24"});
  commit({noted});
  noted.origin = state::Origin::File;
  commit({noted});
  EXPECT_EQ(dump(state_of(load())), dump(state_));
}

TEST_F(StoreTest, GenerationsOnlyGrow) {
  commit({add_tunnel("wg0")});
  commit({add("a", 1)});
  const Loaded loaded = load();
  EXPECT_EQ(loaded.generation, 2u);
  state_ = state_of(loaded);
  commit({add("b", 2)});
  EXPECT_EQ(load().generation, 3u);
}

TEST_F(StoreTest, ABatchIsWrittenAsAWholeOrNotAtAll) {
  commit({add_tunnel("wg0")});
  const std::string before = dump(state_);
  std::vector<Entry> entries;
  entries.emplace_back(plan({add("a", 1)}));
  entries.emplace_back(plan({add("b", 2)}));
  {
    const FullDisk full;
    const auto written = store_->write(entries);
    ASSERT_FALSE(written.has_value());
    EXPECT_NE(written.error().find(path_), std::string::npos) << written.error();
  }
  EXPECT_EQ(store_->history()->size(), 1u);
  // With room again the same entries go in.
  ASSERT_TRUE(store_->write(entries).has_value());
  EXPECT_EQ(dump(state_of(load())), dump(state_));
  EXPECT_NE(dump(state_), before);
}

TEST_F(StoreTest, TheHistoryNamesWhoAndWhatAndWhen) {
  commit({add_tunnel("wg0")});
  commit({add("a", 1, {"10.0.0.0/24"}), add("b", 2)}, "two peers");
  reopen();
  const auto history = store_->history();
  ASSERT_TRUE(history.has_value());
  ASSERT_EQ(history->size(), 2u);
  EXPECT_EQ((*history)[0], (HistoryEntry{.generation = 2,
                                         .at = {2'000},
                                         .uid = 7,
                                         .pid = 77,
                                         .cause = Cause::Api,
                                         .peers = 2,
                                         .prefixes = 1,
                                         .comment = "two peers"}));
  EXPECT_EQ((*history)[1].generation, 1u);
}

TEST_F(StoreTest, TheWayBackLeadsBack) {
  commit({add_tunnel("wg0"), add("a", 1, {"10.0.0.0/24"})});
  const std::string before = dump(state_);
  commit({add("b", 2, {"10.1.0.0/24"}), move("a", "a", {})});
  commit({move("b", "a", {"10.1.0.0/24"})});
  reopen();
  const auto ways = store_->ways_back_to(1);
  ASSERT_TRUE(ways.has_value()) << ways.error();
  ASSERT_EQ(ways->size(), 2u);
  for (const state::Transaction& way : *ways) {
    const auto change = state::plan(state_, way);
    ASSERT_TRUE(change.has_value());
    state_.apply(*change);
  }
  EXPECT_EQ(dump(state_), before);
  EXPECT_TRUE(store_->ways_back_to(3)->empty());
  EXPECT_EQ(store_->ways_back_before(2)->size(), 2u);
  EXPECT_FALSE(store_->ways_back_before(4).has_value());
  EXPECT_EQ(store_->ways_back_to(4).error(),
            "the history has no generation 4; it reaches from 1 to 3");
  EXPECT_TRUE(store_->way_back_from(2).has_value());
  EXPECT_FALSE(store_->way_back_from(9).has_value());
}

TEST_F(StoreTest, TheOldestCommitsLeaveTheHistory) {
  commit({add_tunnel("wg0"), add("a", 1)});
  std::vector<Entry> entries;
  for (size_t i = 0; i < kHistoryMax + 5; ++i) {
    entries.emplace_back(
        plan({i % 2 == 0 ? claim("a", {"10.0.0.0/24"}) : release("a", {"10.0.0.0/24"})}));
  }
  ASSERT_TRUE(store_->write(entries).has_value());
  reopen();
  const auto history = store_->history();
  EXPECT_EQ(history->size(), kHistoryMax);
  EXPECT_EQ(history->back().generation, 7u);
  EXPECT_FALSE(store_->ways_back_to(6).has_value());
  EXPECT_EQ(store_->ways_back_to(7)->size(), kHistoryMax - 1);
}

// Else a busy client would confirm it by the number of its commits.
TEST_F(StoreTest, WhatAwaitsConfirmationStaysInTheHistoryAndWhatLeadsBackToIt) {
  commit({add_tunnel("wg0"), add("a", 1)});
  commit({claim("a", {"10.1.0.0/24"})});
  const auto some = [this](size_t count) {
    std::vector<Entry> entries;
    for (size_t i = 0; i < count; ++i) {
      entries.emplace_back(
          plan({i % 2 == 0 ? claim("a", {"10.0.0.0/24"}) : release("a", {"10.0.0.0/24"})}));
    }
    ASSERT_TRUE(store_->write(entries).has_value());
  };
  Record record = plan({claim("a", {"10.2.0.0/24"})});
  record.unconfirmed = {.generation = 3, .until = {5'000}, .within = 60s};
  Entry entry = std::move(record);
  ASSERT_TRUE(store_->write({&entry, 1}).has_value());
  some(kHistoryMax + 200);
  EXPECT_TRUE(store_->way_back_from(3).has_value());
  EXPECT_TRUE(store_->knows(3));
  EXPECT_FALSE(store_->knows(1));
  EXPECT_EQ(store_->newest(), 3 + kHistoryMax + 200);
  EXPECT_EQ(store_->ways_back_before(3)->size(), kHistoryMax + 201);
  EXPECT_FALSE(store_->ways_back_before(2).has_value());
  EXPECT_EQ(store_->history()->size(), kHistoryMax);
  reopen();
  some(2);
  EXPECT_EQ(store_->ways_back_before(3)->size(), kHistoryMax + 203);

  entry = Confirmed{.generation = 3};
  ASSERT_TRUE(store_->write({&entry, 1}).has_value());
  some(10);
  EXPECT_FALSE(store_->way_back_from(3).has_value());
  EXPECT_EQ(store_->history()->size(), kHistoryMax);
  EXPECT_FALSE(store_->ways_back_to(store_->history()->back().generation - 1).has_value());
}

TEST_F(StoreTest, WhatAwaitsConfirmationIsRemembered) {
  commit({add_tunnel("wg0")});
  Record record = plan({add("a", 1)});
  record.unconfirmed = {.generation = 2, .until = {5'000}, .within = 60s};
  Entry entry = std::move(record);
  ASSERT_TRUE(store_->write({&entry, 1}).has_value());
  auto waiting = load().unconfirmed;
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0].generation, 2u);
  EXPECT_EQ(waiting[0].until.nanoseconds, 5'000u);
  EXPECT_EQ(waiting[0].within, 60s);
  entry = Confirmed{.generation = 2};
  ASSERT_TRUE(store_->write({&entry, 1}).has_value());
  EXPECT_TRUE(load().unconfirmed.empty());
}

TEST_F(StoreTest, ACommitThatUndoesAnotherSettlesIt) {
  commit({add_tunnel("wg0")});
  Record record = plan({add("a", 1)});
  record.unconfirmed = {.generation = 2, .until = {5'000}, .within = 60s};
  Record back = plan({remove("a")});
  back.settled = {2};
  std::vector<Entry> entries;
  entries.emplace_back(std::move(record));
  entries.emplace_back(std::move(back));
  ASSERT_TRUE(store_->write(entries).has_value());
  EXPECT_TRUE(load().unconfirmed.empty());
}

TEST_F(StoreTest, TimestampsOfPeersThatExistAreKept) {
  commit({add_tunnel("wg0"), add("a", 1), add("b", 2)});
  Entry entry = Handshakes{
      .received = {{PeerId{1}, Timestamp{1}}, {PeerId{2}, Timestamp{2}}, {PeerId{3}, Timestamp{3}}},
      .sent_mark = {100}};
  ASSERT_TRUE(store_->write({&entry, 1}).has_value());
  entry = Handshakes{.received = {{PeerId{1}, Timestamp{4}}}, .sent_mark = {90}};
  ASSERT_TRUE(store_->write({&entry, 1}).has_value());
  commit({remove("b")});
  const Loaded loaded = load();
  ASSERT_EQ(loaded.received.size(), 1u);
  EXPECT_EQ(loaded.received[0], std::pair(PeerId{1}, Timestamp{4}));
  EXPECT_EQ(loaded.sent_mark.nanoseconds, 100u);  // never back, though the clock was
}

// The API has not always refused them.
TEST_F(StoreTest, CommentsOfEarlierCommitsMayHoldAnything) {
  const std::string anything = "a\x1b[2J\n\xff";
  commit({add_tunnel("wg0"), add("a", 1)}, anything);
  EXPECT_EQ(load().generation, 1u);
  EXPECT_EQ(store_->history()->at(0).comment, anything);
}

TEST_F(StoreTest, InMemoryOnlyTheHistoryIsKept) {
  store_.emplace(Store::in_memory());
  commit({add_tunnel("wg0"), add("a", 1)}, "kept");
  EXPECT_EQ(store_->history()->at(0).comment, "kept");
  EXPECT_TRUE(store_->way_back_from(1).has_value());
  EXPECT_TRUE(store_->load()->content.peers_added.empty());
}

}  // namespace
}  // namespace turnpike::store

// Files that are older, newer, somebody else's or damaged.
#include <map>

#include "control/state/rollback.h"
#include "control/store/database.h"
#include "control/store/schema.h"
#include "tests/unit/store/store_fixture.h"

namespace turnpike::store {
namespace {

namespace fs = std::filesystem;
using state::add;
using state::add_tunnel;

constexpr fs::perms kOurs{0600};

class Recovery : public StoreTest {
 protected:
  [[nodiscard]] std::string error_of_open() {
    store_.reset();
    const auto opened = Store::open(path_);
    return opened ? "" : opened.error();
  }
  // In the bytes, the mode, and what lies beside it (an empty log is none). What is ours is closed to others, good or bad.
  std::string expect_refused_and_left(const std::string& why, fs::perms mode = fs::perms(0644)) {
    const auto all = [&] {
      std::map<std::string, std::pair<std::string, fs::perms>> files;
      for (const auto& file : fs::directory_iterator(directory_)) {
        if (fs::is_empty(file)) continue;
        std::ifstream in(file.path(), std::ios::binary);
        files[file.path().filename()] = {std::string(std::istreambuf_iterator<char>(in), {}),
                                         file.status().permissions()};
      }
      return files;
    };
    fs::permissions(path_, mode);
    const auto before = all();
    std::string error = error_of_open();
    EXPECT_NE(error.find(why), std::string::npos) << error;
    EXPECT_TRUE(all() == before) << error;
    return error;
  }
  void edit(const std::string& sql) {
    store_.reset();
    Database(path_).execute(sql);
  }
  [[nodiscard]] std::string error_of_load() {
    reopen();
    const auto loaded = store_->load();
    return loaded ? "" : loaded.error();
  }
};

TEST_F(Recovery, AnOlderFileIsBroughtUpToDate) {
  store_.reset();
  std::filesystem::remove(path_);
  {
    Database old(path_);
    old.execute(schema_step(1));
    old.execute(
        "PRAGMA application_id = " + std::to_string(kApplicationId) +
        "; PRAGMA user_version = 1;"
        "UPDATE meta SET generation = 5, next_peer_id = 9;"
        "INSERT INTO tunnel VALUES (0, 'wg0', 0, 51820, 0, zeroblob(32), zeroblob(32));"
        "INSERT INTO peer VALUES (3, 0, zeroblob(32), zeroblob(32), x'', 0, 1, 0, 'alice', '')");
  }
  const Loaded loaded = load();
  EXPECT_EQ(loaded.generation, 5u);
  ASSERT_EQ(loaded.content.peers_added.size(), 1u);
  EXPECT_EQ(loaded.content.peers_added[0].attributes.name, "alice");
  state_ = state_of(loaded);
  commit({add("b", 2)}, "into tables that were not there");
  EXPECT_EQ(load().generation, 6u);
  EXPECT_EQ(store_->history()->size(), 1u);
}

// As an earlier version wrote it: schema 2, and ways back of form 1, which set all attributes of a peer and know nothing
// of what they find. Built by SQL, byte for byte, so that no later writer changes what is tested.
TEST_F(Recovery, AHistoryInItsEarlierFormLeadsBack) {
  const auto hex = [](const PublicKey& key) {
    std::string text;
    for (const uint8_t byte : key.bytes) {
      constexpr const char* kDigits = "0123456789abcdef";
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
    return text;
  };
  const std::string bob = hex(state::key_of(2)), none(64, '0');
  // Form 1, one edit; operation, origin, "wg0", bob by key, no other peer, no key of a new one.
  const auto begin = [&](const char* operation) {
    return "x'0101" + std::string(operation) + "01" + "03776730" + "01" + bob + "0000" + none;
  };
  const std::string release = begin("01") + "01" + "040a09000018" + "00" + "00'";
  const std::string set_all =
      begin("05") + "00" +
      "01"  // name, description, preshared key, endpoint, keepalive, enabled
      "0103626f62"
      "0100"
      "01" +
      none +
      "0100"
      "0100"
      "0101" +
      "00'";
  store_.reset();
  std::filesystem::remove(path_);
  {
    Database old(path_);
    old.execute(schema_step(1));
    old.execute(schema_step(2));
    old.execute("PRAGMA application_id = " + std::to_string(kApplicationId) +
                "; PRAGMA user_version = 2;"
                "UPDATE meta SET generation = 3, next_peer_id = 2;"
                "INSERT INTO tunnel VALUES (0, 'wg0', 0, 51820, 0, zeroblob(32), zeroblob(32));"
                "INSERT INTO peer VALUES (1, 0, x'" +
                bob +
                "', zeroblob(32), x'', 25, 1, 1, 'bob', 'laptop');"
                "INSERT INTO claim VALUES (0, x'040a09000018', 1, 1);"
                "INSERT INTO history VALUES (1, 1000, 7, 77, 0, 1, 0, 'bob', x'0100');"
                "INSERT INTO history VALUES (2, 2000, 7, 77, 0, 0, 1, 'a prefix', " +
                release +
                ");"
                "INSERT INTO history VALUES (3, 3000, 7, 77, 0, 1, 0, 'set', " +
                set_all + ")");
  }
  state_ = state_of(load());
  const auto history = store_->history();
  ASSERT_TRUE(history.has_value());
  ASSERT_EQ(history->size(), 3u);
  EXPECT_EQ((*history)[0].comment, "set");
  const auto peer = [this] {
    return state_.peer(state_.find_peer(0, state::key_of(2))).attributes();
  };
  EXPECT_EQ(peer().persistent_keepalive, 25);
  const Prefix prefix = *parse_prefix("10.9.0.0/24");
  ASSERT_NE(state_.owner(0, prefix), nullptr);

  const auto ways = store_->ways_back_to(1);
  ASSERT_TRUE(ways.has_value()) << ways.error();
  auto back = state::rollback(state_, *ways);
  ASSERT_TRUE(back.has_value());
  commit(std::move(back->edits), "rollback");
  EXPECT_EQ(peer().persistent_keepalive, 0);
  EXPECT_EQ(peer().description, "");
  EXPECT_EQ(peer().name, "bob");
  EXPECT_EQ(state_.owner(0, prefix), nullptr);

  // The rollback is in the present form, and the histories of both lead back together.
  const Loaded loaded = load();
  EXPECT_EQ(loaded.generation, 4u);
  EXPECT_EQ(state::dump(state_of(loaded)), state::dump(state_));
  const auto again = store_->ways_back_to(2);
  ASSERT_TRUE(again.has_value()) << again.error();
  auto forth = state::rollback(state_, *again);
  ASSERT_TRUE(forth.has_value());
  commit(std::move(forth->edits));
  EXPECT_EQ(peer().persistent_keepalive, 0);
  EXPECT_NE(state_.owner(0, prefix), nullptr);
}

TEST_F(Recovery, AnOlderFileThatIsDamagedStaysAsOldAsItIs) {
  store_.reset();
  for (const char* mode : {"WAL", "DELETE"}) {
    SCOPED_TRACE(mode);
    std::filesystem::remove(path_);
    {
      Database old(path_);
      (void)old.text(std::string("PRAGMA journal_mode = ") + mode);
      old.execute(schema_step(1));
      old.execute("PRAGMA application_id = " + std::to_string(kApplicationId) +
                  "; PRAGMA user_version = 1;"
                  "INSERT INTO claim VALUES (0, x'00', 3, 0)");
    }
    expect_refused_and_left("is damaged (", kOurs);
  }
}

// As a copy may be that another program made.
TEST_F(Recovery, ACopyWithoutAWriteAheadLogIsJudgedBeforeItGetsOne) {
  commit({add_tunnel("wg0"), add("a", 1, {"10.0.0.0/24"})});
  store_.reset();
  const auto change = [&](const char* sql) {
    Database database(path_);
    database.execute(sql);
    EXPECT_EQ(database.text("PRAGMA journal_mode = DELETE"), "delete");
  };
  change("UPDATE claim SET peer = 999");
  expect_refused_and_left("peer 999, which there is not", kOurs);
  change("UPDATE claim SET peer = 1");
  EXPECT_EQ(load().generation, 1u);
  store_.reset();
  EXPECT_EQ(Database(path_).text("PRAGMA journal_mode"), "wal");
}

TEST_F(Recovery, ANewerFileIsRefusedWithWhatToDo) {
  edit("PRAGMA user_version = 99");
  const std::string error = expect_refused_and_left("newer version (schema 99");
  EXPECT_NE(error.find("move the file away"), std::string::npos) << error;
}

TEST_F(Recovery, AnotherProgramsDatabaseIsLeftAlone) {
  store_.reset();
  for (const char* content :
       {"CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)", "PRAGMA application_id = 7",
        "CREATE TABLE theirs (a); PRAGMA user_version = 99"}) {
    std::filesystem::remove(path_);
    Database(path_).execute(content);
    expect_refused_and_left("is a database of another program; give control.state a file");
  }
}

TEST_F(Recovery, WhatIsNoDatabaseIsRefusedWithWhatToDo) {
  store_.reset();
  for (const std::string& text : {std::string(20'000, 'x'), std::string("somebody's notes\n")}) {
    std::ofstream(path_, std::ios::trunc) << text;
    const std::string error = expect_refused_and_left(path_ + " is damaged (it is no database)");
    EXPECT_NE(error.find("move it away together with its -wal file"), std::string::npos) << error;
  }
}

TEST_F(Recovery, ADirectoryThatIsMissingIsNamed) {
  path_ = (directory_ / "nowhere" / "state.db").string();
  EXPECT_NE(error_of_open().find("No such file"), std::string::npos);
}

// Any page may go bad. What matters is that no damage is taken for a state, and that nothing crashes.
TEST_F(Recovery, DamageIsFoundOrDoesNotMatter) {
  commit({add_tunnel("wg0")});
  std::vector<state::Edit> edits;
  for (uint64_t i = 0; i < 2'000; ++i) {
    edits.push_back(add("peer" + std::to_string(i), i + 1));
    edits.back().prefixes = {
        Prefix::masked(IpAddress::v4(static_cast<uint32_t>(0x0a000000 + i)), 32)};
  }
  commit(std::move(edits));
  store_.reset();
  std::ifstream in(path_, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  const std::string whole = dump(state_);
  const size_t pages = good.size() / 4096;
  ASSERT_GT(pages, 20u);
  size_t found = 0, tried = 0;
  for (size_t page = 0; page < pages; page += 3) {
    ++tried;
    std::string bad = good;
    std::fill_n(bad.begin() + static_cast<std::ptrdiff_t>(page * 4096), 4096, '\x5a');
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bad;
    auto opened = Store::open(path_);
    if (!opened) {
      ++found;
      continue;
    }
    const auto loaded = opened->load();
    if (!loaded) {
      ++found;
      EXPECT_NE(loaded.error().find("is damaged"), std::string::npos) << loaded.error();
    } else {
      EXPECT_EQ(dump(state_of(*loaded)), whole) << "page " << page;
    }
  }
  EXPECT_EQ(found, tried);
}

TEST_F(Recovery, ATruncatedFileIsFound) {
  commit({add_tunnel("wg0"), add("a", 1)});
  store_.reset();
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  const std::string at_open = error_of_open();
  if (at_open.empty()) {
    EXPECT_NE(error_of_load().find("is damaged"), std::string::npos);
  } else {
    EXPECT_NE(at_open.find("is damaged"), std::string::npos) << at_open;
  }
}

// A file may call a peer what the API once did not allow, and the other way round.
TEST_F(Recovery, PeersComeBackWhateverTheyAreCalled) {
  const std::vector<std::string> names{"the office", "caf\xc3\xa9", std::string(128, 'x'), "-x"};
  commit({add_tunnel("wg0")});
  for (uint64_t i = 0; i < names.size(); ++i) commit({add(names[i], i + 1)});
  const Loaded loaded = load();
  ASSERT_EQ(loaded.content.peers_added.size(), names.size());
  EXPECT_EQ(dump(state_of(loaded)), dump(state_));
}

TEST_F(Recovery, RowsThatContradictEachOtherAreFound) {
  commit({add_tunnel("wg0"), add("a", 1, {"10.0.0.0/24"}), add("b", 2)});
  const auto expect = [&](const std::string& sql, const std::string& what) {
    store_.reset();
    const std::string copy = path_ + ".copy";
    std::filesystem::copy_file(path_, copy, std::filesystem::copy_options::overwrite_existing);
    edit(sql);
    const std::string error = error_of_load();
    EXPECT_NE(error.find(what), std::string::npos) << sql << ": " << error;
    store_.reset();
    std::filesystem::copy_file(copy, path_, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::remove(path_ + "-wal");
  };
  expect("DELETE FROM peer WHERE id = 1", "peer 1, which there is not");
  expect("UPDATE peer SET enabled = 0", "cannot own it");
  expect("UPDATE peer SET public_key = (SELECT public_key FROM peer WHERE id = 1)", "one key");
  expect("UPDATE peer SET name = 'a'", "one name");
  expect("UPDATE claim SET prefix = x'040a00000121'", "a prefix is none");
  expect("UPDATE claim SET prefix = x'040a00000118'", "a prefix is none");  // host bits
  expect("UPDATE peer SET id = 77 WHERE id = 2", "never given out");
  expect("DELETE FROM tunnel", "tunnel is missing");
  expect("UPDATE peer SET endpoint = x'09'", "endpoint is none");
  expect("UPDATE peer SET keepalive = 70000", "a keepalive is 70000");
  expect("UPDATE meta SET generation = -1", "the generation is -1");
}

}  // namespace
}  // namespace turnpike::store

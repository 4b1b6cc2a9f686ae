// The files themselves, before and beside what is in them.
#include "control/store/files.h"

#include <sys/stat.h>

#include "control/store/database.h"
#include "tests/unit/store/store_fixture.h"

namespace turnpike::store {
namespace {

namespace fs = std::filesystem;
using state::add;
using state::add_tunnel;

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class Files : public StoreTest {
 protected:
  // As a process leaves them that was killed: a file and a log with all that was committed.
  void be_killed() {
    commit({add_tunnel("wg0"), add("a", 1, {"10.0.0.0/24"})});
    commit({add("b", 2, {"10.1.0.0/24"})});
    whole_ = dump(state_);
    const std::string file = bytes_of(path_), log = bytes_of(log_path());
    store_.reset();
    write(path_, file);
    write(log_path(), log);
    ASSERT_GT(log.size(), 4096u);
  }
  [[nodiscard]] std::string log_path() const { return path_ + "-wal"; }
  // Of opening and loading; empty: it was good.
  [[nodiscard]] std::string error() {
    store_.reset();
    auto opened = Store::open(path_);
    if (!opened) return opened.error();
    const auto loaded = opened->load();
    return loaded ? "" : loaded.error();
  }
  void expect_whole() {
    const Loaded loaded = load();
    EXPECT_EQ(dump(state_of(loaded)), whole_);
  }

  std::string whole_;
};

TEST_F(Files, WhatAKilledProcessLeavesIsWhole) {
  be_killed();
  expect_whole();
}

TEST_F(Files, AnEmptyFileIsNoNewState) {
  be_killed();
  write(path_, "");
  EXPECT_NE(error().find(path_ + " is damaged (it is empty); move it away"), std::string::npos);
  fs::remove(log_path());
  EXPECT_NE(error().find("is damaged"), std::string::npos);
  fs::remove(path_);
  EXPECT_EQ(error(), "");  // as the message says
}

TEST_F(Files, ALogWithoutItsFileIsNoNewState) {
  be_killed();
  const std::string file = bytes_of(path_);
  fs::remove(path_);
  EXPECT_NE(error().find("is missing, but its log " + log_path() + " is there"), std::string::npos)
      << error();
  write(path_, file);
  expect_whole();
}

// SQLite would pass over the first ones, and with them over what was committed; it would apply the others.
TEST_F(Files, ALogThatIsNoneOrAnotherDatabasesIsRefusedAndNothingIsChanged) {
  be_killed();
  const std::string file = bytes_of(path_), log = bytes_of(log_path());
  std::string flipped = log, beheaded = log;
  flipped[17] = static_cast<char>(flipped[17] ^ 1);
  beheaded.replace(0, 32, 32, '\0');
  const std::string other_path = (directory_ / "other.db").string();
  std::string other_log, small_pages;
  for (std::string* into : {&other_log, &small_pages}) {
    fs::remove(other_path);
    Database other(other_path, into == &small_pages ? "PRAGMA page_size = 1024" : "");
    (void)other.text("PRAGMA journal_mode = WAL");
    other.execute("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
    *into = bytes_of(other_path + "-wal");
  }
  for (const auto& [bad, what] : {std::pair(std::string(50'000, 'x'), "is no log of a database"),
                                  std::pair(flipped, "is no log of a database"),
                                  std::pair(beheaded, "has zeros where it should begin"),
                                  std::pair(other_log, "is of another database"),
                                  std::pair(small_pages, "is of another database")}) {
    write(log_path(), bad);
    EXPECT_NE(error().find("its log " + log_path() + " " + what), std::string::npos) << error();
    EXPECT_EQ(bytes_of(path_), file);
    EXPECT_EQ(bytes_of(log_path()), bad);
  }
  // The power may have gone before the first sync of it.
  for (const std::string& nothing :
       {std::string(), std::string(20, 'x'), std::string(32, '\0'), std::string(9'000, '\0')}) {
    write(path_, file);
    write(log_path(), nothing);
    EXPECT_EQ(error(), "") << nothing.size();
  }
  write(path_, file);
  write(log_path(), log);
  expect_whole();
}

// A kill between the two writes of a frame, its header and its page: behind the end of a log that is used again lie pages
// of before. The newest salts do not make such a frame part of the log.
TEST_F(Files, AFrameThatWasNotFinishedIsNoPartOfTheLog) {
  be_killed();
  const std::string file = bytes_of(path_), log = bytes_of(log_path());
  constexpr size_t kHeader = 32, kFrame = 24 + 4096;
  ASSERT_EQ((log.size() - kHeader) % kFrame, 0u);
  const std::string first_page("\0\0\0\1", 4), no_commit("\0\0\0\0", 4), commit("\0\0\0\x0b", 4),
      salts = log.substr(16, 8), sum(8, '\x11');
  for (const std::string& size : {no_commit, commit}) {
    for (const std::string& page : {std::string(4096, 'x'), std::string(4096, '\0'),
                                    log.substr(log.size() - 4096), std::string()}) {
      store_.reset();
      write(path_, file);
      write(log_path(), log + first_page + size + salts + sum + page);
      expect_whole();
    }
  }
}

TEST_F(Files, ALogThatEndsInTheMiddleOfAFrameHoldsWhatWasCommittedBefore) {
  be_killed();
  const std::string file = bytes_of(path_), log = bytes_of(log_path());
  for (const size_t missing : {1, 100, 4095, 4096, 4100, 4119}) {
    store_.reset();
    write(path_, file);
    write(log_path(), log.substr(0, log.size() - missing));
    EXPECT_EQ(load().generation, 1u) << missing;
  }
}

// A rollback journal in the middle of a transaction that wrote to the file at `path`, which is not in WAL mode.
std::string journal_of(const std::string& path, const std::string& change) {
  Database database(path, "PRAGMA synchronous = OFF");
  database.execute("BEGIN IMMEDIATE; " + change);
  std::string journal = bytes_of(path + "-journal");
  database.execute("COMMIT");
  return journal;
}

// SQLite would put pages of it into the state, and give it that database's size.
TEST_F(Files, AnotherDatabasesRollbackJournalIsRefusedAndNothingIsChanged) {
  be_killed();
  const std::string file = bytes_of(path_), log = bytes_of(log_path());
  const std::string other_path = (directory_ / "other.db").string();
  Database(other_path).execute("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
  const std::string foreign = journal_of(other_path, "UPDATE theirs SET a = 2");
  ASSERT_GT(foreign.size(), 4096u);
  const std::string journal = path_ + "-journal";
  for (const std::string& bad : {foreign, std::string(5'000, 'x'), std::string("x")}) {
    write(journal, bad);
    const std::string said = error();
    EXPECT_NE(said.find("cannot be used: beside it lies " + journal), std::string::npos) << said;
    EXPECT_NE(said.find("move it away"), std::string::npos) << said;
    EXPECT_TRUE(bytes_of(path_) == file);
    EXPECT_TRUE(bytes_of(log_path()) == log);
    EXPECT_TRUE(bytes_of(journal) == bad);
  }
  // What SQLite does not look into: it is over, or was never begun.
  for (const std::string& nothing : {std::string(), std::string(5'000, '\0')}) {
    store_.reset();
    write(path_, file);
    write(log_path(), log);
    write(journal, nothing);
    expect_whole();
  }
}

// A state that was put into another mode is put back at the start; a kill in the middle of that leaves a journal.
TEST_F(Files, OfAStateThatIsNotInWalModeItsOwnRollbackJournalIsUndone) {
  be_killed();
  (void)Database(path_).text("PRAGMA journal_mode = DELETE");
  const std::string journal = journal_of(path_, "UPDATE history SET uid = 99");
  ASSERT_GT(journal.size(), 4096u);
  const std::string file = bytes_of(path_);
  write(path_ + "-journal", std::string(5'000, 'x'));
  EXPECT_NE(error().find("beside it lies " + path_ + "-journal"), std::string::npos) << error();
  EXPECT_TRUE(bytes_of(path_) == file);
  write(path_ + "-journal", journal);
  expect_whole();
  store_.reset();
  EXPECT_NE(Database(path_).number("SELECT max(uid) FROM history"), 99);
  EXPECT_FALSE(fs::exists(path_ + "-journal"));
}

TEST_F(Files, ARollbackJournalWithoutItsFileIsNoNewState) {
  be_killed();
  fs::remove(path_);
  fs::remove(log_path());
  write(path_ + "-journal", std::string(5'000, 'x'));
  EXPECT_NE(error().find("is missing, but"), std::string::npos) << error();
  fs::remove(path_ + "-journal");
  EXPECT_EQ(error(), "");
}

TEST_F(Files, DamageLeavesFilesAsTheyAreForWhoeverLooksIntoThem) {
  be_killed();
  Database(path_).execute("UPDATE claim SET peer = 999");
  store_.reset();
  const std::string file = bytes_of(path_);
  EXPECT_NE(error().find("peer 999, which there is not"), std::string::npos);
  EXPECT_EQ(bytes_of(path_), file);
}

TEST_F(Files, ATableThatIsMissingIsDamage) {
  store_.reset();
  Database(path_).execute("DROP TABLE claim");
  EXPECT_NE(error().find("is damaged (no such table: claim); move it away"), std::string::npos)
      << error();
}

TEST_F(Files, TheHistoryEndsWhereTheStateDoes) {
  commit({add_tunnel("wg0")});
  store_.reset();
  Database(path_).execute("UPDATE meta SET generation = 9");
  EXPECT_NE(error().find("is of generation 9, its history of 1"), std::string::npos) << error();
}

TEST_F(Files, AreOurs) {
  be_killed();
  const std::string file = bytes_of(path_), log = bytes_of(log_path());
  for (const std::string& name : {path_, log_path()}) {
    ASSERT_EQ(chmod(name.c_str(), 0666), 0);
    EXPECT_EQ(error(), "");
    struct stat status{};
    ASSERT_EQ(stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    write(path_, file);
    write(log_path(), log);
  }
  const std::string real = path_ + ".real";
  fs::rename(path_, real);
  fs::create_symlink(real, path_);
  EXPECT_NE(error().find(path_ + " is a symbolic link; name the file itself"), std::string::npos);
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_NE(error().find("is a directory"), std::string::npos) << error();
  fs::remove(path_);
  fs::rename(real, path_);
  fs::rename(log_path(), real);
  fs::create_symlink(real, log_path());
  EXPECT_NE(error().find("-wal is a symbolic link"), std::string::npos) << error();
  fs::remove(log_path());
  fs::rename(real, log_path());
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  for (const std::string& name : {log_path(), path_}) {
    ASSERT_EQ(chown(name.c_str(), 12'345, 12'345), 0);
    EXPECT_NE(error().find("belongs to uid 12345"), std::string::npos) << error();
    ASSERT_EQ(chown(name.c_str(), 0, 0), 0);
  }
  expect_whole();
}

TEST_F(Files, LeftoversOfAStartThatWasKilledAreNoState) {
  store_.reset();
  fs::remove(path_);
  write(path_ + ".new", std::string(5'000, 'x'));
  write(path_ + ".new-wal", std::string(5'000, 'x'));
  EXPECT_EQ(error(), "");
  EXPECT_FALSE(fs::exists(path_ + ".new"));
  EXPECT_FALSE(fs::exists(path_ + ".new-wal"));
}

}  // namespace
}  // namespace turnpike::store

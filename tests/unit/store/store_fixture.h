// A state and a store that follow each other, in a directory of the test's own.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "control/store/store.h"
#include "tests/unit/state/state_fixture.h"

namespace turnpike::store {

// While it lives, no file of this process grows beyond a page: a disk that is full.
class FullDisk {
 public:
  FullDisk() {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{.rlim_cur = 4096, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    std::string name = (std::filesystem::temp_directory_path() / "turnpike-store-XXXXXX").string();
    directory_ = mkdtemp(name.data());
    path_ = (directory_ / "state.db").string();
    reopen();
  }
  ~StoreTest() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  void reopen() {
    store_.reset();
    auto opened = Store::open(path_);
    ASSERT_TRUE(opened.has_value()) << opened.error();
    store_.emplace(std::move(*opened));
  }

  // Plans, applies; what is to be written.
  Record plan(std::vector<state::Edit> edits, std::string comment = "") {
    auto change = state::plan(state_, {.edits = std::move(edits)});
    EXPECT_TRUE(change.has_value());
    Record record;
    record.undo = encode(state::undo(state_, *change));
    record.entry.generation = state_.apply(*change);
    record.entry.at = WallTime{record.entry.generation * 1'000};
    record.entry.uid = 7;
    record.entry.pid = 77;
    record.entry.comment = std::move(comment);
    record.change = std::make_shared<const state::Change>(std::move(*change));
    return record;
  }

  void commit(std::vector<state::Edit> edits, std::string comment = "") {
    const Entry entry = plan(std::move(edits), std::move(comment));
    const auto written = store_->write({&entry, 1});
    ASSERT_TRUE(written.has_value()) << written.error();
  }

  // What a new process finds.
  [[nodiscard]] Loaded load() {
    reopen();
    auto loaded = store_->load();
    EXPECT_TRUE(loaded.has_value()) << loaded.error();
    return loaded ? std::move(*loaded) : Loaded{};
  }

  [[nodiscard]] static state::State state_of(const Loaded& loaded) {
    state::State state(loaded.content.base, loaded.content.next_peer_id);
    state.apply(loaded.content);
    return state;
  }

  std::filesystem::path directory_;
  std::string path_;
  std::optional<Store> store_;
  state::State state_;
};

}  // namespace turnpike::store

#include "control/store/journal.h"

#include <deque>
#include <future>
#include <random>

#include "tests/unit/store/store_fixture.h"

namespace turnpike::store {
namespace {

using state::add;
using state::add_tunnel;
using state::claim;
using state::dump;

// Stands for the control thread's loop: what is delivered runs where take() is called.
class Inbox {
 public:
  void put(std::function<void()> call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    ++deliveries_;
    wake_.notify_one();
  }
  void run_until(const std::function<bool()>& done) {
    while (!done()) {
      std::function<void()> call;
      {
        std::unique_lock lock(mutex_);
        ASSERT_TRUE(wake_.wait_for(lock, 20s, [&] { return !calls_.empty(); }));
        call = std::move(calls_.front());
        calls_.pop_front();
      }
      call();
    }
  }
  [[nodiscard]] size_t deliveries() {
    const std::lock_guard lock(mutex_);
    return deliveries_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> calls_;
  size_t deliveries_ = 0;
};

class JournalTest : public StoreTest {
 protected:
  void start(std::chrono::microseconds gather_for = Journal::kGatherFor) {
    journal_ = std::make_unique<Journal>(
        std::move(*store_), [this](auto call) { inbox_.put(std::move(call)); }, gather_for);
    store_.reset();
  }
  void post(Entry entry, uint64_t chain = 1) {
    journal_->post(std::move(entry), chain, [this](Result<void, std::string> outcome) {
      outcomes_.push_back(outcome ? "" : outcome.error());
    });
    ++posted_;
  }
  void finish() {
    inbox_.run_until([this] { return outcomes_.size() == posted_; });
  }
  // The thread waits in here until open() is called, and entries pile up.
  void close() {
    journal_->run([gate = gate_.get_future().share()](Store&) { gate.wait(); }, [] {});
  }
  void open() { gate_.set_value(); }

  Inbox inbox_;
  std::promise<void> gate_;
  std::vector<std::string> outcomes_;
  size_t posted_ = 0;
  std::unique_ptr<Journal> journal_;
};

TEST_F(JournalTest, WhatWaitsSharesOneSync) {
  start();
  close();
  post(plan({add_tunnel("wg0")}));
  for (uint64_t i = 1; i <= 100; ++i) post(plan({add("peer" + std::to_string(i), i)}));
  open();
  finish();
  EXPECT_EQ(outcomes_, std::vector<std::string>(101));
  EXPECT_EQ(inbox_.deliveries(), 2u);  // of the gate, and of all the others together
  journal_.reset();
  EXPECT_EQ(dump(state_of(load())), dump(state_));
}

TEST_F(JournalTest, ASyncWaitsForAsManyAsTheLastOneHad) {
  start(std::chrono::hours(1));
  close();
  post(plan({add_tunnel("wg0")}));
  post(plan({add("a", 1)}));
  post(plan({add("b", 2)}));
  open();
  finish();
  for (const char* prefix : {"10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"}) {
    EXPECT_EQ(inbox_.deliveries(), 2u);  // of the gate, and of the first three
    post(plan({claim("a", {prefix})}));
    std::this_thread::sleep_for(5ms);
  }
  finish();
  EXPECT_EQ(inbox_.deliveries(), 3u);
  // Who waits is let go by a question and by the end.
  post(plan({add("c", 3)}));
  bool asked = false;
  journal_->run([](Store&) {}, [&] { asked = true; });
  inbox_.run_until([&] { return asked; });
  post(plan({add("d", 4)}));
  journal_.reset();
  EXPECT_EQ(dump(state_of(load())), dump(state_));
}

TEST_F(JournalTest, ASyncWaitsNoLongerThanIsAllowed) {
  start();
  close();
  post(plan({add_tunnel("wg0")}));
  post(plan({add("a", 1)}));
  open();
  finish();
  post(plan({add("b", 2)}));  // nobody comes with it
  finish();
  EXPECT_EQ(outcomes_, std::vector<std::string>(3));
}

// At any pace, alone and in groups, with questions among them: all is done, in its order, and the questions see what was
// posted before them.
TEST_F(JournalTest, WhatIsPostedAtAnyPaceIsDoneInItsOrder) {
  start();
  post(plan({add_tunnel("wg0")}));
  finish();
  std::mt19937 random(20261126);
  const auto below = [&](uint32_t bound) { return random() % bound; };
  size_t questions = 0, asked = 0;
  uint64_t key = 0;
  for (int turn = 0; turn < 300; ++turn) {
    for (uint32_t group = 1 + below(12); group > 0; --group) {
      ++key;
      post(plan({add("peer" + std::to_string(key), key)}));
      if (below(4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(below(40)));
      if (below(16) != 0) continue;
      journal_->run([want = posted_](Store& store) { EXPECT_EQ(store.newest(), want); },
                    [&] { ++asked; });
      ++questions;
    }
    if (below(2) == 0) finish();
    if (below(4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(below(400)));
  }
  finish();
  inbox_.run_until([&] { return asked == questions; });
  EXPECT_EQ(outcomes_, std::vector<std::string>(posted_));
  journal_.reset();
  EXPECT_EQ(dump(state_of(load())), dump(state_));
}

TEST_F(JournalTest, WhatWasPostedIsWrittenBeforeTheEnd) {
  start();
  close();
  post(plan({add_tunnel("wg0")}));
  post(plan({add("a", 1)}));
  open();
  journal_.reset();
  EXPECT_EQ(load().generation, 2u);
}

TEST_F(JournalTest, WhatWasPlannedOnAFailureFailsAndTheNextChainGoesOn) {
  start();
  post(plan({add_tunnel("wg0")}));
  finish();
  const state::State durable = state_of([&] {
    Loaded loaded;
    bool read = false;
    journal_->run([&](Store& store) { loaded = store.load().value(); }, [&] { read = true; });
    inbox_.run_until([&] { return read; });
    return loaded;
  }());
  {
    const FullDisk full;
    post(plan({add("a", 1)}));
    finish();
  }
  EXPECT_NE(outcomes_[1], "");
  post(plan({claim("a", {"10.0.0.0/24"})}));  // on a peer that is not durable
  finish();
  EXPECT_EQ(outcomes_[2], outcomes_[1]);
  state_ = state::State();
  state_.apply(state::plan(state_, {.edits = {add_tunnel("wg0")}}).value());
  ASSERT_EQ(dump(state_), dump(durable));
  post(plan({add("b", 2)}), 2);
  finish();
  EXPECT_EQ(outcomes_[3], "");
  journal_.reset();
  EXPECT_EQ(dump(state_of(load())), dump(state_));
}

TEST_F(JournalTest, AQuestionSeesWhatWasPostedBefore) {
  start();
  size_t entries = 0;
  bool read = false;
  close();
  post(plan({add_tunnel("wg0")}));
  journal_->run([&](Store& store) { entries = store.history()->size(); }, [&] { read = true; });
  post(plan({add("a", 1)}));
  open();
  inbox_.run_until([&] { return read; });
  EXPECT_EQ(entries, 1u);
  finish();
}

}  // namespace
}  // namespace turnpike::store

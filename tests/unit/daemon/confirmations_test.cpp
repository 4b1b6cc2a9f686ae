// Commits that await their confirmation, with the real committer, journal and history: what is on its way to the disk or
// to the workers while an earlier one goes back. One worker, which looks for news only where the test lets it.
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <future>

#include "control/daemon/boot.h"
#include "control/daemon/history.h"
#include "tests/unit/gateway/gateway_fixture.h"
#include "tests/unit/store/store_fixture.h"

namespace turnpike::daemon {
namespace {

using namespace std::chrono_literals;
using gateway::Committer;

class Confirmations : public store::StoreTest {
 protected:
  Confirmations() {
    StoreTest::commit({state::add_tunnel("wg0"), state::add("bob", 2)});
    auto loaded = load();
    state_ = state::State();
    gateway_ = std::make_unique<gateway::Gateway>(gateway::Gateway::Parts{
        .pages = pages_, .epoch = epoch_, .doors = {&door_}, .session = session_});
    session_.done_ticket = UINT64_MAX;
    Boot boot(*store_, state_, *gateway_, [] { return kNow; });
    EXPECT_TRUE(boot.restore(loaded, {}).has_value());
    journal_ = std::make_unique<store::Journal>(
        std::move(*store_), [this](auto call) { boost::asio::post(io_, std::move(call)); });
    committer_ = std::make_unique<Committer>(
        state_, *gateway_,
        [](auto work, auto done) {
          work();
          done();
        },
        [] { return kNow; }, journal_.get());
    history_ = std::make_unique<History>(History::Parts{
        .io = io_,
        .journal = *journal_,
        .state = state_,
        .submit = [this](Committer::Request request) { committer_->submit(std::move(request)); },
        .coming = [this]() -> const std::set<Generation>& { return committer_->to_be_confirmed(); },
        .when_ready = [](const std::function<void()>& run) { run(); },
        .wall = [] { return WallTime{1'000}; },
        .told = [](const Committer::Outcome&, const store::HistoryEntry&,
                   bool) -> api::CommitAnswer { return api::Committed{}; }});
  }
  ~Confirmations() override {
    history_.reset();
    journal_.reset();
  }

  // As the daemon does: once it is answered it awaits its confirmation.
  void submit(std::vector<state::Edit> edits, Duration confirm) {
    committer_->submit(
        {.make = [edits = std::move(edits)](
                     const state::State&) { return state::Transaction{.edits = edits}; },
         .confirm = confirm,
         .answer =
             [this, confirm](Committer::Outcome outcome) {
               const auto* done = std::get_if<Committer::Done>(&outcome);
               ASSERT_NE(done, nullptr);
               history_->await(done->generation, confirm);
               ++answered_;
             }});
  }
  void commit(std::vector<state::Edit> edits, Duration confirm) {
    const size_t before = answered_;
    submit(std::move(edits), confirm);
    run_until([&] { return answered_ > before; });
  }
  static std::vector<state::Edit> keepalive(const char* peer, uint16_t seconds) {
    return {state::set(peer, {.persistent_keepalive = seconds})};
  }
  [[nodiscard]] uint16_t keepalive() const {
    return state_.peer(state_.find_peer(0, std::string_view("bob"))).persistent_keepalive;
  }
  [[nodiscard]] bool has(const char* peer) const {
    return state_.find_peer(0, std::string_view(peer)) != state::kNoSlot;
  }

  void run_until(const std::function<bool()>& reached) {
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (!reached() && std::chrono::steady_clock::now() < until) {
      io_.restart();
      io_.run_for(1ms);
      if (!worker_stands_) (void)door_.begin_burst();
      committer_->poll(kNow);
    }
    ASSERT_TRUE(reached());
  }
  void run_for(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    run_until([&] { return std::chrono::steady_clock::now() >= until; });
  }
  // The journal's thread waits until the gate opens; what is posted meanwhile is not on the disk.
  void close_gate() {
    journal_->run([gate = gate_.get_future().share()](store::Store&) { gate.wait(); }, [] {});
  }
  void open_gate() { gate_.set_value(); }

  // Neither here nor on the disk.
  void expect_nothing_awaits() {
    bool none = false;
    history_->confirm(
        {}, [&](const api::ConfirmAnswer& a) { none = std::holds_alternative<api::NotFound>(a); });
    EXPECT_TRUE(none);
    history_.reset();
    journal_.reset();
    EXPECT_TRUE(load().unconfirmed.empty());
  }

  static constexpr Instant kNow{1'000'000'000};
  boost::asio::io_context io_;
  SystemPages pages_;
  publish::Epoch epoch_;
  publish::Door door_{epoch_, pages_, 2048};
  bool worker_stands_ = false;
  gateway::FakeSession session_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::unique_ptr<store::Journal> journal_;
  std::unique_ptr<Committer> committer_;
  std::unique_ptr<History> history_;
  std::promise<void> gate_;
  size_t answered_ = 0;
};

TEST_F(Confirmations, OneThatNoWorkerHasYetDoesNotBringBackTheEarlierOneOfTheSameAttribute) {
  commit(keepalive("bob", 25), 50ms);
  worker_stands_ = true;
  submit(keepalive("bob", 30), 250ms);
  run_until([&] { return keepalive() == 0; });
  worker_stands_ = false;
  run_until([&] { return answered_ == 2; });
  run_for(400ms);
  EXPECT_EQ(keepalive(), 0) << "25 was never confirmed";
  expect_nothing_awaits();
}

TEST_F(Confirmations, OneThatNoWorkerHasYetDoesNotBringBackThePeerThatItEdits) {
  commit({state::add("dave", 4)}, 50ms);
  worker_stands_ = true;
  submit(keepalive("dave", 30), 250ms);
  run_until([&] { return !has("dave"); });
  worker_stands_ = false;
  run_until([&] { return answered_ == 2; });
  run_for(400ms);
  EXPECT_FALSE(has("dave"));
  expect_nothing_awaits();
}

TEST_F(Confirmations, OneThatIsNotOnTheDiskWhenTheEarlierOneRunsOutDoesNotBringItBack) {
  commit({state::add("dave", 4)}, 50ms);
  close_gate();
  submit(keepalive("dave", 30), 250ms);
  run_for(100ms);
  open_gate();
  run_until([&] { return !has("dave"); });
  run_for(400ms);
  EXPECT_FALSE(has("dave"));
  expect_nothing_awaits();
}

TEST_F(Confirmations, OneThatComesWhileTheHistoryIsReadDoesNotBringBackTheEarlierOne) {
  commit({state::add("dave", 4)}, 50ms);
  close_gate();
  run_for(100ms);  // its time is over, and the question waits at the gate
  submit(keepalive("dave", 30), 250ms);
  open_gate();
  run_until([&] { return !has("dave"); });
  run_for(400ms);
  EXPECT_FALSE(has("dave"));
  expect_nothing_awaits();
}

// And what has nothing to do with it stays: it is neither undone with it nor does it keep it.
TEST_F(Confirmations, OneThatComesWhileTheHistoryIsReadAndTouchesSomethingElseStays) {
  commit({state::add("dave", 4)}, 50ms);
  close_gate();
  run_for(100ms);
  submit(keepalive("bob", 30), 250ms);
  open_gate();
  run_until([&] { return !has("dave"); });
  EXPECT_EQ(keepalive(), 30);
  run_until([&] { return keepalive() == 0; });
  expect_nothing_awaits();
}

}  // namespace
}  // namespace turnpike::daemon

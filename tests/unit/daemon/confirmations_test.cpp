// Commits that await their confirmation, with the real committer, journal and history: what is on its way to the disk or
// to the workers while an earlier one goes back. One worker, which looks for news only where the test lets it.
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <future>
#include <sstream>

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
        .generation = [this] { return committer_->generation(); },
        .submit =
            [this](Committer::Request request) {
              if (before_submit_) before_submit_();
              committer_->submit(std::move(request));
            },
        .coming = [this]() -> const std::set<Generation>& { return committer_->to_be_confirmed(); },
        .wall = [] { return WallTime{1'000}; },
        .told = [](const Committer::Outcome& outcome, const store::HistoryEntry&,
                   bool) -> api::CommitAnswer {
          if (std::holds_alternative<Committer::Done>(outcome)) return api::Committed{};
          return api::CommitFailure{};
        }});
  }
  ~Confirmations() override {
    if (gate_is_closed_) open_gate();  // the journal waits for it
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
  // Nothing awaits a confirmation of it.
  void edit_unconfirmed(std::vector<state::Edit> edits) {
    committer_->submit(
        {.make = [edits = std::move(edits)](
                     const state::State&) { return state::Transaction{.edits = edits}; },
         .answer =
             [this](const Committer::Outcome& outcome) {
               refused_ += std::holds_alternative<state::Refusal>(outcome);
             }});
  }
  static std::vector<state::Edit> keepalive(const char* peer, uint16_t seconds) {
    return {state::set(peer, {.persistent_keepalive = seconds})};
  }
  [[nodiscard]] uint16_t keepalive(const char* peer = "bob") const {
    return state_.peer(state_.find_peer(0, std::string_view(peer))).persistent_keepalive;
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
    gate_is_closed_ = true;
    journal_->run([gate = gate_.get_future().share()](store::Store&) { gate.wait(); }, [] {});
  }
  void open_gate() {
    gate_is_closed_ = false;
    gate_.set_value();
  }

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
  std::function<void()> before_submit_;
  std::promise<void> gate_;
  bool gate_is_closed_ = false;
  size_t answered_ = 0;
  size_t refused_ = 0;
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

TEST_F(Confirmations, OneThatNoWorkerHasYetAndThatUndoesTheEarlierOneDoesNotBringItBack) {
  commit(keepalive("bob", 25), 50ms);
  worker_stands_ = true;
  submit(keepalive("bob", 0), 250ms);
  run_for(150ms);
  worker_stands_ = false;
  run_until([&] { return answered_ == 2; });
  run_for(400ms);
  EXPECT_EQ(keepalive(), 0) << "25 was never confirmed";
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

TEST_F(Confirmations, OneThatComesWhileTheHistoryIsReadIsJudgedAfterTheEarlierOneWentBack) {
  commit({state::add("dave", 4)}, 50ms);
  close_gate();
  run_for(100ms);  // its time is over, and the question waits at the gate
  edit_unconfirmed(keepalive("dave", 30));
  open_gate();
  run_until([&] { return refused_ == 1; });
  EXPECT_FALSE(has("dave"));
  expect_nothing_awaits();
}

// And what has nothing to do with it stays: it is neither undone with it nor does it keep it.
TEST_F(Confirmations, OneThatComesWhileTheHistoryIsReadAndTouchesSomethingElseStays) {
  commit({state::add("dave", 4)}, 50ms);
  close_gate();
  run_for(100ms);
  submit(keepalive("bob", 30), 1s);
  open_gate();
  run_until([&] { return answered_ == 2; });
  EXPECT_FALSE(has("dave"));
  EXPECT_EQ(keepalive(), 30);
  run_until([&] { return keepalive() == 0; });
  expect_nothing_awaits();
}

// What the log says meanwhile.
class LogKept {
 public:
  LogKept() {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "kept", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines_)));
    spdlog::set_pattern("%l: %v");
  }
  ~LogKept() { spdlog::set_default_logger(before_); }
  [[nodiscard]] std::string text() const { return lines_.str(); }

 private:
  const std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
  std::ostringstream lines_;
};

TEST_F(Confirmations, OneOfWhichNothingIsLeftToUndoIsNoError) {
  const LogKept log;
  commit(keepalive("bob", 25), 50ms);
  edit_unconfirmed(keepalive("bob", 0));
  run_for(200ms);
  EXPECT_EQ(keepalive(), 0);
  expect_nothing_awaits();
  EXPECT_NE(log.text().find("info: generation 2: nothing of it was left to undo\n"),
            std::string::npos)
      << log.text();
  EXPECT_EQ(log.text().find("error: "), std::string::npos) << log.text();
}

// Four clients, each of which commits again as soon as it is answered, and one who is quicker than the history each time.
class ConfirmationsUnderTraffic : public Confirmations {
 protected:
  static constexpr uint16_t kClients = 4;
  void begin_traffic() {
    for (uint16_t client = 0; client < kClients; ++client) go_on(client);
    before_submit_ = [this] {
      edit_unconfirmed(keepalive("bob", static_cast<uint16_t>(1'001 + ++commits_ % 1'000)));
    };
  }
  void end_traffic() {
    ending_ = true;
    run_until([&] { return ended_ == kClients; });
  }
  static bool was_committed(const api::RollbackAnswer& answer) {
    const auto* commit = std::get_if<api::CommitAnswer>(&answer);
    return commit != nullptr && std::holds_alternative<api::Committed>(*commit);
  }
  size_t commits_ = 0;

 private:
  void go_on(uint16_t client) {
    if (ending_) {
      ++ended_;
      return;
    }
    const auto seconds = static_cast<uint16_t>(1 + ++commits_ % 1'000);
    committer_->submit({.make =
                            [seconds](const state::State&) {
                              return state::Transaction{.edits = keepalive("bob", seconds)};
                            },
                        .answer = [this, client](const Committer::Outcome&) { go_on(client); }});
  }
  bool ending_ = false;
  uint16_t ended_ = 0;
};

TEST_F(ConfirmationsUnderTraffic, OneThatRunsOutGoesBackThoughOthersCommitAllTheWhile) {
  commit({state::add("dave", 4)}, 50ms);
  begin_traffic();
  run_until([&] { return !has("dave"); });
  end_traffic();
  expect_nothing_awaits();
}

TEST_F(ConfirmationsUnderTraffic, OneThatWasEditedFurtherGoesBackThoughOthersCommitAllTheWhile) {
  edit_unconfirmed({state::add("dave", 4)});
  commit(keepalive("dave", 25), 50ms);
  edit_unconfirmed(keepalive("dave", 30));
  begin_traffic();
  run_until([&] { return keepalive("dave") == 0; });
  EXPECT_TRUE(has("dave"));
  const size_t before = commits_;
  run_until([&] { return commits_ > before + kClients; });
  end_traffic();
  expect_nothing_awaits();
}

TEST_F(ConfirmationsUnderTraffic, ARollbackFindsItsTurnThoughOthersCommitAllTheWhile) {
  const Generation before = committer_->generation();
  commit({state::add("dave", 4)}, 1h);
  begin_traffic();
  std::optional<api::RollbackAnswer> answer;
  history_->roll_back(before, {.commit = {}, .if_generation = {}, .comment = {}},
                      [&](api::RollbackAnswer a) { answer = std::move(a); });
  run_until([&] { return answer.has_value(); });
  EXPECT_TRUE(was_committed(*answer));
  EXPECT_FALSE(has("dave"));
  end_traffic();
  expect_nothing_awaits();
}

}  // namespace
}  // namespace turnpike::daemon

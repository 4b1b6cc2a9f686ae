// A daemon without a data plane: real state and real transactions, made-up counters.
#pragma once

#include "control/api/backend.h"
#include "control/api/events.h"

namespace turnpike::api {

class FakeBackend final : public Backend {
 public:
  FakeBackend();

  [[nodiscard]] const state::State& state() const override { return state_; }
  [[nodiscard]] Generation generation() const override {
    return durable.value_or(state_.generation());
  }
  [[nodiscard]] PeerStatus peer_status(PeerId peer) const override;
  [[nodiscard]] TunnelStatus tunnel_status(TunnelIndex tunnel) const override;
  [[nodiscard]] std::vector<PortStatus> ports() const override;
  [[nodiscard]] std::vector<WorkerStatus> workers() const override;
  [[nodiscard]] std::vector<DropCount> drops() const override;
  [[nodiscard]] bool ready() const override { return !busy; }
  void when_ready(std::function<void()> run) override;
  void commit(state::Transaction transaction, CommitOptions options,
              std::function<void(CommitAnswer)> answer) override;
  void commit(MakeTransaction make, bool large, CommitOptions options,
              std::function<void(CommitAnswer)> answer) override;
  [[nodiscard]] std::unique_ptr<BodySource> events(Access access) override {
    return hub.listen(access);
  }
  [[nodiscard]] Totals totals() const override;
  void reload(FileOptions options, std::function<void(FileAnswer)> answer) override;
  void diff(std::string path, std::function<void(DiffAnswer)> answer) override;
  void history(std::function<void(HistoryAnswer)> answer) override { answer(history_answer); }
  void rollback(Generation generation, ChangeRequest request,
                std::function<void(RollbackAnswer)> answer) override;
  void confirm(std::optional<Generation> generation,
               std::function<void(ConfirmAnswer)> answer) override;
  void running_config(ExportRequest request, std::function<void(RunningAnswer)> answer) override;
  [[nodiscard]] PublicKey public_key(const PrivateKey& key) const override;

  // Expects success.
  void apply(std::vector<state::Edit> edits);

  std::optional<Generation> durable;  // if set, the state is ahead of the disk
  std::string failure;  // if set, commits fail with it
  EventHub hub;
  // What reload() and diff() answer.
  FileAnswer file_answer;
  DiffAnswer diff_answer;
  std::string last_path;
  // What history(), rollback() and confirm() answer.
  HistoryAnswer history_answer;
  RollbackAnswer rollback_answer;
  ConfirmAnswer confirm_answer;
  // What running_config() makes of the state; it says `busy_exports` if that is set.
  gateway::Topology topology;
  config::Config started, applied;
  std::string busy_exports;
  std::optional<ExportRequest> last_export;
  std::optional<Generation> last_generation;
  CommitOptions last_options;
  std::string last_comment;
  std::vector<uint32_t> late_lcores;
  // Answers wait until release() if set, as they do for a disk.
  bool hold_answers = false;
  void release();
  // Nothing may be read until rest().
  bool busy = false;
  void rest();

 private:
  state::State state_;
  std::vector<std::function<void()>> held_;
  std::vector<std::function<void()>> waiting_;
};

// Three peers in wg0: alice (10.8.0.2/32, fd00:8::2/128), bob (10.8.0.3/32), and one without a name.
void add_three_peers(FakeBackend& backend);
[[nodiscard]] PublicKey test_key(uint8_t number);
[[nodiscard]] std::string test_key_text(uint8_t number);

}  // namespace turnpike::api

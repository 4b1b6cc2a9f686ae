// The running gateway: the state, its way to the data plane, and what the API asks of both.
//   Threads: control (the main thread), on one io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "control/api/backend.h"
#include "control/daemon/boot.h"
#include "control/daemon/exports.h"
#include "control/daemon/failures.h"
#include "control/daemon/history.h"
#include "control/daemon/host.h"
#include "control/daemon/observer.h"
#include "control/daemon/port_watch.h"
#include "control/daemon/reloader.h"
#include "control/daemon/service.h"
#include "control/daemon/thread_session_link.h"
#include "control/daemon/timestamps.h"
#include "control/daemon/worker_load.h"
#include "control/gateway/committer.h"
#include "control/gateway/gateway.h"
#include "control/session/session_thread.h"
#include "control/state/state.h"
#include "control/store/journal.h"
#include "dataplane/crypto/system_random.h"

namespace turnpike::daemon {

class Daemon final : public api::Backend {
 public:
  // From the ports up to forwarding packets; the errors are for the user, a line each.
  [[nodiscard]] static Result<std::unique_ptr<Daemon>, std::vector<std::string>> start(
      boost::asio::io_context& io, std::shared_ptr<const config::Config> config);
  ~Daemon() override;

  // Called when tunnels came or went.
  void on_tunnels_changed(std::function<void()> call) { tunnels_changed_ = std::move(call); }

  [[nodiscard]] const Host& host() const noexcept { return *host_; }
  // Everything is open: systemd may go on.
  void say_ready() const;

  [[nodiscard]] const state::State& state() const override { return state_; }
  [[nodiscard]] Generation generation() const override { return committer_->generation(); }
  [[nodiscard]] api::PeerStatus peer_status(PeerId peer) const override;
  [[nodiscard]] api::TunnelStatus tunnel_status(TunnelIndex tunnel) const override;
  [[nodiscard]] std::vector<api::PortStatus> ports() const override;
  [[nodiscard]] std::vector<api::WorkerStatus> workers() const override;
  [[nodiscard]] std::vector<api::DropCount> drops() const override;
  [[nodiscard]] std::unique_ptr<api::BodySource> events(api::Access access) override {
    return observer_.listen(access);
  }
  [[nodiscard]] api::Totals totals() const override;
  [[nodiscard]] bool ready() const override { return committer_->ready(); }
  void when_ready(std::function<void()> run) override { committer_->when_ready(std::move(run)); }
  void commit(state::Transaction transaction, api::CommitOptions options,
              std::function<void(api::CommitAnswer)> answer) override;
  void commit(MakeTransaction make, bool large, api::CommitOptions options,
              std::function<void(api::CommitAnswer)> answer) override;
  // Tells systemd and the log, too.
  void reload(api::FileOptions options, std::function<void(api::FileAnswer)> answer) override;
  void diff(std::string path, std::function<void(api::DiffAnswer)> answer) override;
  void history(std::function<void(api::HistoryAnswer)> answer) override;
  void rollback(Generation generation, api::ChangeRequest request,
                std::function<void(api::RollbackAnswer)> answer) override;
  void confirm(std::optional<Generation> generation,
               std::function<void(api::ConfirmAnswer)> answer) override;
  void running_config(api::ExportRequest request,
                      std::function<void(api::RunningAnswer)> answer) override {
    exports_->begin(request, std::move(answer));
  }
  [[nodiscard]] PublicKey public_key(const PrivateKey& key) const override;

 private:
  Daemon(boost::asio::io_context& io, std::unique_ptr<Host> host, const config::Config& config);
  using Lines = std::vector<std::string>;
  // The durable state, and the file's difference to the one applied last. The errors are for the user.
  [[nodiscard]] Lines begin(store::Store store, store::Loaded loaded,
                            const std::shared_ptr<const config::Config>& config);
  [[nodiscard]] Lines apply_file(Boot& boot, const config::Config& applied,
                                 const config::Config& config);
  void make_journal(store::Store store);
  void offload(std::function<void()> work, std::function<void()> done);
  void start_polling();
  void make_reloader(std::shared_ptr<const config::Config> config,
                     std::shared_ptr<const config::Config> applied);
  void await_confirmation(const gateway::Committer::Outcome& outcome,
                          const api::CommitOptions& options);
  void commit_file(FileCommit file, const api::CommitOptions& options,
                   std::function<void(api::CommitAnswer)> answer);
  [[nodiscard]] bool has_session(PeerId peer) const;
  void poll_gateway();
  void drain_events();
  api::CommitAnswer told(gateway::Committer::Outcome outcome, const store::HistoryEntry& entry,
                         bool dry_run);
  void sample_load();

  boost::asio::io_context& io_;
  boost::asio::steady_timer poll_timer_;
  bool polling_ = false;
  boost::asio::steady_timer load_timer_;
  boost::asio::steady_timer event_timer_;
  crypto::SystemRandom random_;
  std::unique_ptr<Host> host_;
  std::vector<publish::Door*> doors_;
  session::EventQueue session_events_;
  std::unique_ptr<session::SessionThread> session_;
  std::unique_ptr<ThreadSessionLink> link_;
  std::unique_ptr<gateway::Gateway> gateway_;
  state::State state_;
  std::unique_ptr<store::Journal> journal_;
  std::unique_ptr<gateway::Committer> committer_;
  std::unique_ptr<History> history_;
  std::unique_ptr<Timestamps> timestamps_;
  std::vector<WorkerLoad> loads_;  // by WorkerIndex
  std::vector<publish::IdleBy> idle_by_;  // as they were last
  bool told_of_hugepages_ = false;  // that they ran out
  bool told_of_locks_ = false;  // that keys are not locked into memory
  Observer observer_;
  PortWatch<io::Port> port_watch_;
  Service service_;
  Failures failures_;  // of commits
  std::string start_refusal_;  // why nothing of the file was applied at start
  std::function<void()> tunnels_changed_;
  std::unique_ptr<Reloader> reloader_;
  std::unique_ptr<Exports> exports_;
  boost::asio::thread_pool helper_{1};  // last: it ends before what it works on
  boost::asio::thread_pool reader_{1};  // of files, so that no transaction waits for one
};

}  // namespace turnpike::daemon

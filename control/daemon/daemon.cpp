#include "control/daemon/daemon.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "control/daemon/environment.h"
#include "control/daemon/log.h"
#include "control/gateway/file_transaction.h"
#include "control/state/plan.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::daemon {
namespace {

// While a commit waits for other threads; they come round within some tens of microseconds.
constexpr std::chrono::microseconds kPollEvery{50};
constexpr std::chrono::seconds kSampleEvery{1};
// Of the helper thread: it may share a core with threads that packets wait for.
constexpr int kHelperNice = 10;

// A comment is a stranger's text: one line of the log stays one line.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

using gateway::Committer;

void log_commit(const Committer::Done& done, const api::Caller& caller) {
  spdlog::info("generation {}: committed by uid {} pid {}{}", done.generation, caller.uid,
               caller.pid, done.comment.empty() ? "" : ": " + printable(done.comment));
}

api::CommitAnswer answer_of(Committer::Outcome outcome) {
  if (auto* refusal = std::get_if<state::Refusal>(&outcome)) return std::move(*refusal);
  if (auto* failure = std::get_if<Committer::Failure>(&outcome)) {
    return api::CommitFailure{.what = std::move(failure->what)};
  }
  auto& done = std::get<Committer::Done>(outcome);
  api::Committed committed{.generation = done.generation,
                           .changed = done.changed,
                           .visible = done.seen.visible,
                           .late_lcores = {},
                           .warnings = std::move(done.warnings)};
  for (const WorkerIndex worker : done.seen.late_workers) {
    committed.late_lcores.push_back(io::lcore_of_worker(worker));
  }
  return committed;
}

void log_reload(const api::FileAnswer& answer) {
  if (const auto* done = std::get_if<api::Committed>(&answer)) {
    for (const std::string& warning : done->warnings) spdlog::warn("{}", warning);
    spdlog::info("reload: generation {}{}", done->generation,
                 done->changed ? "" : ", the file asks for nothing new");
    return;
  }
  const std::vector<config::ConfigError>* errors = nullptr;
  if (const auto* mistakes = std::get_if<api::FileMistakes>(&answer)) errors = &mistakes->mistakes;
  if (const auto* conflicts = std::get_if<api::FileConflicts>(&answer)) errors = &conflicts->at;
  if (errors != nullptr) {
    for (const config::ConfigError& error : *errors) spdlog::error("{}", config::to_string(error));
  } else {
    spdlog::error("{}", std::get<api::CommitFailure>(answer).what);
  }
  spdlog::error("reload: nothing of the file was applied");
}

Instant monotonic_now() { return session::SessionThread::read_clocks().instant; }

}  // namespace

Daemon::Daemon(boost::asio::io_context& io, std::unique_ptr<Host> host,
               const config::Config& config)
    : io_(io),
      poll_timer_(io),
      load_timer_(io),
      host_(std::move(host)),
      loads_(config.dataplane.workers.size()) {
  for (const auto& door : host_->doors) doors_.push_back(door.get());
  session_ = std::make_unique<session::SessionThread>(
      session::SessionParts{.peers = host_->peers,
                            .receivers = host_->receivers,
                            .neighbours = host_->neighbours,
                            .epoch = host_->epoch,
                            .key_pages = host_->secret_pages,
                            .random = random_,
                            .doors = doors_},
      config.dataplane.session_cores.front());
  link_ = std::make_unique<ThreadSessionLink>(*session_);
  gateway_ = std::make_unique<gateway::Gateway>(gateway::Gateway::Parts{
      .pages = host_->pages, .epoch = host_->epoch, .doors = doors_, .session = *link_});
  committer_ = std::make_unique<gateway::Committer>(
      state_, *gateway_,
      [this](auto work, auto done) { offload(std::move(work), std::move(done)); }, monotonic_now);
  boost::asio::post(helper_, [] { setpriority(PRIO_PROCESS, 0, kHelperNice); });  // this thread's
}

Result<std::unique_ptr<Daemon>, std::vector<std::string>> Daemon::start(
    boost::asio::io_context& io, std::shared_ptr<const config::Config> shared) {
  const config::Config& config = *shared;
  auto host = Host::start(config);
  if (!host) return fail(std::vector<std::string>{std::move(host.error())});
  std::unique_ptr<Daemon> daemon(new Daemon(io, std::move(*host), config));
  daemon->session_->start();
  if (!daemon->session_->pinned()) {
    spdlog::warn(
        "dataplane.session_cores: CPU {} was not granted; the session thread runs anywhere",
        config.dataplane.session_cores.front());
  }
  if (auto errors = daemon->apply_file(config); !errors.empty()) return fail(std::move(errors));
  if (!daemon->host_->secret_pages.all_locked()) {
    spdlog::warn("keys cannot be locked into memory (RLIMIT_MEMLOCK): they may reach swap");
  }
  daemon->make_reloader(std::move(shared));
  daemon->host_->start_workers();
  daemon->sample_load();
  return daemon;
}

Daemon::~Daemon() {
  reader_.join();
  // Workers first: nothing is forwarded by a session thread that has gone.
  host_->stop_workers();
  helper_.join();
  session_->stop();
}

// Before the workers run, so that the first packet meets the whole state.
std::vector<std::string> Daemon::apply_file(const config::Config& config) {
  if (!gateway_->set_topology(gateway::topology_of(config, host_->macs()))) {
    return {"memory for the routes is short"};
  }
  const gateway::FileTransaction file = gateway::difference(config::Config{}, config);
  const auto change = state::plan(state_, file.transaction);
  if (!change) {
    std::vector<std::string> lines;
    for (const config::ConfigError& error : gateway::errors_of(change.error(), file, config)) {
      lines.push_back(config::to_string(error));
    }
    return lines;
  }
  if (auto prepared = gateway_->prepare(*change); !prepared) return {prepared.error()};
  const Generation generation = state_.apply(*change);
  gateway_->seal(generation);
  gateway_->commit(monotonic_now(), {});
  while (gateway_->poll(monotonic_now())) std::this_thread::sleep_for(kPollEvery);
  return {};
}

void Daemon::offload(std::function<void()> work, std::function<void()> done) {
  boost::asio::post(helper_, [this, work = std::move(work), done = std::move(done),
                              guard = boost::asio::make_work_guard(io_)]() mutable {
    work();
    boost::asio::post(io_, [this, done = std::move(done)] {
      done();
      start_polling();
    });
  });
}

void Daemon::start_polling() {
  if (!polling_) poll_gateway();
}

void Daemon::make_reloader(std::shared_ptr<const config::Config> config) {
  boost::asio::post(reader_, [] { setpriority(PRIO_PROCESS, 0, kHelperNice); });  // this thread's
  reloader_ = std::make_unique<Reloader>(Reloader::Parts{
      .path = config->file,
      .started = config,
      .applied = config,
      .macs = host_->macs(),
      .has_session = [this](PeerId peer) { return has_session(peer); },
      .offload =
          [this](std::function<void()> work, std::function<void()> done) {
            boost::asio::post(reader_, [this, work = std::move(work), done = std::move(done),
                                        guard = boost::asio::make_work_guard(io_)]() mutable {
              work();
              boost::asio::post(io_, std::move(done));
            });
          },
      .later =
          [this](std::function<void(const state::State&)> call) {
            boost::asio::post(io_, [this, call = std::move(call)]() mutable {
              committer_->when_ready([this, call = std::move(call)] { call(state_); });
            });
          },
      .commit =
          [this](FileCommit file, const api::CommitOptions& options,
                 std::function<void(api::CommitAnswer)> answer) {
            commit_file(std::move(file), options, std::move(answer));
          }});
}

bool Daemon::has_session(PeerId peer) const {
  constexpr auto lasts = static_cast<uint64_t>(wireguard::kRejectAfterTime.count());
  const uint64_t last = peer_status(peer).last_handshake.nanoseconds;
  const uint64_t now = session::SessionThread::read_clocks().wall.nanoseconds;
  return last != 0 && (now < last || now - last < lasts);
}

void Daemon::reload(api::FileOptions options, std::function<void(api::FileAnswer)> answer) {
  const auto now = session::SessionThread::read_clocks().instant;
  notify_systemd(
      ("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.nanoseconds / 1'000)).c_str());
  reloader_->reload(std::move(options), [answer = std::move(answer)](api::FileAnswer done) {
    log_reload(done);
    notify_systemd("READY=1");
    answer(std::move(done));
  });
}

void Daemon::diff(std::string path, std::function<void(api::DiffAnswer)> answer) {
  reloader_->diff(std::move(path), std::move(answer));
}

void Daemon::poll_gateway() {
  if (!committer_->poll(monotonic_now())) {
    polling_ = false;
    return;
  }
  polling_ = true;
  poll_timer_.expires_after(kPollEvery);
  poll_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) poll_gateway();
  });
}

void Daemon::sample_load() {
  for (size_t i = 0; i < loads_.size(); ++i) loads_[i].sample(doors_[i]->counters);
  load_timer_.expires_after(kSampleEvery);
  load_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) sample_load();
  });
}

api::PeerStatus Daemon::peer_status(PeerId peer) const {
  const PeerRef ref = gateway_->peers().find(peer);
  if (ref.index == kNoPeer) return {};
  const publish::PeerSlot& slot = host_->peers[ref.index];
  // A slot that the session thread has not taken over yet shows another peer's past.
  if (slot.send.incarnation.load(std::memory_order_acquire) != ref.incarnation) return {};
  return {.endpoint = slot.send.endpoint().remote,
          .last_handshake = {slot.activity.last_handshake_wall.load(std::memory_order_relaxed)},
          .rx_bytes = slot.activity.rx_bytes.load(std::memory_order_relaxed),
          .tx_bytes = slot.activity.tx_bytes.load(std::memory_order_relaxed)};
}

api::TunnelStatus Daemon::tunnel_status(TunnelIndex tunnel) const {
  const gateway::Topology& topology = gateway_->topology();
  for (const gateway::TunnelTopology& t : topology.tunnels) {
    if (t.name != state_.tunnel(tunnel).name) continue;
    return {.outside = topology.ports[t.outside].name,
            .inside = topology.ports[t.inside].name,
            .mtu = t.mtu_bytes,
            .addresses = t.addresses};
  }
  return {};
}

std::vector<api::PortStatus> Daemon::ports() const {
  std::vector<api::PortStatus> ports;
  for (const io::Port& port : host_->ports()) {
    const io::PortStats stats = port.stats();
    ports.push_back({.name = port.name(),
                     .up = stats.up,
                     .mac = port.mac(),
                     .rx_packets = stats.rx_packets,
                     .tx_packets = stats.tx_packets,
                     .missed = stats.missed,
                     .no_mbuf = stats.no_mbuf});
  }
  return ports;
}

std::vector<api::WorkerStatus> Daemon::workers() const {
  std::vector<api::WorkerStatus> workers;
  for (size_t i = 0; i < doors_.size(); ++i) {
    workers.push_back({.lcore = io::lcore_of_worker(i),
                       .generation = doors_[i]->counters.generation.value(),
                       .busy = loads_[i].busy(),
                       .cycles_per_packet = loads_[i].cycles_per_packet()});
  }
  return workers;
}

std::vector<api::DropCount> Daemon::drops() const {
  std::vector<api::DropCount> drops;
  for (size_t reason = 0; reason < kDropReasons; ++reason) {
    uint64_t count = session_->session().counters().drops[reason].value();
    for (const publish::Door* door : doors_) count += door->counters.drops[reason].value();
    drops.push_back({.reason = std::string(kDropReasonNames[reason]), .count = count});
  }
  return drops;
}

void Daemon::commit(state::Transaction transaction, api::CommitOptions options,
                    std::function<void(api::CommitAnswer)> answer) {
  commit([transaction = std::move(transaction)](
             const state::State&) mutable { return std::move(transaction); },
         false, std::move(options), std::move(answer));
}

void Daemon::commit(MakeTransaction make, bool large, api::CommitOptions options,
                    std::function<void(api::CommitAnswer)> answer) {
  if (options.confirm) {
    // Better refused than accepted and never undone.
    return answer(api::CommitFailure{
        .what =
            "--confirm needs the history, which this version does not keep; nothing was changed"});
  }
  committer_->submit({.make = std::move(make),
                      .large = large,
                      .dry_run = options.dry_run,
                      .answer = [caller = options.caller, dry_run = options.dry_run,
                                 answer = std::move(answer)](Committer::Outcome outcome) {
                        if (const auto* done = std::get_if<Committer::Done>(&outcome)) {
                          if (done->changed && !dry_run) log_commit(*done, caller);
                        }
                        answer(answer_of(std::move(outcome)));
                      }});
  start_polling();
}

void Daemon::commit_file(FileCommit file, const api::CommitOptions& options,
                         std::function<void(api::CommitAnswer)> answer) {
  if (options.confirm) {
    return answer(api::CommitFailure{
        .what =
            "--confirm needs the history, which this version does not keep; nothing was changed"});
  }
  auto topology = std::make_shared<gateway::Topology>(std::move(file.topology));
  committer_->submit(
      {.make = std::move(file.make),
       .large = file.large,
       .dry_run = options.dry_run,
       .amend =
           [this, topology, judged = std::move(file.judged)](state::Change& change) {
             const gateway::Topology& running = gateway_->topology();
             *topology = gateway::with_removed_tunnels(std::move(*topology), running);
             change.topology = *topology != running;
             if (judged) judged(state_, change);
           },
       .stage = [this, topology]() -> Result<void, std::string> {
         if (*topology == gateway_->topology() || gateway_->stage_topology(std::move(*topology))) {
           return {};
         }
         return fail(std::string("memory for the routes is short; nothing was changed"));
       },
       .answer =
           [this, caller = options.caller, dry_run = options.dry_run,
            answer = std::move(answer)](Committer::Outcome outcome) {
             const auto* done = std::get_if<Committer::Done>(&outcome);
             if (done != nullptr && done->changed && !dry_run) {
               log_commit(*done, caller);
               if (tunnels_changed_) tunnels_changed_();
             }
             answer(answer_of(std::move(outcome)));
           }});
  start_polling();
}

PublicKey Daemon::public_key(const PrivateKey& key) const { return crypto::public_key(key); }

}  // namespace turnpike::daemon

#include "control/daemon/daemon.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "config/plain_text.h"
#include "control/daemon/expired.h"
#include "control/daemon/log.h"
#include "control/gateway/file_overrides.h"
#include "control/gateway/file_transaction.h"
#include "control/state/plan.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::daemon {
namespace {

// While a commit waits for other threads; they come round within some tens of microseconds.
constexpr std::chrono::microseconds kPollEvery{50};
constexpr std::chrono::milliseconds kDrainEvery{50};
// Of the helper thread: it may share a core with threads that packets wait for.
constexpr int kHelperNice = 10;

using gateway::Committer;

void log_commit(const Committer::Done& done, const store::HistoryEntry& entry) {
  spdlog::info("generation {}: committed by uid {} pid {}{}", done.generation, entry.uid, entry.pid,
               // A stranger's text: one line of the log stays one line.
               done.comment.empty() ? "" : ": " + config::plain_text(done.comment, false));
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

WallTime wall_now() { return session::SessionThread::read_clocks().wall; }

store::HistoryEntry entry_of(const api::Caller& caller, store::Cause cause) {
  return {.at = wall_now(),
          .uid = caller.uid,
          .pid = static_cast<uint32_t>(caller.pid),
          .cause = cause,
          .comment = {}};
}

api::Caller ourselves() { return {.uid = geteuid(), .gid = getegid(), .pid = getpid()}; }

// The file applied last, of which tunnels and peers are kept, with what is read at start from the present one.
std::shared_ptr<const config::Config> complete(config::Config applied,
                                               const config::Config& present) {
  applied.ports = present.ports;
  applied.dataplane = present.dataplane;
  applied.control = present.control;
  applied.file = present.file;
  return std::make_shared<const config::Config>(std::move(applied));
}

// Its tunnels on the ports that there are now. One on a port that is gone carries nothing.
gateway::Topology topology_that_fits(const config::Config& applied,
                                     const std::vector<MacAddress>& macs) {
  config::Config fits;
  fits.ports = applied.ports;
  const auto has = [&](const std::string& port) {
    return std::ranges::find(fits.ports, port, &config::Port::name) != fits.ports.end();
  };
  for (const config::Tunnel& tunnel : applied.tunnels) {
    if (!has(tunnel.outside) || !has(tunnel.inside)) continue;
    fits.tunnels.push_back({.name = tunnel.name,
                            .outside = tunnel.outside,
                            .inside = tunnel.inside,
                            .mtu = tunnel.mtu,
                            .addresses = tunnel.addresses,
                            .peer_to_peer = tunnel.peer_to_peer});
  }
  return gateway::topology_of(fits, macs);
}

}  // namespace

Daemon::Daemon(boost::asio::io_context& io, std::unique_ptr<Host> host,
               const config::Config& config)
    : io_(io),
      poll_timer_(io),
      load_timer_(io),
      event_timer_(io),
      host_(std::move(host)),
      loads_(config.dataplane.workers.size()),
      idle_by_(config.dataplane.workers.size()),
      observer_(wall_now()),
      port_watch_(
          host_->ports_to_watch(), host_->epoch,
          [this](const io::Port& port, bool up) {
            if (up) {
              spdlog::info("port {}: up", port.name());
            } else {
              spdlog::warn("port {}: down", port.name());
            }
            observer_.port_changed(port.name(), up, wall_now());
          },
          [](const std::string& why) {
            spdlog::warn("{}; it is tried again until it can be opened", why);
          }) {
  for (const auto& door : host_->doors) doors_.push_back(door.get());
  session_ = std::make_unique<session::SessionThread>(
      session::SessionParts{.peers = host_->peers,
                            .keypairs = host_->keypairs,
                            .neighbours = host_->neighbours,
                            .epoch = host_->epoch,
                            .aead_keys = host_->crypto_device(),
                            .random = random_,
                            .doors = doors_,
                            .events = &session_events_},
      config.dataplane.session_cores.front(),
      std::vector<unsigned>(config.dataplane.session_cores.begin() + 1,
                            config.dataplane.session_cores.end()));
  link_ = std::make_unique<ThreadSessionLink>(*session_);
  gateway_ = std::make_unique<gateway::Gateway>(gateway::Gateway::Parts{
      .pages = host_->table_pages(), .epoch = host_->epoch, .doors = doors_, .session = *link_});
  boost::asio::post(helper_, [] { setpriority(PRIO_PROCESS, 0, kHelperNice); });  // this thread's
}

Result<std::unique_ptr<Daemon>, std::vector<std::string>> Daemon::start(
    boost::asio::io_context& io, std::shared_ptr<const config::Config> shared) {
  const config::Config& config = *shared;
  // Before ports are opened: a state that cannot be used is no reason to take them from anybody.
  const bool durable = config.control.durability == config::Durability::Full;
  auto store = durable ? store::Store::open(config.control.state) : store::Store::in_memory();
  if (!store) return fail(Lines{std::move(store.error())});
  auto loaded = store->load();
  if (!loaded) return fail(Lines{std::move(loaded.error())});
  auto host = Host::start(config);
  if (!host) return fail(std::vector<std::string>{std::move(host.error())});
  std::unique_ptr<Daemon> daemon(new Daemon(io, std::move(*host), config));
  daemon->session_->start();
  for (const unsigned cpu : daemon->session_->refused_cpus()) {
    spdlog::warn(
        "dataplane.session_cores: CPU {} was not granted; the session thread runs anywhere", cpu);
  }
  if (auto errors = daemon->begin(std::move(*store), std::move(*loaded), shared); !errors.empty()) {
    return fail(std::move(errors));
  }
  daemon->host_->start_workers();
  daemon->sample_load();
  daemon->drain_events();
  return daemon;
}

Daemon::~Daemon() {
  reader_.join();
  // Workers first: nothing is forwarded by a session thread that has gone.
  host_->stop_workers();
  helper_.join();
  session_->stop();
  if (timestamps_ != nullptr) timestamps_->finish();
}

// Before the workers run, so that the first packet meets the whole state.
Daemon::Lines Daemon::begin(store::Store store, store::Loaded loaded,
                            const std::shared_ptr<const config::Config>& config) {
  Boot boot(store, state_, *gateway_, monotonic_now);
  const bool first = loaded.generation == 0;
  auto applied = complete(std::move(loaded.file), *config);
  if (auto restored = boot.restore(loaded, topology_that_fits(*applied, host_->macs()));
      !restored) {
    return {restored.error()};
  }
  if (!first) {
    spdlog::info("generation {} from {}: {} peers, {} prefixes", loaded.generation,
                 config->control.state, state_.peer_count(), state_.prefix_count());
  }
  const Expired expired = undo_expired(boot, store, state_, loaded.unconfirmed,
                                       entry_of(ourselves(), store::Cause::Unconfirmed));
  for (const std::string& line : expired.undone) spdlog::warn("{}", line);
  for (const std::string& line : expired.errors) spdlog::error("{}", line);
  if (auto errors = apply_file(boot, *applied, *config); errors.empty()) {
    applied = config;
  } else if (first) {
    return errors;
  } else {
    for (const std::string& error : errors) spdlog::error("{}", error);
    spdlog::error(
        "nothing of the file was applied; forwarding goes on with generation {} as it was "
        "stored. Mend the file, then turnpike reload",
        state_.generation());
    observer_.start_refused();
    start_refusal_ = errors.front();
  }
  const store::Entry mark =
      store::Handshakes{.received = {}, .sent_mark = sent_mark(wall_now(), loaded.sent_mark)};
  if (auto written = store.write({&mark, 1}); !written) return {written.error()};
  make_journal(std::move(store));
  timestamps_->restore(loaded);
  timestamps_->start();
  for (const store::Unconfirmed& waiting : loaded.unconfirmed) {
    history_->await(waiting.generation, waiting.within);
  }
  make_reloader(config, std::move(applied));
  return {};
}

Daemon::Lines Daemon::apply_file(Boot& boot, const config::Config& applied,
                                 const config::Config& config) {
  gateway::Adapted adapted = gateway::adapt(gateway::difference(applied, config), state_);
  for (const config::ConfigError& note : adapted.notes) spdlog::warn("{}", config::to_string(note));
  gateway::FileTransaction& file = adapted.transaction;
  file.transaction.comment = "start";
  const auto committed = boot.commit(
      {.transaction = file.transaction,
       .entry = entry_of(ourselves(), store::Cause::File),
       .file = std::make_shared<const store::FileRows>(store::file_rows(applied, config)),
       .topology = gateway::topology_of(config, host_->macs()),
       .settles = {}});
  if (committed) return {};
  if (const auto* why = std::get_if<std::string>(&committed.error())) return {*why};
  Lines lines;
  for (const config::ConfigError& error :
       gateway::errors_of(std::get<state::Refusal>(committed.error()), file, config)) {
    lines.push_back(config::to_string(error));
  }
  return lines;
}

void Daemon::make_journal(store::Store store) {
  journal_ = std::make_unique<store::Journal>(std::move(store), [this](std::function<void()> call) {
    boost::asio::post(io_, [this, call = std::move(call)] {
      call();
      start_polling();
    });
  });
  committer_ = std::make_unique<gateway::Committer>(
      state_, *gateway_,
      [this](auto work, auto done) { offload(std::move(work), std::move(done)); }, monotonic_now,
      journal_.get());
  const auto when_ready = [this](std::function<void()> run) {
    committer_->when_ready(std::move(run));
  };
  history_ = std::make_unique<History>(History::Parts{
      .io = io_,
      .journal = *journal_,
      .generation = [this] { return committer_->generation(); },
      .submit =
          [this](Committer::Request request) {
            committer_->submit(std::move(request));
            start_polling();
          },
      .coming = [this]() -> const std::set<Generation>& { return committer_->to_be_confirmed(); },
      .wall = wall_now,
      .told =
          [this](Committer::Outcome outcome, const store::HistoryEntry& entry, bool dry_run) {
            if (tunnels_changed_ && !dry_run) tunnels_changed_();  // it may have been theirs
            return told(std::move(outcome), entry, dry_run);
          }});
  timestamps_ = std::make_unique<Timestamps>(Timestamps::Parts{.io = io_,
                                                               .session = *session_,
                                                               .journal = *journal_,
                                                               .peers = gateway_->peers(),
                                                               .when_ready = when_ready,
                                                               .wall = wall_now});
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

void Daemon::make_reloader(std::shared_ptr<const config::Config> config,
                           std::shared_ptr<const config::Config> applied) {
  boost::asio::post(reader_, [] { setpriority(PRIO_PROCESS, 0, kHelperNice); });  // this thread's
  const auto on_reader = [this](std::function<void()> work, std::function<void()> done) {
    boost::asio::post(reader_, [this, work = std::move(work), done = std::move(done),
                                guard = boost::asio::make_work_guard(io_)]() mutable {
      work();
      boost::asio::post(io_, std::move(done));
    });
  };
  exports_ = std::make_unique<Exports>(Exports::Parts{
      .started = config,
      .applied = [this] { return reloader_->applied(); },
      .topology = gateway_->topology(),
      .submit =
          [this](Committer::Request request) {
            committer_->submit(std::move(request));
            start_polling();
          },
      .offload = on_reader,
      .keys_given =
          [](const api::Caller& caller) {
            spdlog::info("all keys are exported to uid {} pid {}", caller.uid, caller.pid);
          }});
  reloader_ = std::make_unique<Reloader>(Reloader::Parts{
      .path = config->file,
      .started = config,
      .applied = std::move(applied),
      .macs = host_->macs(),
      .has_session = [this](PeerId peer) { return has_session(peer); },
      .offload = on_reader,
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
  const auto lasts = static_cast<uint64_t>(wireguard::kRejectAfterTime.count());
  const uint64_t last = peer_status(peer).last_handshake.nanoseconds;
  const uint64_t now = session::SessionThread::read_clocks().wall.nanoseconds;
  return last != 0 && (now < last || now - last < lasts);
}

void Daemon::reload(api::FileOptions options, std::function<void(api::FileAnswer)> answer) {
  if (options.commit.dry_run) return reloader_->reload(std::move(options), std::move(answer));
  service_.reload_begins(monotonic_now());
  reloader_->reload(std::move(options), [this, answer = std::move(answer)](api::FileAnswer done) {
    log_reload(done);
    observer_.reloaded(done, wall_now());
    service_.reload_ends(outcome_line(done, committer_->in_force()));
    answer(std::move(done));
  });
}

void Daemon::say_ready() const {
  const std::string generation = std::to_string(committer_->in_force());
  Service::ready(start_refusal_.empty()
                     ? "Started with generation " + generation
                     : "Started with generation " + generation +
                           " as it was stored; nothing of the file was applied: " + start_refusal_);
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

void Daemon::commit(state::Transaction transaction, api::CommitOptions options,
                    std::function<void(api::CommitAnswer)> answer) {
  commit([transaction = std::move(transaction)](
             const state::State&) mutable { return std::move(transaction); },
         false, std::move(options), std::move(answer));
}

void Daemon::commit(MakeTransaction make, bool large, api::CommitOptions options,
                    std::function<void(api::CommitAnswer)> answer) {
  const store::HistoryEntry entry = entry_of(options.caller, store::Cause::Api);
  committer_->submit(
      {.make = std::move(make),
       .large = large,
       .dry_run = options.dry_run,
       .entry = entry,
       .confirm = options.confirm,
       .answer = [this, entry, options, answer = std::move(answer)](Committer::Outcome outcome) {
         await_confirmation(outcome, options);
         answer(told(std::move(outcome), entry, options.dry_run));
       }});
  start_polling();
}

void Daemon::await_confirmation(const Committer::Outcome& outcome,
                                const api::CommitOptions& options) {
  const auto* done = std::get_if<Committer::Done>(&outcome);
  if (done == nullptr || !done->changed || options.dry_run || !options.confirm) return;
  history_->await(done->generation, *options.confirm);
}

void Daemon::history(std::function<void(api::HistoryAnswer)> answer) {
  history_->list(std::move(answer));
}

void Daemon::rollback(Generation generation, api::ChangeRequest request,
                      std::function<void(api::RollbackAnswer)> answer) {
  history_->roll_back(generation, std::move(request), std::move(answer));
}

void Daemon::confirm(std::optional<Generation> generation,
                     std::function<void(api::ConfirmAnswer)> answer) {
  history_->confirm(generation, std::move(answer));
}

void Daemon::commit_file(FileCommit file, const api::CommitOptions& options,
                         std::function<void(api::CommitAnswer)> answer) {
  const store::HistoryEntry entry = entry_of(options.caller, store::Cause::File);
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
       .entry = entry,
       .file = std::move(file.rows),
       .confirm = options.confirm,
       .answer =
           [this, entry, options, answer = std::move(answer)](Committer::Outcome outcome) {
             const auto* done = std::get_if<Committer::Done>(&outcome);
             if (done != nullptr && done->changed && !options.dry_run && tunnels_changed_) {
               tunnels_changed_();
             }
             await_confirmation(outcome, options);
             answer(told(std::move(outcome), entry, options.dry_run));
           }});
  start_polling();
}

// Logs, counts and tells how a commit ended; the outcome in the API's words.
api::CommitAnswer Daemon::told(Committer::Outcome outcome, const store::HistoryEntry& entry,
                               bool dry_run) {
  if (!dry_run) {
    const api::Caller caller{.uid = entry.uid, .gid = 0, .pid = static_cast<pid_t>(entry.pid)};
    if (const auto* done = std::get_if<Committer::Done>(&outcome)) {
      if (done->changed) {
        if (failures_.end()) spdlog::info("transactions work again");
        log_commit(*done, entry);
        observer_.committed(*done, caller, wall_now());
        if (entry.cause == store::Cause::Rollback || entry.cause == store::Cause::Unconfirmed) {
          observer_.rolled_back(done->generation, store::to_string(entry.cause), wall_now());
        }
      }
    } else if (const auto* refusal = std::get_if<state::Refusal>(&outcome)) {
      observer_.refused(*refusal, caller, wall_now());
    } else {
      const std::string& what = std::get<Committer::Failure>(outcome).what;
      if (failures_.begin(what)) {
        spdlog::error("{}; forwarding goes on with generation {}", what, committer_->in_force());
      }
      observer_.failed(what, caller, wall_now());
    }
  }
  return answer_of(std::move(outcome));
}

void Daemon::drain_events() {
  if (committer_->ready()) {
    observer_.drain(
        session_events_,
        [this](PeerRef ref) {
          const auto id = gateway_->peers().id_of(ref.index);
          if (!id || gateway_->peers().find(*id) != ref) return std::string();
          const uint32_t slot = state_.find_peer(*id);
          return slot == state::kNoSlot ? std::string() : state::label(state_.peer(slot));
        },
        [this](TunnelIndex tunnel) {
          return tunnel < state_.tunnels().size() ? state_.tunnel(tunnel).name : std::string();
        });
  }
  event_timer_.expires_after(kDrainEvery);
  event_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) drain_events();
  });
}

PublicKey Daemon::public_key(const PrivateKey& key) const { return crypto::public_key(key); }

}  // namespace turnpike::daemon

// turnpiked: reads the configuration, starts the data plane, serves the control sockets, and stops cleanly
// on SIGTERM or SIGINT.
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <filesystem>
#include <memory>
#include <set>

#include "config/load.h"
#include "control/api/http_server.h"
#include "control/api/metrics_server.h"
#include "control/api/wg_server.h"
#include "control/daemon/daemon.h"
#include "control/daemon/environment.h"
#include "control/daemon/log.h"
#include "control/daemon/service.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::daemon {
namespace {

// A program that tests linked with other lives of keys than the paper's must not be taken for the gateway.
std::string version() {
  std::string text = TURNPIKE_VERSION;
  if (wireguard::kRekeyAfterTime == wireguard::kPapersRekeyAfterTime) return text;
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(wireguard::kRekeyAfterTime);
  return text + ", for tests only: keys are renewed when they are " + std::to_string(age.count()) +
         " s old";
}

int fail_with(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) spdlog::error("{}", line);
  if (!lines.empty()) Service::failed(lines.front());
  return 1;
}

// "ipsec-mb, 19.3 Gbit/s a core (libsodium 9.1)"
std::string speeds_of(const Host& host) {
  std::string text;
  for (const crypto::AeadSpeed& speed : host.aead_speeds()) {
    const double gbits = speed.bits_per_second / 1e9;
    const std::string_view name = to_string(speed.backend);
    text += text.empty() ? fmt::format("{}, {:.1f} Gbit/s a core", name, gbits)
                         : fmt::format(" ({} {:.1f})", name, gbits);
  }
  return text;
}

// A socket of wg(8) for each tunnel that there is, and for no other.
class WgSockets {
 public:
  WgSockets(boost::asio::io_context& io, Daemon& daemon, const std::string& directory)
      : server_(io, daemon, directory), daemon_(daemon), wanted_(!directory.empty()) {}

  // The error is one line; the sockets that could be opened are.
  Result<void, std::string> follow() {
    std::set<std::string> present;
    Result<void, std::string> outcome;
    for (const state::Tunnel& tunnel : daemon_.state().tunnels()) {
      if (tunnel.index != kNoTunnel && wanted_) present.insert(tunnel.name);
    }
    for (const std::string& name : open_) {
      if (!present.contains(name)) server_.remove(name);
    }
    std::erase_if(open_, [&](const std::string& name) { return !present.contains(name); });
    for (const std::string& name : present) {
      if (open_.contains(name)) continue;
      if (auto added = server_.add(name); !added) {
        outcome = fail("control.wg_socket_dir: " + added.error());
      } else {
        open_.insert(name);
      }
    }
    return outcome;
  }

 private:
  api::WgServer server_;
  Daemon& daemon_;
  bool wanted_;
  std::set<std::string> open_;
};

// SIGHUP asks for what `turnpike reload` asks for; its outcome is in the log.
void reload_on_signal(boost::asio::signal_set& hangups, Daemon& daemon) {
  hangups.async_wait([&](const boost::system::error_code& error, int) {
    if (error) return;
    spdlog::info("SIGHUP: reading the configuration");
    api::FileOptions options;
    options.commit.caller = {.uid = geteuid(), .gid = getegid(), .pid = getpid()};
    options.comment = "SIGHUP";
    daemon.reload(std::move(options), [](const api::FileAnswer&) {});
    reload_on_signal(hangups, daemon);
  });
}

int run(const std::string& file) {
  if (version() != TURNPIKE_VERSION) spdlog::warn("version {}", version());
  auto loaded = config::load_config(file, crypto::public_key);
  if (!loaded) {
    std::vector<std::string> lines;
    for (const config::ConfigError& error : loaded.error())
      lines.push_back(config::to_string(error));
    return fail_with(lines);
  }
  const auto config = std::make_shared<const config::Config>(std::move(*loaded));
  for (const config::ConfigError& warning : config->warnings) {
    spdlog::warn("{}", config::to_string(warning));
  }
  if (auto files = check_open_files(*config); !files) return fail_with({files.error()});
  if (auto ready = prepare_directories(config->control); !ready) return fail_with({ready.error()});
  const auto rule = access_rule(config->control);
  if (!rule) return fail_with({rule.error()});

  const auto lock = InstanceLock::take(config->control);
  if (!lock) return fail_with({lock.error()});

  // Sockets break while we write to them: clients of the API, and the other ends of vhost-user and memif ports,
  // to which DPDK's drivers write without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  boost::asio::io_context io(1);
  // From here on a signal waits until start-up is over, so that nothing is left behind half made.
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& error, int signal) {
    if (error) return;
    const std::string why = signal == SIGTERM ? "SIGTERM" : "SIGINT";
    spdlog::info("{}: stopping", why);
    Service::stopping("Stopping after " + why);
    io.stop();
  });
  boost::asio::signal_set hangups(io, SIGHUP);
  auto daemon = Daemon::start(io, config);
  if (!daemon) return fail_with(daemon.error());
  auto http = api::HttpServer::start(io, **daemon, config->control.socket, *rule);
  if (!http) return fail_with({"control.socket: " + http.error()});
  WgSockets wg(io, **daemon, config->control.wg_socket_dir);
  if (auto opened = wg.follow(); !opened) return fail_with({opened.error()});
  (*daemon)->on_tunnels_changed([&wg] {
    if (auto opened = wg.follow(); !opened) spdlog::error("{}", opened.error());
  });
  reload_on_signal(hangups, **daemon);
  std::unique_ptr<api::MetricsServer> metrics;
  if (config->control.metrics) {
    auto served = api::MetricsServer::start(io, **daemon, *config->control.metrics);
    if (!served) return fail_with({"control.metrics: " + served.error()});
    metrics = std::move(*served);
  }

  if (config->dataplane.idle == config::IdlePolicy::Adaptive) {
    (*daemon)->host().tell_how_workers_sleep();
  }
  spdlog::info("ready: {} workers, {} ports, {} tunnels, {} peers; AEAD by {}; control at {}",
               config->dataplane.workers.size(), config->ports.size(), config->tunnels.size(),
               (*daemon)->state().peer_count(), speeds_of((*daemon)->host()),
               config->control.socket);
  (*daemon)->say_ready();
  io.run();
  return 0;
}

}  // namespace
}  // namespace turnpike::daemon

int main(int argc, char** argv) {
  CLI::App app("the daemon of the Turnpike WireGuard gateway", "turnpiked");
  app.footer("Example: turnpiked --config /etc/turnpike/turnpike.yaml");
  std::string file;
  bool verbose = false;
  app.add_option("--config", file, "the YAML configuration")->required()->type_name("FILE");
  app.add_flag("--verbose", verbose, "log details too, those of DPDK among them");
  app.set_version_flag("--version", turnpike::daemon::version());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    constexpr int kUsage = 2;
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  turnpike::daemon::start_log();
  if (verbose) spdlog::set_level(spdlog::level::debug);
  return turnpike::daemon::run(file);
}

// turnpiked: reads the configuration, starts the data plane, serves the control sockets, and stops cleanly
// on SIGTERM or SIGINT.
#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "config/load.h"
#include "control/api/http_server.h"
#include "control/api/wg_server.h"
#include "control/daemon/daemon.h"
#include "control/daemon/environment.h"
#include "control/daemon/log.h"

namespace turnpike::daemon {
namespace {

int fail_with(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) spdlog::error("{}", line);
  return 1;
}

int run(const std::string& file) {
  const auto config = config::load_config(file);
  if (!config) {
    std::vector<std::string> lines;
    for (const config::ConfigError& error : config.error())
      lines.push_back(config::to_string(error));
    return fail_with(lines);
  }
  for (const config::ConfigError& warning : config->warnings) {
    spdlog::warn("{}", config::to_string(warning));
  }
  if (config->dataplane.session_cores.size() > 1) {
    spdlog::warn("dataplane.session_cores: only the first, CPU {}, is used by this version",
                 config->dataplane.session_cores.front());
  }
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
    spdlog::info("{}: stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    notify_systemd("STOPPING=1");
    io.stop();
  });
  auto daemon = Daemon::start(io, *config);
  if (!daemon) return fail_with(daemon.error());
  auto http = api::HttpServer::start(io, **daemon, config->control.socket, *rule);
  if (!http) return fail_with({"control.socket: " + http.error()});
  api::WgServer wg(io, **daemon, config->control.wg_socket_dir);
  if (!config->control.wg_socket_dir.empty()) {
    for (const config::Tunnel& tunnel : config->tunnels) {
      if (auto added = wg.add(tunnel.name); !added)
        return fail_with({"control.wg_socket_dir: " + added.error()});
    }
  }

  spdlog::info("ready: {} workers, {} ports, {} tunnels, {} peers; AEAD by {}; control at {}",
               config->dataplane.workers.size(), config->ports.size(), config->tunnels.size(),
               (*daemon)->state().peer_count(), (*daemon)->host().aead_name(),
               config->control.socket);
  notify_systemd("READY=1");
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
  app.set_version_flag("--version", TURNPIKE_VERSION);
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

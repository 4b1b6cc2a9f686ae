#include "control/daemon/log.h"

#include <spdlog/sinks/ansicolor_sink.h>
#include <stdlib.h>

#include "dataplane/io/log.h"

namespace turnpike::daemon {

void start_log() {
  auto logger = std::make_shared<spdlog::logger>(
      "turnpiked", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>());
  logger->set_pattern(getenv("JOURNAL_STREAM") != nullptr ? "%l: %v"
                                                          : "%Y-%m-%d %H:%M:%S.%e %^%l%$: %v");
  spdlog::set_default_logger(std::move(logger));
  spdlog::flush_on(spdlog::level::info);
  io::install_log_sink([](io::LogLevel level, std::string_view line) {
    // DPDK says "error" also of what it then does without; what fails for good comes back as the one
    // error line of the call. So its lines are details.
    const auto as = level == io::LogLevel::Debug ? spdlog::level::trace : spdlog::level::debug;
    spdlog::log(as, "dpdk: {}", line);
  });
}

}  // namespace turnpike::daemon

#include "control/daemon/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "dataplane/io/log.h"

namespace turnpike::daemon {
namespace {

// Whether what we write to stderr goes to systemd's journal, and not only to that of somebody who started us with
// stderr elsewhere: systemd.exec(5), JOURNAL_STREAM.
bool is_the_journal() {
  const char* stream = getenv("JOURNAL_STREAM");
  struct stat status{};
  return stream != nullptr && fstat(STDERR_FILENO, &status) == 0 &&
         stream == std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

// The journal's priority of a line, sd-daemon(3): without it, journalctl -p takes an error for news.
class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& line) override {
    const char* prefix = message.level >= spdlog::level::err    ? SD_ERR
                         : message.level == spdlog::level::warn ? SD_WARNING
                         : message.level == spdlog::level::info ? SD_INFO
                                                                : SD_DEBUG;
    line.append(std::string_view(prefix));
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

}  // namespace

void start_log() {
  auto logger = std::make_shared<spdlog::logger>(
      "turnpiked", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Priority>('*').set_pattern(
      is_the_journal() ? "%*%l: %v" : "%Y-%m-%d %H:%M:%S.%e %^%l%$: %v");
  logger->set_formatter(std::move(formatter));
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

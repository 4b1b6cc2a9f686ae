#include "dataplane/io/log.h"

#include <rte_log.h>
#include <stdio.h>

#include <mutex>
#include <utility>

namespace turnpike::io {
namespace {

// What DPDK writes, until the end of a line. One for the process, as DPDK's log stream is.
struct Stream {
  std::mutex mutex;
  LogSink sink;
  std::string partial;
  std::string errors;
};

Stream& stream() {
  static Stream the_stream;
  return the_stream;
}

constexpr size_t kErrorsBytesMax = 600;

LogLevel level_of(int dpdk_level) {
  if (dpdk_level <= 0) return LogLevel::Info;
  if (dpdk_level <= static_cast<int>(RTE_LOG_ERR)) return LogLevel::Error;
  if (dpdk_level == static_cast<int>(RTE_LOG_WARNING)) return LogLevel::Warning;
  if (dpdk_level <= static_cast<int>(RTE_LOG_INFO)) return LogLevel::Info;
  return LogLevel::Debug;
}

ssize_t write_log(void*, const char* text, size_t bytes) {
  Stream& log = stream();
  const LogLevel level = level_of(rte_log_cur_msg_loglevel());
  const std::scoped_lock lock(log.mutex);
  log.partial.append(text, bytes);
  size_t end;
  while ((end = log.partial.find('\n')) != std::string::npos) {
    const std::string line = log.partial.substr(0, end);
    log.partial.erase(0, end + 1);
    if (line.empty()) continue;
    if (level == LogLevel::Error && log.errors.size() + line.size() < kErrorsBytesMax) {
      if (!log.errors.empty()) log.errors += "; ";
      log.errors += line;
    }
    if (log.sink) log.sink(level, line);
  }
  return static_cast<ssize_t>(bytes);
}

}  // namespace

void install_log_sink(LogSink sink) {
  {
    const std::scoped_lock lock(stream().mutex);
    stream().sink = std::move(sink);
  }
  cookie_io_functions_t functions{};
  functions.write = write_log;
  FILE* file = fopencookie(nullptr, "w", functions);
  if (file == nullptr) return;  // DPDK then writes to stderr itself
  setvbuf(file, nullptr, _IOLBF, 0);
  rte_openlog_stream(file);
}

std::string take_last_errors() {
  const std::scoped_lock lock(stream().mutex);
  return std::exchange(stream().errors, {});
}

}  // namespace turnpike::io

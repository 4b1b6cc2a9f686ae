// DPDK's log lines, handed to whoever logs for the process, and the last error kept for the one clear line
// that a failed start prints.
//   Threads: DPDK may log from any thread; the sink must stand that. Install before the EAL starts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace turnpike::io {

enum class LogLevel : uint8_t { Error, Warning, Info, Debug };

using LogSink = std::function<void(LogLevel, std::string_view line)>;

void install_log_sink(LogSink sink);

// The last lines that DPDK logged as errors since the previous call, joined by "; ". Empty when none.
[[nodiscard]] std::string take_last_errors();

}  // namespace turnpike::io

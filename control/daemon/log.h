// The daemon's log: one line an event on stderr. Never a key, never a packet.
//   Threads: any.
#pragma once

#include <spdlog/spdlog.h>

namespace turnpike::daemon {

// Time stamps, or for systemd's journal, which adds its own, priorities; colours only on a terminal.
void start_log();

}  // namespace turnpike::daemon

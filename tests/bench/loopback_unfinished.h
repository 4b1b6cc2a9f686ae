// Frames as a virtual machine sends them, whose checksums are left to the port at the other end of the cable.
#pragma once

#include <cstddef>

#include "tests/bench/loopback_sessions.h"

namespace turnpike::bench {

// How many came out at the other side, of `sent` each.
struct UnfinishedResult {
  size_t sent = 0;
  size_t tcp = 0, udp = 0;  // out of messages, with a checksum that is right
  size_t wrong = 0;  // out of messages, with another
  size_t messages = 0;  // plain packets of messages whose outer checksum was unfinished
};

[[nodiscard]] UnfinishedResult send_unfinished(Link& link, Sessions& sessions);

}  // namespace turnpike::bench

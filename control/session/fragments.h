// Fragmentation of IPv4 packets on their way (RFC 791, 3.2; RFC 1812, 5.2.6).
//   Threads: pure function, any thread.
#pragma once

#include <functional>

#include "control/session/frames.h"

namespace turnpike::session {

// Calls `visit` with each fragment, in order; none is longer than `mtu_bytes`. False: the packet is none that can be
// fragmented so, and nothing was called. A fragment may be fragmented again.
bool for_each_fragment(Bytes packet, size_t mtu_bytes, const std::function<void(Bytes)>& visit);

}  // namespace turnpike::session

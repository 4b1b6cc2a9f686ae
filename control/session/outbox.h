// What the session thread gives to workers to send: the inject ring of each, and its doorbell.
//   Threads: the session thread produces.
//   Bounds:  a full ring, and what is longer than its slots, drops and counts (InjectRingFull).
#pragma once

#include <span>
#include <vector>

#include "control/session/frames.h"
#include "dataplane/publish/counters.h"
#include "dataplane/publish/door.h"

namespace turnpike::session {

class Outbox {
 public:
  Outbox(std::span<publish::Door* const> doors, publish::Counters& counters);

  // `header` and `packet` together are the frame.
  void frame(WorkerIndex worker, PortIndex port,
             std::span<const uint8_t, kEthernetHeaderBytes> header, Bytes packet) noexcept;
  bool inner_packet(WorkerIndex worker, TunnelIndex tunnel, Bytes packet) noexcept;
  bool keepalive(WorkerIndex worker, TunnelIndex tunnel, PeerRef peer) noexcept;

 private:
  bool push(WorkerIndex worker, const publish::InjectHeader& header, Bytes first,
            Bytes second) noexcept;

  std::vector<publish::Door*> doors_;
  publish::Counters& counters_;
};

}  // namespace turnpike::session

// The packet path of one worker: bursts in, bursts out, in stages over arrays (design: the packet path).
//   outbound: parse -> look-up of destinations -> group by peer -> reserve nonces -> encapsulate -> seal ->
//             UDP/IP headers -> tx
//   inbound:  parse -> keypair by receiver index -> open -> replay window, times -> look-up of inner
//             sources -> strip -> deliver (own address, another peer, next hop inside)
//   Threads:   one object for each worker, used by its owner only.
//   Ownership: what it refers to outlives it. Packets stay io's; every one that comes in ends in `output`.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "dataplane/base/time.h"
#include "dataplane/crypto/aead.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/publish/door.h"
#include "dataplane/publish/neighbours.h"
#include "dataplane/publish/peer_slots.h"
#include "dataplane/wireguard/keypair_arena.h"

namespace turnpike::pipeline {

struct StageCycles;

struct Shared {
  publish::PeerSlots& peers;
  const wireguard::KeypairArena& keypairs;
  publish::NeighbourTable& neighbours;
  std::array<PortOffloads, kMaxPorts> offloads{};
};

class Pipeline {
 public:
  Pipeline(const Shared& shared, publish::Door& door, crypto::Aead& aead) noexcept;
  ~Pipeline();

  // One burst of frames received on `port`, at most kBurstMax. The snapshot is the one of this turn's
  // begin_burst().
  void receive(const publish::Snapshot& snapshot, Instant now, PortIndex port,
               std::span<Packet> burst, Output& output) noexcept;

  // How many blank packets inject() wants now, at most kBurstMax; 0 when nothing waits.
  [[nodiscard]] size_t injections_waiting() const noexcept;
  // Takes up to `blanks.size()` entries out of the inject ring into blank packets (data at the start of
  // the room, length 0, headroom for all headers) and sends them on their way. Blanks that were not needed
  // are finished.
  void inject(const publish::Snapshot& snapshot, Instant now, std::span<Packet> blanks,
              Output& output) noexcept;

  // Adds up cycles by stage from now on, or no more (nullptr). For benchmarks.
  void measure(StageCycles* stages) noexcept;

  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace turnpike::pipeline

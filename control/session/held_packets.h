// Copies of inner packets that wait for a handshake, in the order in which they came, for each peer.
//   Threads: the session thread.
//   Bounds:  kMaxHeldPerPeer for a peer (the oldest goes: HeldQueueFull), kMaxHeld in all (the new one is
//            not taken: HeldTotalFull); a packet is at most kMaxFrameBytes.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "control/session/frames.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"
#include "dataplane/publish/drop_reason.h"

namespace turnpike::session {

class HeldPackets {
 public:
  // Keeps a copy. What had to be dropped for it, this packet or the oldest of the peer; at most one.
  [[nodiscard]] std::optional<DropReason> hold(PeerIndex peer, Bytes packet) {
    std::optional<DropReason> dropped;
    if (count(peer) >= kMaxHeldPerPeer) {
      queues_[peer].pop_front();
      --total_;
      dropped = DropReason::HeldQueueFull;
    } else if (total_ >= kMaxHeld) {
      return DropReason::HeldTotalFull;
    }
    queues_[peer].emplace_back(packet.begin(), packet.end());
    ++total_;
    return dropped;
  }

  // Hands out all packets of the peer, oldest first.
  [[nodiscard]] std::deque<Packet> take(PeerIndex peer) {
    const auto found = queues_.find(peer);
    if (found == queues_.end()) return {};
    std::deque<Packet> packets = std::move(found->second);
    queues_.erase(found);
    total_ -= packets.size();
    return packets;
  }

  [[nodiscard]] size_t count(PeerIndex peer) const noexcept {
    const auto found = queues_.find(peer);
    return found == queues_.end() ? 0 : found->second.size();
  }
  [[nodiscard]] size_t total() const noexcept { return total_; }

 private:
  std::unordered_map<PeerIndex, std::deque<Packet>> queues_;  // no empty queue stays
  size_t total_ = 0;
};

}  // namespace turnpike::session

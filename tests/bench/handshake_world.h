// One gateway's session core with many peers behind one router, and those peers as plain calls of the protocol's
// functions: what comes out of the gateway is answered outside of the measured time.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "control/session/computing_thread.h"
#include "dataplane/crypto/system_random.h"
#include "tests/unit/session/gateway.h"

namespace turnpike::bench {

// A datagram on its way between the gateway and a peer.
struct Datagram {
  uint32_t peer = 0;
  std::vector<uint8_t> bytes;
};

// The other end of each session: an identity of its own for each peer.
class FarPeer {
 public:
  FarPeer(const PublicKey& gateway, RandomSource& random);

  [[nodiscard]] const PublicKey& public_key() const noexcept { return identity_.public_key; }
  [[nodiscard]] bool has_session() const noexcept { return has_session_; }
  void forget_session() noexcept { has_session_ = false; }

  [[nodiscard]] std::vector<uint8_t> initiate(const Now& now, RandomSource& random);
  // What it has to say to what came from the gateway; nothing: empty. A response ends its handshake.
  [[nodiscard]] std::vector<uint8_t> receive(std::span<const uint8_t> datagram, const Now& now,
                                             RandomSource& random);

 private:
  wireguard::StaticIdentity identity_;
  wireguard::PeerHandshake gateway_;
  bool has_session_ = false;
};

class HandshakeWorld {
 public:
  // `threads`: session threads; the caller's is the first.
  explicit HandshakeWorld(uint32_t peers, size_t threads = 1);

  [[nodiscard]] uint32_t peers() const noexcept { return static_cast<uint32_t>(far_.size()); }
  [[nodiscard]] FarPeer& far(uint32_t peer) noexcept { return far_[peer]; }
  [[nodiscard]] Now now() const noexcept { return clock_.now; }
  [[nodiscard]] RandomSource& random() noexcept { return random_; }
  void advance(Duration by) { clock_.advance(by); }

  [[nodiscard]] bool ring_has_room() { return gateway_.doors[0]->punt.try_begin() != nullptr; }
  // As a worker does. False: the ring is full.
  bool punt_datagram(const Datagram& datagram);
  void punt_needs_handshake(uint32_t peer);
  // Measured: turns until nothing is left to do, or one.
  void turns();
  size_t turn() { return gateway_.session->turn(gateway_.snapshot, clock_.now); }
  // What the session gave to the worker since the last call; data is counted, not returned.
  [[nodiscard]] std::vector<Datagram> take_sent();
  [[nodiscard]] uint64_t data_sent() const noexcept { return data_sent_; }
  [[nodiscard]] uint64_t drops(DropReason reason) const { return gateway_.drops(reason); }

 private:
  void answer_arp();
  [[nodiscard]] Endpoint endpoint_of(uint32_t peer) const noexcept;

  session::testing::Clock clock_;
  crypto::SystemRandom random_;
  session::testing::Gateway gateway_;
  std::deque<FarPeer> far_;
  uint64_t data_sent_ = 0;
  std::deque<session::ComputingThread> computing_;  // last: they end before what they look at
};

}  // namespace turnpike::bench

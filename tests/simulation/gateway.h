// One gateway in memory: the real session core, worker pipelines, tables and tries; its control thread is
// the test, its ports are the world's wires.
//   Port 0 is outside (192.0.2.0/24, 2001:db8::/64), port 1 inside (10.N.0.0/24, fd00:N::/64), N its number.
//   Threads: one. What other threads do at the same time in the daemon is let run in the middle of
//            bursts, as the seed says.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "control/session/session.h"
#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/publish/door.h"
#include "dataplane/publish/retirement.h"
#include "tests/simulation/packets.h"
#include "tests/simulation/recording_aead.h"
#include "tests/support/sim_random.h"

namespace turnpike::sim {

inline constexpr PortIndex kOutside = 0;
inline constexpr PortIndex kInside = 1;
inline constexpr TunnelIndex kTunnel = 0;
inline constexpr uint16_t kListenPort = 51'820;

struct GatewaySettings {
  GatewayNumber number = 0;
  PrivateKey private_key;
  IpAddress outside_v4;
  IpAddress outside_v6;
  size_t workers = 2;
  size_t session_threads = 1;
  double interleave = 0.3;  // how often each other thread has a turn in the middle of a burst
};

// A peer as control knows it; it outlives a restart.
struct PeerSpec {
  PublicKey public_key;
  PresharedKey preshared_key;
  std::optional<Endpoint> endpoint;
  std::vector<Prefix> allowed;
  uint16_t persistent_keepalive_seconds = 0;
  WallTime last_sent;  // durable
  wireguard::Tai64n latest_received;  // durable
};

class Gateway {
 public:
  using Transmit = std::function<void(PortIndex, Bytes)>;

  Gateway(const GatewaySettings& settings, Ledger& ledger, uint64_t seed, Instant now,
          Transmit transmit);
  ~Gateway();

  // Control.
  PeerRef add_peer(const PeerSpec& spec);
  void remove_peer(PeerRef peer);
  void give(PeerRef peer, const std::vector<Prefix>& prefixes);  // one snapshot, whoever had them
  void set_outside_addresses(const IpAddress& v4, const IpAddress& v6);
  [[nodiscard]] session::Session& session() noexcept { return *session_; }

  // The world.
  void receive(PortIndex port, size_t worker, Frame frame);
  void run(const Now& now);  // all threads, until each has nothing more to do
  [[nodiscard]] Instant next_deadline() const noexcept {
    const Instant next = session_->next_deadline();
    return computing_from_.is_never() ? next : std::min(next, computing_from_);
  }

  // For looking at.
  [[nodiscard]] const MacAddress& mac(PortIndex port) const noexcept { return macs_[port]; }
  [[nodiscard]] const std::vector<IpAddress>& addresses(PortIndex port) const noexcept {
    return addresses_[port];
  }
  [[nodiscard]] publish::PeerSlot& slot(PeerRef peer) noexcept { return slots_[peer.index]; }
  [[nodiscard]] Incarnation incarnation(PeerRef peer) const noexcept {
    return slots_.incarnation(peer.index);
  }
  [[nodiscard]] uint64_t drops(DropReason reason) const;
  [[nodiscard]] uint64_t handshakes_completed() const noexcept { return handshakes_; }
  // Sentences about packets that are neither out, nor dropped and counted, nor held.
  [[nodiscard]] std::vector<std::string> unaccounted() const;
  [[nodiscard]] std::string drops_text() const;
  void note_delivered() noexcept { ++delivered_; }
  // Peers reach each other through it: what is opened may be sealed again.
  void note_hub() noexcept { forwards_ = true; }
  void note_error_delivered() noexcept { ++errors_delivered_; }  // of another gateway
  [[nodiscard]] size_t snapshots_waiting() const noexcept { return retired_.size(); }

 private:
  struct Routes;
  struct State;
  struct Worker;

  [[nodiscard]] std::shared_ptr<const Routes> make_routes(PortIndex port) const;
  void commit(std::span<const lookup::Edit> v4, std::span<const lookup::Edit> v6);
  void collect();
  void meanwhile();
  bool compute();
  bool work(Worker& worker);
  void receive_burst(Worker& worker, PortIndex port);
  void inject_burst(Worker& worker, size_t count);
  void flush(Worker& worker, std::span<const pipeline::Packet> came);
  [[nodiscard]] uint64_t worker_drops(DropReason reason) const;

  GatewaySettings settings_;
  Ledger& ledger_;
  Random random_;
  Transmit transmit_;
  Now now_;

  SystemPages pages_;
  publish::Epoch epoch_;
  publish::PeerSlots slots_;
  wireguard::KeypairArena keypairs_;
  publish::NeighbourTable neighbours_;
  lookup::WriterV4 allowed_v4_;
  lookup::WriterV6 allowed_v6_;
  std::array<MacAddress, 2> macs_;
  std::array<std::vector<IpAddress>, 2> addresses_;
  std::array<std::shared_ptr<const Routes>, 2> routes_;
  std::shared_ptr<const Routes> no_routes_;

  std::unique_ptr<State> state_;
  publish::Retirement<std::unique_ptr<State>> retired_;
  publish::Retirement<PeerIndex> retired_slots_;
  std::vector<PeerIndex> free_slots_;
  std::vector<Incarnation> incarnations_;
  std::map<PeerIndex, std::vector<Prefix>> prefixes_;
  Generation generation_ = 0;

  publish::EpochReader& session_reader_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<session::ComputationRing>> computing_;  // of further session threads
  Instant computing_from_;  // they have something else to do until then
  std::unique_ptr<session::Session> session_;

  uint64_t data_arrived_ = 0;  // data messages that came in outside
  uint64_t inner_arrived_ = 0;  // packets of hosts that came in inside
  uint64_t delivered_ = 0;
  bool forwards_ = false;
  uint64_t errors_delivered_ = 0;
  uint64_t handshakes_ = 0;
  std::map<PeerIndex, uint64_t> handshake_seen_;  // last_handshake_wall
  std::vector<std::string> faults_;
};

}  // namespace turnpike::sim

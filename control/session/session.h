// The session thread's work without the thread: handshakes, timers, held packets, endpoints, neighbours and
// echo. Neither clock nor socket inside; time, randomness and the snapshot come in.
//   session.cpp             one turn: what workers punted, timers, what is to be retired
//   session_peers.cpp       commands of control
//   session_handshakes.cpp  initiation -> response -> keypair -> confirmed
//   session_computations.cpp  what of that takes long, and where it is worked out
//   session_endpoints.cpp   where a peer is, and the first hop on the way to it
//   session_timers.cpp      acts on what wireguard/timers.h decides
//   session_errors.cpp      ICMP errors and fragments for packets that cannot go on as they are
//   Threads:   one owner; commands and turn() alike. Between turns the snapshot is not held.
//   Ownership: what SessionParts names outlives it.
//   Bounds:    a turn takes at most kPuntsPerTurn entries (under load, kPuntsPerTurnUnderLoad) of each ring and kTimersPerTurn timers of each kind.
//              A command does its work on keys at once; what needs the snapshot happens in the next turn.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "control/session/admission.h"
#include "control/session/backlog.h"
#include "control/session/computation_ring.h"
#include "control/session/events.h"
#include "control/session/held_packets.h"
#include "control/session/icmp.h"
#include "control/session/icmp_errors.h"
#include "control/session/keypair_store.h"
#include "control/session/neighbour_resolver.h"
#include "control/session/outbox.h"
#include "control/session/peer.h"
#include "control/session/timing_wheel.h"
#include "dataplane/publish/door.h"

namespace turnpike::session {

inline constexpr size_t kPuntsPerTurn = 64;
// Under load, when initiations are only judged and put into the backlog, of which so many are answered.
inline constexpr size_t kPuntsPerTurnUnderLoad = 512;
inline constexpr size_t kBacklogPerTurn = 32;
// Computations that stay on the session thread though there are others: those of one handshake.
inline constexpr size_t kKeptPerTurn = 2;
inline constexpr size_t kTimersPerTurn = 256;
inline constexpr size_t kReroutesPerTurn = 256;
inline constexpr size_t kRetiredPerTurn = 256;
inline constexpr uint32_t kEchoesPerSecond = 1'000;
inline constexpr uint32_t kEchoBurst = 250;

struct SessionParts {
  publish::PeerSlots& peers;
  wireguard::KeypairArena& keypairs;
  publish::NeighbourTable& neighbours;
  publish::Epoch& epoch;
  crypto::AeadKeys* aead_keys = nullptr;  // of the workers' AEAD, where it has to know
  RandomSource& random;
  std::span<publish::Door* const> doors;  // of all workers; the index is the WorkerIndex
  EventQueue* events = nullptr;  // where events go, if anywhere
  std::span<ComputationRing* const> computing = {};  // one for each further session thread
  size_t kept_per_turn = kKeptPerTurn;
};

class Session {
 public:
  Session(const SessionParts& parts, Instant now);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Returns how much was done; 0: nothing waits.
  size_t turn(const publish::Snapshot& snapshot, const Now& now);
  // Nothing is due before it, unless workers punt or control commands.
  [[nodiscard]] Instant next_deadline() const noexcept;

  // Commands. A tunnel's key before its peers; a zero key is none. A changed key renews all its sessions.
  void set_tunnel(TunnelIndex tunnel, const PrivateKey& key);
  void remove_tunnel(TunnelIndex tunnel);  // after its peers
  // From the return on workers may be given a snapshot that names the peer. The slot is free. Who has the
  // public key already is about to be removed, when workers have let go of it: handshakes are the new peer's.
  void add_peer(const PeerSettings& settings);
  // A new preshared key renews the session; a new endpoint takes the place of what was learned. Of an old
  // incarnation: nothing happens.
  void set_peer(PeerRef ref, const PeerChange& change);
  // Workers have let go of the peer already (their snapshot no longer names it).
  void remove_peer(PeerRef ref);
  // The routes or addresses of some port are others, although no pointer to them changed.
  void routes_changed() noexcept { all_routes_stale_ = true; }

  // What must outlive a restart. No initiation of ours is ever dated before `floor`, whatever the clock says, and none
  // of a peer's is taken that is not later than the newest that the last run saw.
  void set_sent_floor(WallTime floor) noexcept;
  void restore_received(PeerRef ref, const wireguard::Tai64n& latest) noexcept;
  [[nodiscard]] WallTime newest_sent() const noexcept { return newest_sent_; }
  // Of peers whose newest initiation changed since the last call.
  struct Received {
    PeerRef peer;
    wireguard::Tai64n latest;
  };
  [[nodiscard]] std::vector<Received> take_received();

  [[nodiscard]] std::optional<PeerStatus> status(PeerIndex peer) const;
  [[nodiscard]] const publish::Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] size_t keypairs_in_use() const noexcept { return keypairs_.in_use(); }
  // Sessions that came up or were renewed. Any thread.
  [[nodiscard]] uint64_t handshakes_done() const noexcept { return handshakes_done_.value(); }
  // Computations that went to other threads. Any thread.
  [[nodiscard]] uint64_t handed_over() const noexcept { return handed_over_.value(); }
  // Those of them that have not come back. Their end is seen by the next turn only.
  [[nodiscard]] size_t computing() const noexcept;
  [[nodiscard]] size_t held_packets() const noexcept { return held_.total(); }
  [[nodiscard]] uint64_t icmp_errors_sent() const noexcept { return icmp_errors_sent_; }

 private:
  using PuntSlot = publish::PuntRing::Slot;

  struct Tunnel {
    Identity identity;  // shared with what is computed under it
    std::optional<wireguard::CookieChecker> cookies;  // of the identity
    std::unordered_map<PublicKey, PeerIndex> peers;
  };

  // What an entry of a ring names; nullptr, counted, when the slot is another's by now.
  [[nodiscard]] Peer* find(PeerRef ref) noexcept;
  [[nodiscard]] publish::PeerSlot& slot_of(const Peer& peer) noexcept {
    return slots_[peer.ref.index];
  }
  void tell(EventKind kind, const Peer& peer, const Endpoint& before = {}) noexcept;
  void tell_unknown_key(TunnelIndex tunnel, const PublicKey& key, const Endpoint& source) noexcept;
  void drop(DropReason reason, uint64_t packets = 1) noexcept { counters_.drop(reason, packets); }

  // session.cpp
  size_t drain(WorkerIndex worker, publish::PuntRing& ring);
  void receive(WorkerIndex worker, const PuntSlot& slot);
  void receive_port_icmp(WorkerIndex worker, PortIndex port, Bytes frame);
  void receive_tunnel_local(WorkerIndex worker, TunnelIndex tunnel, Bytes packet);
  void receive_needs_neighbour(WorkerIndex worker, const publish::PuntHeader& header, Bytes packet);
  void receive_needs_handshake(WorkerIndex worker, const publish::PuntHeader& header, Bytes packet);
  void receive_event(WorkerIndex worker, const publish::PuntHeader& header);
  void note_snapshot();

  // session_errors.cpp
  void receive_undeliverable(WorkerIndex worker, const publish::PuntHeader& header, Bytes packet);
  void report_lost(WorkerIndex worker, PortIndex port, Bytes packet);
  void send_error_to_source(TunnelIndex index, WorkerIndex worker, const IcmpError& error,
                            Bytes about);
  void send_error_into(TunnelIndex tunnel, WorkerIndex worker, const IcmpError& error, Bytes about);
  void send_error_to_port(PortIndex port, WorkerIndex worker, const IcmpError& error, Bytes about);
  void receive_needs_fragments(WorkerIndex worker, const publish::PuntHeader& header, Bytes packet);

  // session_handshakes.cpp
  void receive_handshake(WorkerIndex worker, const publish::PuntHeader& header, Bytes datagram);
  void receive_initiation(WorkerIndex worker, const publish::PuntHeader& header, Bytes datagram);
  void answer_initiation(WorkerIndex worker, const publish::PuntHeader& header, Bytes datagram);
  size_t work_backlog();
  void receive_response(WorkerIndex worker, const publish::PuntHeader& header, Bytes datagram);
  void receive_cookie_reply(Bytes datagram);
  [[nodiscard]] bool admit(WorkerIndex worker, const publish::PuntHeader& header, Bytes datagram,
                           bool awaited);
  void send_cookie(WorkerIndex worker, const publish::PuntHeader& header, Bytes datagram);
  void note_authentic(Peer& peer, WorkerIndex worker, const publish::PuntHeader& header,
                      size_t bytes);
  void request_handshake(Peer& peer);
  void initiate(Peer& peer);
  bool send_datagram(Peer& peer, Bytes datagram);
  void send_handshake_udp(WorkerIndex worker, TunnelIndex tunnel, const Endpoint& remote,
                          const IpAddress& source, const IpAddress& neighbour, Bytes datagram);
  void sync(Peer& peer);
  void session_is_up(Peer& peer);
  void abandon_initiation(Peer& peer);
  void release_held(Peer& peer);
  [[nodiscard]] bool can_send(const Peer& peer) const noexcept;
  [[nodiscard]] bool can_initiate(Peer& peer) noexcept;

  // session_computations.cpp
  template <typename Step>
  void compute(Step step);
  [[nodiscard]] ComputationRing* ring_for_another() noexcept;
  size_t take_results();
  void finish(OpenInitiation& step);
  void finish(CreateResponse& step);
  void finish(CreateInitiation& step);
  void finish(ConsumeResponse& step);

  // session_endpoints.cpp
  void set_endpoint(Peer& peer, const Endpoint& remote, const IpAddress& local);
  void note_remote(Peer& peer, const Endpoint& remote);
  void refresh_endpoint(Peer& peer);
  void publish_endpoint(Peer& peer, const Hop& hop);
  size_t reroute();

  // session_timers.cpp
  void touch(const Peer& peer);
  void on_timer(PeerIndex index);
  [[nodiscard]] wireguard::TimerDecision decide(const Peer& peer) noexcept;
  void act(Peer& peer, const wireguard::TimerDecision& decision);
  void send_keepalive(Peer& peer);

  // session_peers.cpp
  void mark_changed(Peer& peer);
  size_t apply_changes();
  void renew(Peer& peer);

  publish::PeerSlots& slots_;
  RandomSource& random_;
  std::vector<publish::PuntRing*> punts_;
  publish::Counters counters_;
  Outbox outbox_;
  KeypairStore keypairs_;
  NeighbourResolver resolver_;
  HeldPackets held_;
  TimingWheel wheel_;  // one timer for each peer
  TokenBucket echo_bucket_;
  IcmpErrorLimiter error_limiter_;
  EventQueue* events_;
  TokenBucket unknown_key_bucket_;
  publish::Counter handshakes_done_;
  std::vector<ComputationRing*> rings_;
  const size_t kept_per_turn_;
  size_t next_ring_ = 0;
  publish::Counter handed_over_;
  Admission admission_;
  Backlog backlog_;

  std::array<Tunnel, kMaxTunnels> tunnels_;
  std::vector<std::unique_ptr<Peer>> peers_;  // by PeerIndex
  std::vector<PeerRef> changed_;  // by commands since the last turn

  // What the last turn saw, to notice what changed.
  std::array<publish::PortView, kMaxPorts> ports_seen_;
  std::array<PortIndex, kMaxTunnels> outside_seen_{};
  bool all_routes_stale_ = true;
  size_t reroute_at_ = 0;  // peers below it are rerouted since the last change
  WallTime newest_sent_;  // date of an initiation, over all peers
  std::vector<PeerRef> received_;  // for take_received()
  uint16_t ipv4_identification_;
  uint64_t icmp_errors_sent_ = 0;

  // Of the turn that runs.
  const publish::Snapshot* snapshot_ = nullptr;
  Now now_;
  size_t computed_here_ = 0;  // counted up to kept_per_turn_
};

}  // namespace turnpike::session

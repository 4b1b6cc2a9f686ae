// Asks for and answers with link-layer addresses: ARP (RFC 826) and neighbour discovery (RFC 4861) on the
// ports, and the packets that wait for an answer.
//   Idle -> Incomplete (asked, every kAskInterval) -> Reachable -> Probing (the MAC stays in use) -> ...
//   A neighbour that does not answer is Failed for kHoldOff: packets for it are dropped at once.
//   Learning: only from answers to what we asked, and from requests for one of our own addresses; unsolicited
//             announcements change nothing.
//   Threads:   the session thread.
//   Bounds:    kMaxNeighbours in the table, half of them unresolved at most and a quarter on one port (so that a
//              scan of a subnet leaves room for those that exist); kWaitingPerNeighbour packets each,
//              kWaitingTotal in all.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "control/session/frames.h"
#include "control/session/neighbour_messages.h"
#include "control/session/outbox.h"
#include "control/session/routing.h"
#include "control/session/timing_wheel.h"
#include "dataplane/base/random.h"
#include "dataplane/publish/counters.h"
#include "dataplane/publish/neighbours.h"
#include "dataplane/publish/snapshot.h"

namespace turnpike::session {

inline constexpr Duration kAskInterval = 1s;  // RFC 4861, section 10: RETRANS_TIMER
inline constexpr unsigned kAskTries = 3;  // MAX_MULTICAST_SOLICIT
inline constexpr unsigned kProbeTries = 2;  // by unicast, before it is asked for like a new one
inline constexpr Duration kReachableTime =
    30s;  // REACHABLE_TIME, and up to as much again at random
inline constexpr Duration kHoldOff = 3s;
inline constexpr Duration kPinnedRetry = 30s;  // of a peer's first hop that does not answer
inline constexpr Duration kUnusedTime = 5min;  // then it is forgotten
inline constexpr size_t kWaitingPerNeighbour = 8;
inline constexpr size_t kWaitingTotal = 1'024;
inline constexpr uint32_t kMaxUnresolved = publish::kMaxNeighbours / 4;  // on one port
inline constexpr uint32_t kMaxUnresolvedInAll = publish::kMaxNeighbours / 2;
// Requests make entries only while the table has this much room left.
inline constexpr uint32_t kMaxLearned = publish::kMaxNeighbours / 4 * 3;

class NeighbourResolver {
 public:
  // Told of each packet that ends because its neighbour does not answer; it is counted. It may not call back.
  using Lost = std::function<void(WorkerIndex, PortIndex, Bytes)>;

  NeighbourResolver(publish::NeighbourTable& table, Outbox& outbox, publish::Counters& counters,
                    RandomSource& random, Instant now, Lost lost);

  // Sends an IP packet to `neighbour` on `port`; when its MAC is not known, a copy waits for it.
  void send(const publish::Snapshot& snapshot, Instant now, WorkerIndex worker, PortIndex port,
            const IpAddress& neighbour, Bytes packet);

  // For a peer's endpoint: an entry that stays until unpin(), asked for at once. kNoNeighbour when the table
  // is full.
  [[nodiscard]] publish::NeighbourIndex pin(const publish::Snapshot& snapshot, Instant now,
                                            PortIndex port, const IpAddress& neighbour);
  // One that has not answered and that no packet waits for is forgotten at once: a peer that claims to be
  // everywhere leaves nothing behind.
  void unpin(publish::NeighbourIndex index) noexcept;

  void receive_arp(const publish::Snapshot& snapshot, Instant now, WorkerIndex worker,
                   PortIndex port, Bytes frame);
  // `packet` was parsed out of `ethernet`; it is ICMPv6 of one of the two types.
  void receive_neighbour_message(const publish::Snapshot& snapshot, Instant now, WorkerIndex worker,
                                 PortIndex port, const EthernetView& ethernet,
                                 const IpView& packet);

  // Tells the link our addresses: gratuitous ARP, unsolicited advertisements.
  void announce(const publish::Snapshot& snapshot, WorkerIndex worker, PortIndex port);

  size_t run_timers(const publish::Snapshot& snapshot, Instant now, size_t budget);
  [[nodiscard]] Instant next_deadline() const noexcept { return wheel_.next_deadline(); }

  [[nodiscard]] size_t waiting() const noexcept { return waiting_total_; }

 private:
  enum class State : uint8_t { Idle, Incomplete, Reachable, Probing, Failed };
  struct Entry {
    State state = State::Idle;
    PortIndex port = kNoPort;
    uint8_t tries = 0;
    WorkerIndex worker = 0;
    uint32_t pins = 0;
    Instant confirmed_at;
    Instant hold_off_until;
    std::vector<Packet> waiting;
  };
  using Index = publish::NeighbourIndex;

  [[nodiscard]] Index find_or_insert(PortIndex port, const IpAddress& neighbour, bool pinned);
  [[nodiscard]] static bool is_resolved(State state) noexcept {
    return state == State::Reachable || state == State::Probing;
  }
  void count_unresolved(PortIndex port, int by) noexcept;
  void set_state(Entry& entry, State state) noexcept;
  void demand(const publish::Snapshot& snapshot, Instant now, Index index);
  void ask(const publish::Snapshot& snapshot, Index index, const MacAddress* unicast);
  void wait(Entry& entry, Bytes packet);
  void drop_waiting(Entry& entry, DropReason reason) noexcept;
  void resolved(const publish::Snapshot& snapshot, Instant now, Index index, const MacAddress& mac);
  void fail(Instant now, Index index);
  void forget(Index index);
  void on_timer(const publish::Snapshot& snapshot, Instant now, Index index);
  void check_reachable(const publish::Snapshot& snapshot, Instant now, Index index);
  void answered(const publish::Snapshot& snapshot, Instant now, PortIndex port,
                const IpAddress& address, const MacAddress* mac);
  void learn_from_request(const publish::Snapshot& snapshot, Instant now, WorkerIndex worker,
                          PortIndex port, const IpAddress& address, const MacAddress& mac);
  [[nodiscard]] Duration reachable_time() noexcept;
  void send_frame(const publish::Snapshot& snapshot, WorkerIndex worker, PortIndex port,
                  const MacAddress& destination, uint16_t ether_type, Bytes payload) noexcept;

  publish::NeighbourTable& table_;
  Outbox& outbox_;
  publish::Counters& counters_;
  RandomSource& random_;
  TimingWheel wheel_;
  std::vector<Entry> entries_;  // by NeighbourIndex
  size_t waiting_total_ = 0;
  // Entries that are neither Reachable nor Probing.
  std::array<uint32_t, kMaxPorts> unresolved_{};
  uint32_t unresolved_total_ = 0;
  Lost lost_;
};

}  // namespace turnpike::session

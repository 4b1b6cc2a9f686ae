// Turns committed changes into what the data plane sees: tries, peer slots, snapshots, in the order that
// keeps every packet safe (design, 5): a new peer reaches the session thread first, then the workers; a
// removed one leaves the workers first, then the session thread, then its slot is recycled.
//   Threads: control. poll() drives what waits for other threads; nothing here blocks.
//   Cost:    of a commit: what changed, and the snapshot's fixed-size head, both for each copy of the tables.
//   Errors:  prepare() says no when memory or slots are short, and nothing has changed then.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/gateway/peer_indices.h"
#include "control/gateway/routes.h"
#include "control/gateway/session_link.h"
#include "control/gateway/topology.h"
#include "control/state/change.h"
#include "dataplane/base/result.h"
#include "dataplane/base/time.h"
#include "dataplane/publish/door.h"
#include "dataplane/publish/retirement.h"

namespace turnpike::gateway {

// How a commit became visible.
struct Acknowledgement {
  bool visible = true;
  std::vector<WorkerIndex> late_workers;  // that did not come round within kVisibleWithin
};

inline constexpr Duration kVisibleWithin = 1s;

class Gateway {
 public:
  using Acknowledge = std::function<void(const Acknowledgement&)>;

  struct Parts {
    ReplicaPages pages;  // of the tables; each door leads to one of the copies
    publish::Epoch& epoch;
    std::vector<publish::Door*> doors;  // by WorkerIndex
    SessionLink& session;
    uint32_t peer_capacity = kMaxPeers;
  };

  explicit Gateway(Parts parts);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Ports, routes and the tunnels' settings from the next commit on; false when memory is short.
  [[nodiscard]] bool set_topology(Topology topology);
  // The same for the commit that was just prepared; abort() forgets it.
  [[nodiscard]] bool stage_topology(Topology topology);

  // Works out what `change` means here; the error is one line (no memory, no peer slot, or the number of a
  // tunnel that was removed so shortly before that it is still in retirement). Then seal() and commit(), or
  // abort(), before the next prepare(). prepare() and seal() cost what changes and may run on another thread
  // than control's, as long as control leaves the gateway alone meanwhile; commit() costs little.
  [[nodiscard]] Result<void, std::string> prepare(const state::Change& change);
  // From here on it stands, as `generation`.
  void seal(Generation generation);
  // Publishes it, as soon as the session thread knows new peers. `acknowledge` is called from poll(), once, and never
  // before that of an earlier commit.
  void commit(Instant now, Acknowledge acknowledge);
  void abort();

  // Advances what waits. Returns whether anything still does, so that the caller knows how soon to ask again.
  // An acknowledgement may begin the next commit.
  bool poll(Instant now);

  [[nodiscard]] const PeerIndices& peers() const noexcept { return peers_; }
  [[nodiscard]] const publish::Snapshot& newest(ReplicaIndex replica = 0) const noexcept {
    return newest_->snapshots[replica];
  }
  [[nodiscard]] const Topology& topology() const noexcept { return topology_; }

 private:
  struct TunnelTables;
  struct Published {
    explicit Published(size_t replicas) : snapshots(replicas) {}
    std::vector<publish::Snapshot> snapshots;  // by ReplicaIndex; of one generation
    std::shared_ptr<const TopologyRoutes> routes;
  };
  // What goes when a snapshot goes.
  struct Retired {
    std::unique_ptr<Published> published;
    std::vector<std::function<void()>> reclaim;
  };
  struct Prepared;
  enum class Stage : uint8_t {
    AwaitingSession,
    AwaitingWorkers,
    AwaitingReaders,
    RemovingPeers,
    Recycling
  };
  struct Commit;

  [[nodiscard]] std::unique_ptr<Published> empty_published();
  void keep_spare(std::unique_ptr<Published> published);
  void fill_ports(publish::Snapshot& snapshot, ReplicaIndex replica) const;
  void fill_tunnels(publish::Snapshot& snapshot, ReplicaIndex replica) const;
  void publish(const Published& next);
  [[nodiscard]] TunnelTables& tables_of(TunnelIndex tunnel);
  [[nodiscard]] bool prepare_peers(const state::Change& change);
  [[nodiscard]] bool prepare_prefixes(const state::Change& change);
  void publish(Commit& commit, Instant now);
  bool advance(Commit& commit, Instant now, bool may_acknowledge);
  [[nodiscard]] std::vector<WorkerIndex> workers_before(uint64_t tag) const;

  Parts parts_;
  Topology topology_;
  std::shared_ptr<const TopologyRoutes> routes_;
  PeerIndices peers_;
  std::vector<std::unique_ptr<TunnelTables>>
      tables_;  // by TunnelIndex; empty where there is no tunnel
  std::unique_ptr<Prepared> prepared_;
  std::unique_ptr<Commit> sealed_;
  std::deque<Commit> commits_;  // oldest first
  std::vector<TunnelIndex> retiring_tunnels_;  // removed, and not yet forgotten by every thread
  std::unique_ptr<Published> published_owned_;  // what the workers have
  const Published* newest_;  // what the last commit made
  publish::Retirement<Retired> retired_;
  std::vector<std::unique_ptr<Published>> spare_;  // empty, for commits to come: each is some KiB
  bool polling_ = false;
};

}  // namespace turnpike::gateway

#include "control/gateway/gateway.h"

#include <algorithm>

#include "dataplane/base/check.h"

namespace turnpike::gateway {

// The writers of one tunnel, and what of it is not in the topology.
struct Gateway::TunnelTables {
  explicit TunnelTables(const ReplicaPages& pages)
      : v4(pages, lookup::Stamps::Kept), v6(pages, lookup::Stamps::Kept) {}
  std::string name;
  uint16_t listen_port = 0;
  lookup::WriterV4 v4;
  lookup::WriterV6 v6;
};

struct Gateway::Prepared {
  std::vector<SessionCommand> before;  // the workers see it
  std::vector<SessionCommand> after;
  std::vector<PeerId> added, removed;
  std::vector<state::TunnelChange> tunnels;
  std::vector<TunnelIndex> touched_v4, touched_v6;
  std::optional<Topology> topology;  // that comes with the commit
  std::shared_ptr<const TopologyRoutes> routes;
};

struct Gateway::Commit {
  Stage stage = Stage::AwaitingSession;
  std::unique_ptr<Published> next;
  std::vector<std::function<void()>> reclaim;  // what the snapshot before it used
  std::vector<SessionCommand> before;          // the workers see it
  uint64_t ticket = 0;                         // of the session thread
  uint64_t tag = 0;                            // of the epoch
  Instant published_at;
  std::vector<SessionCommand> after;
  std::vector<PeerIndex> recycle;
  std::vector<TunnelIndex> tunnels_gone;
  Acknowledge acknowledge;
};

namespace {

constexpr size_t kSpareMax = 32;  // commits that one sync made durable come together

PeerSettings settings_of(PeerRef peer, TunnelIndex tunnel,
                         const state::PeerAttributes& attributes) {
  return {.peer = peer,
          .tunnel = tunnel,
          .public_key = attributes.public_key,
          .preshared_key = attributes.preshared_key,
          .endpoint = attributes.endpoint,
          .persistent_keepalive_seconds = attributes.persistent_keepalive};
}

SetPeer change_of(PeerRef peer, const state::PeerChanged& change) {
  SetPeer set{
      .peer = peer, .preshared_key = {}, .endpoint = {}, .persistent_keepalive_seconds = {}};
  if (change.before.preshared_key != change.after.preshared_key) {
    set.preshared_key = change.after.preshared_key;
  }
  if (change.before.endpoint != change.after.endpoint) set.endpoint = change.after.endpoint;
  if (change.before.persistent_keepalive != change.after.persistent_keepalive) {
    set.persistent_keepalive_seconds = change.after.persistent_keepalive;
  }
  return set;
}

}  // namespace

Gateway::Gateway(Parts parts)
    : parts_(std::move(parts)),
      peers_(parts_.peer_capacity),
      published_owned_(std::make_unique<Published>(parts_.pages.size())),
      newest_(published_owned_.get()),
      retired_(parts_.epoch) {
  for (const publish::Door* door : parts_.doors) CHECK(door->replica() < parts_.pages.size());
  publish(*published_owned_);
}

// By now the workers and the session thread have ended: what waits for them may go.
Gateway::~Gateway() = default;

bool Gateway::set_topology(Topology topology) {
  auto routes = build_routes(topology, parts_.pages);
  if (routes == nullptr) return false;
  topology_ = std::move(topology);
  routes_ = std::move(routes);
  return true;
}

bool Gateway::stage_topology(Topology topology) {
  CHECK(prepared_ != nullptr);
  prepared_->routes = build_routes(topology, parts_.pages);
  if (prepared_->routes == nullptr) return false;
  prepared_->topology = std::move(topology);
  return true;
}

Gateway::TunnelTables& Gateway::tables_of(TunnelIndex tunnel) {
  if (tunnel >= tables_.size()) tables_.resize(size_t{tunnel} + 1);
  if (tables_[tunnel] == nullptr) tables_[tunnel] = std::make_unique<TunnelTables>(parts_.pages);
  return *tables_[tunnel];
}

Result<void, std::string> Gateway::prepare(const state::Change& change) {
  CHECK(prepared_ == nullptr && sealed_ == nullptr);
  prepared_ = std::make_unique<Prepared>();
  prepared_->tunnels = change.tunnels;
  // A tunnel comes before its peers and goes after them.
  for (const state::TunnelChange& tunnel : change.tunnels) {
    if (tunnel.after.index == kNoTunnel) continue;
    if (std::ranges::find(retiring_tunnels_, tunnel.after.index) != retiring_tunnels_.end()) {
      abort();
      return fail("a tunnel that was removed just before " + tunnel.after.name +
                  " was to be added is still in retirement; nothing was changed, try again");
    }
    prepared_->before.push_back(
        SetTunnel{.tunnel = tunnel.after.index, .private_key = tunnel.after.private_key});
  }
  if (!prepare_peers(change)) {
    abort();
    return fail("there are no more than " + std::to_string(parts_.peer_capacity) +
                " peer slots, some of them still in retirement");
  }
  for (const state::TunnelChange& tunnel : change.tunnels) {
    if (tunnel.after.index != kNoTunnel) continue;
    prepared_->after.push_back(RemoveTunnel{.tunnel = tunnel.before.index});
  }
  if (!prepare_prefixes(change)) {
    abort();
    return fail(std::string("memory for the allowed IPs is short; nothing was changed"));
  }
  return {};
}

// A disabled peer is none for the data plane: enabling adds it, disabling removes it.
bool Gateway::prepare_peers(const state::Change& change) {
  const auto add = [&](PeerId id, TunnelIndex tunnel, const state::PeerAttributes& attributes) {
    const auto peer = peers_.add(id);
    if (!peer) return false;
    prepared_->added.push_back(id);
    prepared_->before.push_back(AddPeer{settings_of(*peer, tunnel, attributes)});
    return true;
  };
  const auto remove = [&](PeerId id) {
    prepared_->removed.push_back(id);
    prepared_->after.push_back(RemovePeer{.peer = peers_.find(id)});
  };
  for (const state::PeerRemoved& peer : change.peers_removed) {
    if (peer.attributes.enabled) remove(peer.id);
  }
  for (const state::PeerChanged& peer : change.peers_changed) {
    if (!peer.before.enabled && !peer.after.enabled) continue;
    if (peer.after.enabled && !peer.before.enabled) {
      if (!add(peer.id, peer.tunnel, peer.after)) return false;
    } else if (!peer.after.enabled) {
      remove(peer.id);
    } else {
      prepared_->before.push_back(change_of(peers_.find(peer.id), peer));
    }
  }
  for (const state::PeerAdded& peer : change.peers_added) {
    if (peer.attributes.enabled && !add(peer.id, peer.tunnel, peer.attributes)) return false;
  }
  return true;
}

bool Gateway::prepare_prefixes(const state::Change& change) {
  std::vector<std::vector<lookup::Edit>> v4, v6;  // by tunnel
  for (const state::PrefixChange& prefix : change.prefixes) {
    auto& edits = prefix.prefix.address.is_v4() ? v4 : v6;
    if (prefix.tunnel >= edits.size()) edits.resize(size_t{prefix.tunnel} + 1);
    const PeerIndex owner =
        prefix.new_owner == state::kNoPeerId ? kNoPeer : peers_.find(prefix.new_owner).index;
    edits[prefix.tunnel].push_back({.prefix = prefix.prefix, .peer = owner});
  }
  for (TunnelIndex t = 0; t < v4.size(); ++t) {
    if (v4[t].empty()) continue;
    if (!tables_of(t).v4.prepare(v4[t])) return false;
    prepared_->touched_v4.push_back(t);
  }
  for (TunnelIndex t = 0; t < v6.size(); ++t) {
    if (v6[t].empty()) continue;
    if (!tables_of(t).v6.prepare(v6[t])) return false;
    prepared_->touched_v6.push_back(t);
  }
  return true;
}

void Gateway::abort() {
  for (const TunnelIndex t : prepared_->touched_v4) tables_[t]->v4.abort();
  for (const TunnelIndex t : prepared_->touched_v6) tables_[t]->v6.abort();
  // The slots were never seen by anybody.
  for (const PeerId id : prepared_->added) peers_.recycle(peers_.remove(id).index);
  prepared_ = nullptr;
}

void Gateway::seal(Generation generation) {
  CHECK(prepared_ != nullptr && routes_ != nullptr && sealed_ == nullptr);
  sealed_ = std::make_unique<Commit>();
  Commit& commit = *sealed_;
  if (prepared_->topology) {
    topology_ = std::move(*prepared_->topology);
    routes_ = std::move(prepared_->routes);
  }
  for (const state::TunnelChange& tunnel : prepared_->tunnels) {
    if (tunnel.after.index == kNoTunnel) {
      commit.tunnels_gone.push_back(tunnel.before.index);
      retiring_tunnels_.push_back(tunnel.before.index);
      // Its prefixes went with its peers, in this very change; the tables go when nobody reads them.
      commit.reclaim.push_back(
          [tables = std::shared_ptr<TunnelTables>(std::move(tables_[tunnel.before.index]))] {});
    } else {
      TunnelTables& tables = tables_of(tunnel.after.index);
      tables.name = tunnel.after.name;
      tables.listen_port = tunnel.after.listen_port;
    }
  }
  const auto commit_tables = [&](auto& writer) {
    commit.reclaim.push_back([&writer, garbage = writer.commit()] { writer.reclaim(garbage); });
  };
  for (const TunnelIndex t : prepared_->touched_v4) {
    if (tables_[t] != nullptr) commit_tables(tables_[t]->v4);
  }
  for (const TunnelIndex t : prepared_->touched_v6) {
    if (tables_[t] != nullptr) commit_tables(tables_[t]->v6);
  }
  for (const PeerId id : prepared_->removed) commit.recycle.push_back(peers_.remove(id).index);

  commit.next = empty_published();
  commit.next->routes = routes_;
  for (size_t i = 0; i < commit.next->snapshots.size(); ++i) {
    commit.next->snapshots[i].generation = generation;
    fill_ports(commit.next->snapshots[i], static_cast<ReplicaIndex>(i));
    fill_tunnels(commit.next->snapshots[i], static_cast<ReplicaIndex>(i));
  }
  newest_ = commit.next.get();
  commit.before = std::move(prepared_->before);
  commit.after = std::move(prepared_->after);
  prepared_ = nullptr;
}

void Gateway::commit(Instant now, Acknowledge acknowledge) {
  CHECK(sealed_ != nullptr);
  commits_.push_back(std::move(*sealed_));
  sealed_ = nullptr;
  Commit& commit = commits_.back();
  commit.acknowledge = std::move(acknowledge);
  if (!commit.before.empty()) commit.ticket = parts_.session.post(std::move(commit.before));
  poll(now);
}

std::unique_ptr<Gateway::Published> Gateway::empty_published() {
  if (spare_.empty()) return std::make_unique<Published>(parts_.pages.size());
  std::unique_ptr<Published> published = std::move(spare_.back());
  spare_.pop_back();
  return published;
}

void Gateway::keep_spare(std::unique_ptr<Published> published) {
  if (spare_.size() >= kSpareMax) return;
  published->routes = nullptr;
  for (publish::Snapshot& snapshot : published->snapshots) {
    std::fill_n(snapshot.tunnels.begin(), snapshot.tunnel_count, publish::TunnelView{});
    std::fill_n(snapshot.ports.begin(), snapshot.port_count, publish::PortView{});
    snapshot.tunnel_count = 0;
  }
  spare_.push_back(std::move(published));
}

void Gateway::fill_ports(publish::Snapshot& snapshot, ReplicaIndex replica) const {
  snapshot.port_count = static_cast<uint8_t>(topology_.ports.size());
  for (size_t i = 0; i < topology_.ports.size(); ++i) {
    publish::PortView& view = snapshot.ports[i];
    view.routes = routes_->ports[i]->table(replica);
    view.mtu_bytes = topology_.ports[i].mtu_bytes;
    view.mac = topology_.ports[i].mac;
  }
}

void Gateway::fill_tunnels(publish::Snapshot& snapshot, ReplicaIndex replica) const {
  for (TunnelIndex t = 0; t < tables_.size(); ++t) {
    if (tables_[t] == nullptr) continue;
    const TunnelTables& tables = *tables_[t];
    for (size_t i = 0; i < topology_.tunnels.size(); ++i) {
      const TunnelTopology& topology = topology_.tunnels[i];
      if (topology.name != tables.name) continue;
      snapshot.tunnels[t] = {.allowed_v4 = tables.v4.head(replica),
                             .allowed_v6 = tables.v6.head(replica),
                             .local = routes_->tunnels[i]->table(replica),
                             .outside = topology.outside,
                             .inside = topology.inside,
                             .listen_port = tables.listen_port,
                             .mtu_bytes = topology.mtu_bytes,
                             .peer_to_peer = topology.peer_to_peer,
                             .active = true};
      publish::PortView& inside = snapshot.ports[topology.inside];
      publish::PortView& outside = snapshot.ports[topology.outside];
      inside.inside_of[inside.inside_count++] = t;
      outside.outside_of[outside.outside_count++] = t;
      snapshot.tunnel_count = static_cast<uint16_t>(t + 1);
    }
  }
}

// One pointer store for each worker. The session thread looks up little, and takes the first.
void Gateway::publish(const Published& next) {
  for (publish::Door* door : parts_.doors) door->publish(&next.snapshots[door->replica()]);
  parts_.session.publish(&next.snapshots.front());
}

void Gateway::publish(Commit& commit, Instant now) {
  publish(*commit.next);
  retired_.add(Retired{.published = std::exchange(published_owned_, std::move(commit.next)),
                       .reclaim = std::move(commit.reclaim)});
  commit.tag = parts_.epoch.now();
  commit.published_at = now;
}

std::vector<WorkerIndex> Gateway::workers_before(uint64_t tag) const {
  std::vector<WorkerIndex> late;
  for (size_t i = 0; i < parts_.doors.size(); ++i) {
    if (parts_.doors[i]->reader().reported() < tag) late.push_back(static_cast<WorkerIndex>(i));
  }
  return late;
}

// One step after the other, as far as the other threads have come. True when the commit is over.
bool Gateway::advance(Commit& commit, Instant now, bool may_acknowledge) {
  if (commit.stage == Stage::AwaitingSession) {
    if (commit.ticket != 0 && !parts_.session.done(commit.ticket)) return false;
    publish(commit, now);
    commit.stage = Stage::AwaitingWorkers;
  }
  if (commit.stage == Stage::AwaitingWorkers) {
    if (!may_acknowledge) return false;
    Acknowledgement answer{.visible = true, .late_workers = workers_before(commit.tag)};
    answer.visible = answer.late_workers.empty();
    if (!answer.visible && now - commit.published_at < kVisibleWithin) return false;
    commit.stage = Stage::AwaitingReaders;
    if (commit.acknowledge) std::exchange(commit.acknowledge, {})(answer);
  }
  if (commit.stage == Stage::AwaitingReaders) {
    if (commit.after.empty()) return true;
    if (!parts_.epoch.passed(commit.tag)) return false;
    commit.ticket = parts_.session.post(std::move(commit.after));
    commit.stage = Stage::RemovingPeers;
  }
  if (commit.stage == Stage::RemovingPeers) {
    if (!parts_.session.done(commit.ticket)) return false;
    commit.tag = parts_.epoch.retire();
    commit.stage = Stage::Recycling;
  }
  if (!parts_.epoch.passed(commit.tag)) return false;
  for (const PeerIndex index : commit.recycle) peers_.recycle(index);
  for (const TunnelIndex tunnel : commit.tunnels_gone) std::erase(retiring_tunnels_, tunnel);
  return true;
}

bool Gateway::poll(Instant now) {
  // The loop below comes to whatever an acknowledgement has begun.
  if (polling_) return true;
  polling_ = true;
  // Acknowledged in order, too: a worker may come round between two of these questions.
  bool may_acknowledge = true;
  for (size_t i = 0; i < commits_.size();) {
    // Published strictly in order: a commit waits for the one before it to be published.
    if (i > 0 && commits_[i - 1].stage == Stage::AwaitingSession) break;
    if (advance(commits_[i], now, may_acknowledge)) {
      commits_.erase(commits_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      may_acknowledge = may_acknowledge && commits_[i].stage > Stage::AwaitingWorkers;
      ++i;
    }
  }
  const size_t waiting = retired_.collect([this](Retired retired) {
    for (const auto& reclaim : retired.reclaim) reclaim();
    keep_spare(std::move(retired.published));
  });
  polling_ = false;
  return waiting != 0 || !commits_.empty();
}

}  // namespace turnpike::gateway

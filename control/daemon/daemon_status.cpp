// What the daemon tells of itself: read from counters and slots; nothing is stopped for it.
#include <spdlog/spdlog.h>

#include <utility>

#include "control/daemon/daemon.h"

namespace turnpike::daemon {
namespace {

constexpr std::chrono::seconds kSampleEvery{1};

const char* name_of(publish::IdleBy idle) {
  switch (idle) {
    case publish::IdleBy::Polling:
      return "polls";
    case publish::IdleBy::Sleeping:
      return "sleeps";
    case publish::IdleBy::WaitingForInterrupts:
      return "waits-for-interrupts";
  }
  return "";
}

}  // namespace

void Daemon::sample_load() {
  for (size_t i = 0; i < loads_.size(); ++i) loads_[i].sample(doors_[i]->counters);
  // The tables grow at run time: no reason to refuse a commit, but the one who asked for hugepages should know.
  if (!told_of_hugepages_ && !host_->tables_are_huge()) {
    told_of_hugepages_ = true;
    spdlog::warn(
        "dataplane.hugepages: reserved hugepages ran out; tables of allowed IPs go on without. "
        "Reserve more (vm.nr_hugepages): one of 2 MiB for 80,000 prefixes, and two");
  }
  // Memory for keys is there from the first handshake on, and grows.
  if (!told_of_locks_ && !host_->secret_pages.all_locked()) {
    told_of_locks_ = true;
    spdlog::warn("keys cannot be locked into memory (RLIMIT_MEMLOCK): they may reach swap");
  }
  for (size_t i = 0; i < doors_.size(); ++i) {
    const auto idle_by = doors_[i]->counters.idle_by.load(std::memory_order_relaxed);
    const auto before = std::exchange(idle_by_[i], idle_by);
    if (before == publish::IdleBy::WaitingForInterrupts && idle_by != before) {
      spdlog::warn("worker {}: RX interrupts do not come; it sleeps shortly from now on", i);
    }
  }
  port_watch_.look();
  load_timer_.expires_after(kSampleEvery);
  load_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) sample_load();
  });
}

api::PeerStatus Daemon::peer_status(PeerId peer) const {
  const PeerRef ref = gateway_->peers().find(peer);
  if (ref.index == kNoPeer) return {};
  // A slot that the session thread has not taken over yet shows another peer's past.
  if (host_->peers.incarnation(ref.index) != ref.incarnation) return {};
  return {.endpoint = host_->peers.endpoint(ref.index).remote,
          .last_handshake = {host_->peers.record(ref.index).last_handshake_wall.load(
              std::memory_order_relaxed)},
          .rx_bytes = host_->peers.rx_bytes(ref.index),
          .tx_bytes = host_->peers.tx_bytes(ref.index)};
}

api::TunnelStatus Daemon::tunnel_status(TunnelIndex tunnel) const {
  const gateway::Topology& topology = gateway_->topology();
  for (const gateway::TunnelTopology& t : topology.tunnels) {
    if (t.name != state_.tunnel(tunnel).name) continue;
    return {.outside = topology.ports[t.outside].name,
            .inside = topology.ports[t.inside].name,
            .mtu = t.mtu_bytes,
            .addresses = t.addresses};
  }
  return {};
}

std::vector<api::PortStatus> Daemon::ports() const {
  std::vector<api::PortStatus> ports;
  for (const io::Port& port : host_->ports()) {
    const io::PortStats stats = port.stats();
    ports.push_back({.name = port.name(),
                     .up = stats.up,
                     .mac = port.mac(),
                     .rx_packets = stats.rx_packets,
                     .tx_packets = stats.tx_packets,
                     .missed = stats.missed,
                     .no_mbuf = stats.no_mbuf});
  }
  return ports;
}

std::vector<api::WorkerStatus> Daemon::workers() const {
  std::vector<api::WorkerStatus> workers;
  for (size_t i = 0; i < doors_.size(); ++i) {
    workers.push_back({.lcore = io::lcore_of_worker(i),
                       .generation = doors_[i]->counters.generation.value(),
                       .busy = loads_[i].busy(),
                       .cycles_per_packet = loads_[i].cycles_per_packet(),
                       .numa_node = host_->placement().workers[i].node,
                       .idle = name_of(doors_[i]->counters.idle_by.load(std::memory_order_relaxed)),
                       .interrupts = doors_[i]->counters.interrupts.value()});
  }
  return workers;
}

std::vector<api::DropCount> Daemon::drops() const {
  std::vector<api::DropCount> drops;
  for (size_t reason = 0; reason < kDropReasons; ++reason) {
    uint64_t count = session_->session().counters().drops[reason].value();
    for (const publish::Door* door : doors_) count += door->counters.drops[reason].value();
    drops.push_back({.reason = std::string(kDropReasonNames[reason]), .count = count});
  }
  return drops;
}

api::Totals Daemon::totals() const {
  api::Totals totals = observer_.totals();
  totals.version = TURNPIKE_VERSION;
  totals.peers = state_.peer_count();
  totals.prefixes = state_.prefix_count();
  totals.handshakes = session_->session().handshakes_done();
  totals.computations_handed_over = session_->session().handed_over();
  for (const auto& thread : session_->thread_times()) {
    totals.session_threads.push_back(
        {.name = thread.name, .cpu = thread.cpu.value_or(0), .used = thread.used});
  }
  if (const io::CryptoDevice* device = host_->crypto_device()) {
    totals.crypto_sessions = device->sessions_in_use();
  }
  const io::BufferUse buffers = host_->buffers();
  totals.buffers = buffers.buffers;
  totals.buffers_in_use = buffers.in_use;
  totals.events_lost = session_events_.lost();
  totals.readers_cut_off = observer_.readers_cut_off();
  for (const state::Tunnel& tunnel : state_.tunnels()) {
    if (tunnel.index == kNoTunnel) continue;
    api::TunnelTraffic traffic{.name = tunnel.name};
    for (const publish::Door* door : doors_) {
      const publish::TunnelCounters& counters = door->counters.tunnels[tunnel.index];
      traffic.outbound_packets += counters.outbound_packets.value();
      traffic.outbound_bytes += counters.outbound_bytes.value();
      traffic.inbound_packets += counters.inbound_packets.value();
      traffic.inbound_bytes += counters.inbound_bytes.value();
    }
    totals.tunnels.push_back(std::move(traffic));
  }
  const std::vector<Placement::Copy>& copies = host_->placement().copies;
  for (size_t i = 0; i < copies.size(); ++i) {
    totals.tables.push_back({.numa_node = copies[i].node, .bytes = host_->table_bytes(i)});
  }
  for (size_t i = 0; i < doors_.size(); ++i) {
    totals.queues.push_back({.lcore = io::lcore_of_worker(i),
                             .punt = doors_[i]->punt.waiting(),
                             .inject = doors_[i]->inject.waiting()});
  }
  return totals;
}

}  // namespace turnpike::daemon

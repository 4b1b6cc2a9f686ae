#include "control/api/metrics.h"

#include <charconv>
#include <cmath>
#include <initializer_list>
#include <utility>

namespace turnpike::api {
namespace {

struct Label {
  std::string_view name;
  std::string value;
};

// One family: HELP and TYPE first, then its samples.
class Family {
 public:
  Family(std::string& out, std::string_view name, std::string_view type, std::string_view help)
      : out_(out), name_(name) {
    out_ += "# HELP ";
    out_ += name;
    out_ += ' ';
    out_ += help;
    out_ += "\n# TYPE ";
    out_ += name;
    out_ += ' ';
    out_ += type;
    out_ += '\n';
  }
  void sample(std::initializer_list<Label> labels, uint64_t value) {
    head(labels);
    out_ += std::to_string(value);
    out_ += '\n';
  }
  void sample(std::initializer_list<Label> labels, double value) {
    head(labels);
    char text[32];
    const auto end = std::to_chars(text, text + sizeof(text), value);
    out_.append(text, end.ptr);
    out_ += '\n';
  }

 private:
  void head(std::initializer_list<Label> labels) {
    out_ += name_;
    char before = '{';
    for (const Label& label : labels) {
      out_ += std::exchange(before, ',');
      out_ += label.name;
      out_ += "=\"";
      for (const char c : label.value) {
        if (c == '\n') {
          out_ += "\\n";
          continue;
        }
        if (c == '\\' || c == '"') out_ += '\\';
        out_ += c;
      }
      out_ += '"';
    }
    if (before == ',') out_ += '}';
    out_ += ' ';
  }

  std::string& out_;
  std::string_view name_;
};

double seconds(WallTime at) { return static_cast<double>(at.nanoseconds) / 1e9; }

void single(std::string& out, std::string_view name, std::string_view type, std::string_view help,
            uint64_t value) {
  Family(out, name, type, help).sample({}, value);
}

void totals(const Backend& backend, std::string& out) {
  const Totals t = backend.totals();
  Family(out, "turnpike_build_info", "gauge", "The version that runs; always 1.")
      .sample({{"version", t.version}}, uint64_t{1});
  Family(out, "turnpike_start_time_seconds", "gauge", "When the daemon started, since 1970.")
      .sample({}, seconds(t.started));
  single(out, "turnpike_generation", "gauge", "Number of the committed state.",
         backend.generation());
  single(out, "turnpike_peers", "gauge", "Peers of all tunnels, disabled ones too.", t.peers);
  single(out, "turnpike_prefixes", "gauge", "Prefixes that have an owner.", t.prefixes);
  Family tables(out, "turnpike_table_bytes", "gauge",
                "Memory of the look-up tables, by the NUMA node whose workers read that copy.");
  for (const TableMemory& copy : t.tables) {
    tables.sample({{"numa_node", copy.numa_node ? std::to_string(*copy.numa_node) : "any"}},
                  copy.bytes);
  }
  single(out, "turnpike_buffers", "gauge", "Buffers for packets, of all ports.", t.buffers);
  single(out, "turnpike_buffers_in_use", "gauge",
         "Of these, those in queues of ports and on their way; workers keep some more at hand.",
         t.buffers_in_use);
  single(out, "turnpike_commits_total", "counter", "Transactions that changed something.",
         t.commits);
  single(out, "turnpike_refusals_total", "counter", "Transactions refused for conflicts.",
         t.refusals);
  single(out, "turnpike_commit_failures_total", "counter",
         "Transactions that failed for want of memory, slots or durability.", t.commit_failures);
  Family reloads(out, "turnpike_reloads_total", "counter",
                 "Configuration files read anew, and the start that was refused.");
  reloads.sample({{"outcome", "applied"}}, t.reloads);
  reloads.sample({{"outcome", "refused"}}, t.failed_reloads);
  single(out, "turnpike_last_reload_success", "gauge",
         "Whether the last file that was read, at start or by a reload, could be applied.",
         t.last_reload_good ? 1 : 0);
  Family(out, "turnpike_last_reload_success_timestamp_seconds", "gauge",
         "When a file was applied last, since 1970; 0: not since a start that was refused.")
      .sample({}, seconds(t.last_reload));
  single(out, "turnpike_handshakes_total", "counter", "Sessions that came up or were renewed.",
         t.handshakes);
  single(out, "turnpike_handshake_computations_handed_over_total", "counter",
         "Computations that the first session thread left to the others.",
         t.computations_handed_over);
  Family times(out, "turnpike_session_thread_cpu_seconds_total", "counter",
               "What each session thread has used of its CPU.");
  for (const SessionThreadTime& thread : t.session_threads) {
    times.sample({{"thread", thread.name}, {"cpu", std::to_string(thread.cpu)}},
                 std::chrono::duration<double>(thread.used).count());
  }
  if (t.crypto_sessions) {
    single(out, "turnpike_crypto_sessions", "gauge",
           "Sessions of the crypto device: two for each keypair.", *t.crypto_sessions);
  }
  single(out, "turnpike_events_lost_total", "counter",
         "Events of the session thread that its queue had no room for.", t.events_lost);
  single(out, "turnpike_event_readers_cut_off_total", "counter",
         "Readers of events that were too slow.", t.readers_cut_off);
}

void tunnels(const Backend& backend, std::string& out) {
  const Totals t = backend.totals();
  const auto traffic = [&](std::string_view name, std::string_view help,
                           uint64_t TunnelTraffic::* outbound, uint64_t TunnelTraffic::* inbound) {
    Family family(out, name, "counter", help);
    for (const TunnelTraffic& tunnel : t.tunnels) {
      family.sample({{"tunnel", tunnel.name}, {"direction", "outbound"}}, tunnel.*outbound);
      family.sample({{"tunnel", tunnel.name}, {"direction", "inbound"}}, tunnel.*inbound);
    }
  };
  traffic("turnpike_tunnel_packets_total", "Inner packets encrypted (outbound) and decrypted.",
          &TunnelTraffic::outbound_packets, &TunnelTraffic::inbound_packets);
  traffic("turnpike_tunnel_bytes_total", "Bytes of inner packets encrypted and decrypted.",
          &TunnelTraffic::outbound_bytes, &TunnelTraffic::inbound_bytes);
}

void ports(const Backend& backend, std::string& out) {
  const std::vector<PortStatus> all = backend.ports();
  Family up(out, "turnpike_port_up", "gauge", "Whether the port has a link.");
  for (const PortStatus& port : all) up.sample({{"port", port.name}}, uint64_t{port.up ? 1u : 0u});
  const auto counter = [&](std::string_view name, std::string_view help,
                           uint64_t PortStatus::* value) {
    Family family(out, name, "counter", help);
    for (const PortStatus& port : all) family.sample({{"port", port.name}}, port.*value);
  };
  counter("turnpike_port_rx_packets_total", "Frames received.", &PortStatus::rx_packets);
  counter("turnpike_port_tx_packets_total", "Frames sent.", &PortStatus::tx_packets);
  counter("turnpike_port_missed_total", "Frames that the port dropped, its queues being full.",
          &PortStatus::missed);
  counter("turnpike_port_no_mbuf_total", "Frames that found no buffer.", &PortStatus::no_mbuf);
}

void workers(const Backend& backend, std::string& out) {
  const std::vector<WorkerStatus> all = backend.workers();
  Family generation(out, "turnpike_worker_generation", "gauge",
                    "Generation that the worker's last burst used.");
  for (const WorkerStatus& w : all) {
    generation.sample({{"lcore", std::to_string(w.lcore)}}, w.generation);
  }
  Family busy(out, "turnpike_worker_busy_ratio", "gauge",
              "Share of its time that the worker had packets, over the last second.");
  for (const WorkerStatus& w : all) busy.sample({{"lcore", std::to_string(w.lcore)}}, w.busy);
  Family cycles(out, "turnpike_worker_cycles_per_packet", "gauge",
                "TSC cycles for a packet, over the last second; 0 without packets.");
  for (const WorkerStatus& w : all) {
    cycles.sample({{"lcore", std::to_string(w.lcore)}}, w.cycles_per_packet);
  }
  Family interrupts(out, "turnpike_worker_interrupts_total", "counter",
                    "Waits of an idle worker that an RX interrupt, or another thread, ended.");
  for (const WorkerStatus& w : all) {
    interrupts.sample({{"lcore", std::to_string(w.lcore)}}, w.interrupts);
  }
  Family queues(out, "turnpike_queue_entries", "gauge",
                "Entries that wait between a worker and the session thread.");
  for (const QueueFill& fill : backend.totals().queues) {
    queues.sample({{"queue", "punt"}, {"lcore", std::to_string(fill.lcore)}}, fill.punt);
    queues.sample({{"queue", "inject"}, {"lcore", std::to_string(fill.lcore)}}, fill.inject);
  }
}

void drops(const Backend& backend, std::string& out) {
  Family family(out, "turnpike_dropped_packets_total", "counter", "Packets dropped, by reason.");
  for (const DropCount& drop : backend.drops()) {
    family.sample({{"reason", drop.reason}}, drop.count);
  }
}

class MetricsSource final : public BodySource {
 public:
  explicit MetricsSource(const Backend& backend) : backend_(backend) {}
  bool next(std::string& out) override {
    using Part = void (*)(const Backend&, std::string&);
    static constexpr Part kParts[] = {totals, tunnels, ports, workers, drops};
    kParts[at_](backend_, out);
    return ++at_ < std::size(kParts);
  }

 private:
  const Backend& backend_;
  size_t at_ = 0;
};

}  // namespace

std::unique_ptr<BodySource> make_metrics(const Backend& backend) {
  return std::make_unique<MetricsSource>(backend);
}

}  // namespace turnpike::api

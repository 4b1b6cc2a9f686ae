// The stages of the packet path on one core over packets in memory, beside the bare AEAD over the same buffers
// in the same run: cycles of the TSC for a packet, whole and by stage. Passes of both are interleaved; the
// figure of a round is the median of its bursts, which leaves out those that met something else on the core.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "tests/bench/paired.h"
#include "tests/bench/pipeline_far.h"
#include "tests/bench/pipeline_parallel.h"
#include "tests/bench/pipeline_worker.h"

namespace turnpike::bench {
namespace {

constexpr double kPacketsPerBurst = kRxBurst;

struct Size {
  const char* name;
  std::vector<uint16_t> inner_bytes;
};

// IMIX: 7 small, 4 middling, 1 large, by the sizes of the Internet's packets (RFC 6985 names the genome).
const std::vector<Size>& sizes() {
  static const std::vector<Size> all = {
      {"64", {64}},
      {"128", {128}},
      {"512", {512}},
      {"1420", {1420}},
      {"imix", {64, 576, 64, 64, 576, 64, 1420, 64, 576, 64, 576, 64}}};
  return all;
}

double per_packet(std::vector<uint64_t>& cycles) {
  std::nth_element(cycles.begin(), cycles.begin() + static_cast<long>(cycles.size() / 2),
                   cycles.end());
  const double result = static_cast<double>(cycles[cycles.size() / 2]) / kPacketsPerBurst;
  cycles.clear();
  return result;
}

struct Rounds {
  size_t rounds;
  size_t passes;  // in each
};

struct Result {
  std::vector<double> pipeline, aead, ratios;  // ratios of rates: 1 is as fast as the AEAD alone
};

// What is measured is the steady state: a peer's first packet touches more than others do (memory that nobody has used,
// times that were never set), and of a million peers each would have just one.
void greet_all(Worker& worker, uint32_t peers, Traffic traffic) {
  traffic.zipf = false;
  traffic.inner_bytes = {64};
  std::vector<uint64_t> ignored;
  for (size_t sent = 0; sent < peers; sent += kPassPackets) {
    worker.fill(traffic);
    worker.run(traffic, ignored);
  }
}

Result compare(Worker& worker, const Traffic& traffic, Rounds rounds) {
  Result result;
  std::vector<uint64_t> ours, bare;
  for (size_t round = 0; round <= rounds.rounds; ++round) {
    for (size_t pass = 0; pass < rounds.passes; ++pass) {
      worker.fill(traffic);
      worker.run(traffic, ours);
      worker.run_aead(traffic, bare);
    }
    const double a = per_packet(ours);
    const double b = per_packet(bare);
    if (round == 0) continue;  // warm-up
    result.pipeline.push_back(a);
    result.aead.push_back(b);
    result.ratios.push_back(b / a);
  }
  return result;
}

// Of the time stamp counter, measured once: cycles become packets a second with it.
double tsc_mhz() {
  static const double mhz = [] {
    using Clock = std::chrono::steady_clock;
    const auto began = Clock::now();
    const uint64_t first = __builtin_ia32_rdtsc();
    while (Clock::now() - began < std::chrono::milliseconds(20)) {
    }
    const auto spent = std::chrono::duration<double, std::micro>(Clock::now() - began);
    return static_cast<double>(__builtin_ia32_rdtsc() - first) / spent.count();
  }();
  return mhz;
}

std::vector<double> as_rates(std::vector<double> cycles) {
  for (double& c : cycles) c = tsc_mhz() / c;
  return cycles;
}

// The rate beside the bare AEAD's, and the same as cycles.
void add(Report& report, const std::string& name, const Result& result, const char* aead) {
  const std::vector<double> rates = as_rates(result.pipeline);
  report.add(Figure{.name = name,
                    .value = median(rates),
                    .unit = "Mpps",
                    .baseline_name = std::string("aead/") + aead,
                    .baseline_value = median(as_rates(result.aead)),
                    .ratio = median(result.ratios),
                    .runs = rates});
  report.add(Figure{.name = name + "/cycles",
                    .value = median(result.pipeline),
                    .unit = "cycles/packet",
                    .runs = result.pipeline});
}

void by_stage(Report& report, Worker& worker, const Traffic& traffic, const std::string& name,
              Rounds rounds) {
  std::array<std::vector<double>, pipeline::kStageNames.size()> runs;
  std::vector<uint64_t> ignored;
  for (size_t round = 0; round < rounds.rounds * rounds.passes; ++round) {
    pipeline::StageCycles stages;
    worker.fill(traffic);
    worker.measure(&stages);
    worker.run(traffic, ignored);
    worker.measure(nullptr);
    for (size_t s = 0; s < runs.size(); ++s) {
      runs[s].push_back(static_cast<double>(stages.cycles[s]) / kPassPackets);
    }
  }
  for (size_t s = 0; s < runs.size(); ++s) {
    if (median(runs[s]) == 0) continue;
    std::vector<double> some(runs[s].begin(),
                             runs[s].begin() + std::min<long>(9, std::ssize(runs[s])));
    report.add(Figure{.name = name + "/stage/" + std::string(pipeline::kStageNames[s]),
                      .value = median(runs[s]),
                      .unit = "cycles/packet",
                      .runs = some});
  }
}

struct Peers {
  uint32_t count;
  const char* name;
};

// Hosts behind each peer: with more than one, each packet of a peer's comes from another.
constexpr unsigned kHostsLog2 = 4;

struct Variant {
  const char* suffix = "";
  bool software_checksum = false;
  bool zipf = false;
  unsigned hosts_log2 = 0;
};

void measure(Report& report, Peers peers, const Variant& variant, Rounds rounds) {
  std::unique_ptr<World> world;
  std::unique_ptr<Worker> worker;
  for (const auto direction : {Direction::Outbound, Direction::Inbound}) {
    bool greeted = false;
    for (const Size& size : sizes()) {
      const std::string name = std::string("pipeline/") +
                               (direction == Direction::Outbound ? "outbound/" : "inbound/") +
                               size.name + "/" + peers.name + variant.suffix;
      if (!report.wants(name)) continue;
      if (world == nullptr) {
        world = std::make_unique<World>(peers.count, variant.software_checksum, variant.hosts_log2);
        worker = std::make_unique<Worker>(*world);
      }
      const Traffic traffic{.direction = direction,
                            .zipf = variant.zipf,
                            .software_checksum = variant.software_checksum,
                            .inner_bytes = size.inner_bytes};
      if (!greeted) greet_all(*worker, peers.count, traffic);
      greeted = true;
      add(report, name, compare(*worker, traffic, rounds), worker->aead_name());
      if (variant.suffix[0] == '\0' && (size.inner_bytes[0] == 64 || size.inner_bytes[0] == 1420) &&
          size.inner_bytes.size() == 1) {
        by_stage(report, *worker, traffic, name, rounds);
      }
    }
  }
}

int run(const Options& options) {
  Report report(options);
  const Rounds rounds =
      options.quick ? Rounds{.rounds = 1, .passes = 2} : Rounds{.rounds = 15, .passes = 40};
  std::printf("bursts of %zu packets, %zu buffers; cycles of the TSC\n", kRxBurst, kPassPackets);
  const Variant plain, zipf{.suffix = "/zipf", .zipf = true},
      sources{.suffix = "/changing-sources", .hosts_log2 = kHostsLog2};
  const Peers one{1, "1-peer"}, some{1'000, "1000-peers"}, many{100'000, "100000-peers"},
      most{1'000'000, "1000000-peers"};
  measure(report, one, plain, rounds);
  measure(report, one, {.suffix = "/software-checksum", .software_checksum = true}, rounds);
  measure(report, one, sources, rounds);
  measure(report, some, plain, rounds);
  measure(report, some, zipf, rounds);
  measure(report, some, sources, rounds);
  if (!options.quick) {
    measure(report, many, plain, rounds);
    measure(report, many, zipf, rounds);
    measure(report, many, sources, rounds);
    measure(report, most, plain, rounds);
    measure(report, most, zipf, rounds);
  }
  measure_parallel(report, options.quick);
  measure_far(report, options.quick);
  if (!report.write_json()) {
    std::perror(options.json.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace turnpike::bench

int main(int argc, char** argv) {
  return turnpike::bench::run(turnpike::bench::parse_options(argc, argv));
}

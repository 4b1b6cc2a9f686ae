// What spreading in software costs a packet: the worker that receives, beside the same burst without spreading, and the
// worker that a frame is handed to. Run by loopback_bench.py; two CPUs.
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "dataplane/base/check.h"
#include "dataplane/io/eal.h"
#include "dataplane/io/log.h"
#include "dataplane/io/spreader.h"
#include "dataplane/pipeline/flow_hash.h"
#include "dataplane/pipeline/headers.h"
#include "tests/bench/paired.h"

namespace turnpike::bench {
namespace {

constexpr uint32_t kSeed = 20261126;
constexpr size_t kWorkers = 2;
constexpr size_t kBursts = 8;  // of a pass
constexpr uint16_t kFrameBytes = pipeline::kEthernetBytes + 64;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench-loopback-spread: %s\n", why.c_str());
  std::exit(1);
}

io::Port open_port(const char* device, io::Spread spread, rte_mempool* buffers) {
  auto port = io::Port::open(
      {.name = device, .device = device, .workers = kWorkers, .spread = spread}, buffers);
  if (!port) give_up(port.error());
  return std::move(*port);
}

// UDP over IPv4, as much of it as the hash looks at.
void write_frame(uint8_t* frame, uint32_t source) {
  pipeline::write_ethernet(frame, MacAddress{{2, 0, 0, 0, 0, 1}}, MacAddress{{2, 0, 0, 0, 0, 2}},
                           pipeline::kEtherTypeIpv4);
  uint8_t* ip = frame + pipeline::kEthernetBytes;
  std::memset(ip, 0, kFrameBytes - pipeline::kEthernetBytes);
  ip[0] = 0x45;
  store_be16(ip + 2, kFrameBytes - pipeline::kEthernetBytes);
  ip[8] = 64;
  ip[9] = static_cast<uint8_t>(pipeline::Protocol::Udp);
  store_be32(ip + 12, source);
  store_be32(ip + 16, 0xc000'0201);
  store_be16(ip + pipeline::kIpv4Bytes, 40'000);
  store_be16(ip + pipeline::kIpv4Bytes + 2, 51'820);
}

size_t worker_of(uint32_t source) {
  uint8_t frame[kFrameBytes];
  write_frame(frame, source);
  return pipeline::worker_of(pipeline::flow_hash(frame, sizeof(frame), kSeed), kWorkers);
}

// Sources of flows that belong to each worker.
std::vector<uint32_t> sources_of(size_t worker) {
  std::vector<uint32_t> sources;
  for (uint32_t source = 0x0a00'0001; sources.size() < kRxBurst; ++source) {
    if (worker_of(source) == worker) sources.push_back(source);
  }
  return sources;
}

// Worker 1: takes what is handed to it, looks at the headers, and gives the buffer back.
class Taker {
 public:
  explicit Taker(const io::Spreader& spreader)
      : from_(spreader.received_for(1)[0]),
        back_(rte_ring_create("spread-bench-back", 1'024, SOCKET_ID_ANY,
                              RING_F_SP_ENQ | RING_F_SC_DEQ)) {
    if (back_ == nullptr) give_up("no memory for a ring");
    thread_ = std::thread([this] { work(); });
  }
  ~Taker() {
    (void)stop();
    rte_ring_free(back_);
  }
  // Cycles a packet of each larger burst that it took.
  std::vector<double> stop() {
    over_.store(true);
    if (thread_.joinable()) thread_.join();
    return std::move(costs_);
  }
  // All `count` of them.
  void take_back(std::vector<rte_mbuf*>& mbufs, size_t count) {
    while (count != 0) {
      void* mbuf = nullptr;
      if (rte_ring_sc_dequeue(back_, &mbuf) != 0) {
        sched_yield();
        continue;
      }
      mbufs.push_back(static_cast<rte_mbuf*>(mbuf));
      --count;
    }
  }

 private:
  void work() {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(1, &set);
    CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
    for (uint32_t empty = 0; !over_.load(std::memory_order_relaxed);) {
      rte_mbuf* mbufs[kRxBurst];
      const uint64_t began = rte_rdtsc();
      const uint16_t count = io::Spreader::take(from_, mbufs, kRxBurst);
      if (count == 0) {
        if (++empty % 64 == 0) sched_yield();
        continue;
      }
      uint64_t sum = 0;
      for (uint16_t i = 0; i < count; ++i) sum += *rte_pktmbuf_mtod_offset(mbufs[i], uint64_t*, 24);
      keep(sum);
      const double cost = static_cast<double>(rte_rdtsc() - began) / count;
      if (count >= kRxBurst / 2 && costs_.size() < costs_.capacity()) costs_.push_back(cost);
      CHECK(rte_ring_sp_enqueue_bulk(back_, reinterpret_cast<void**>(mbufs), count, nullptr) ==
            count);
    }
  }

  const io::Spreader::Handed from_;
  rte_ring* back_;
  std::vector<double> costs_ = [] {
    std::vector<double> room;
    room.reserve(100'000);
    return room;
  }();
  std::atomic<bool> over_{false};
  std::thread thread_;
};

enum class Way { Without, Off, AllKept, HalfHanded };

class Bench {
 public:
  Bench(Report& report, bool quick)
      : report_(report), rounds_(quick ? 1 : 15), passes_(quick ? 3 : 300) {
    buffers_ = io::make_buffers("spread-bench", 8'191, 2'048, 256);
    if (buffers_ == nullptr) give_up("no memory for buffers: " + io::take_last_errors());
    ports_.push_back(open_port("net_ring0", io::Spread::Always, buffers_));
    ports_.push_back(open_port("net_ring1", io::Spread::Auto, buffers_));
    auto spreader = io::Spreader::make(ports_, kWorkers, kSeed);
    if (!spreader) give_up(spreader.error());
    spreader_ = std::move(*spreader);
    std::vector<publish::Doorbell*> bells;
    for (publish::Doorbell& bell : bells_) bells.push_back(&bell);
    spreader_->use_bells(std::move(bells));
    taker_ = std::make_unique<Taker>(*spreader_);
    mbufs_.resize(kBursts * kRxBurst);
    if (rte_pktmbuf_alloc_bulk(buffers_, mbufs_.data(), kBursts * kRxBurst) != 0) {
      give_up("no buffers");
    }
  }
  ~Bench() {
    rte_pktmbuf_free_bulk(mbufs_.data(), static_cast<unsigned>(mbufs_.size()));
    taker_.reset();
  }

  void run() {
    constexpr Way kWays[] = {Way::Without, Way::Off, Way::AllKept, Way::HalfHanded};
    std::vector<double> runs[4];
    for (size_t round = 0; round <= rounds_; ++round) {
      std::vector<double> cycles[4];
      for (size_t pass = 0; pass < passes_; ++pass) {
        for (const Way way : kWays) run_pass(way, cycles[static_cast<size_t>(way)]);
      }
      if (round == 0) continue;  // warm-up
      for (size_t way = 0; way < 4; ++way) runs[way].push_back(median(cycles[way]));
    }
    add("loopback/spread/off", runs[0], runs[1]);
    add("loopback/spread/all-kept", runs[0], runs[2]);
    add("loopback/spread/half-handed", runs[0], runs[3]);
    // A run is a burst: the first ones are its spread.
    std::vector<double> taken = taker_->stop();
    const double middle = median(taken);
    taken.resize(std::min(taken.size(), rounds_));
    report_.add(Figure{.name = "loopback/spread/taken",
                       .value = middle,
                       .unit = "cycles/packet",
                       .runs = std::move(taken)});
  }

 private:
  // One pass of bursts as a port gives them: frames in buffers, looked at once by who receives them.
  void run_pass(Way way, std::vector<double>& cycles) {
    const size_t handed_of_burst = way == Way::HalfHanded ? kRxBurst / 2 : 0;
    for (size_t i = 0; i < mbufs_.size(); ++i) {
      mbufs_[i]->data_len = kFrameBytes;
      mbufs_[i]->pkt_len = kFrameBytes;
      const std::vector<uint32_t>& sources = i % kRxBurst < handed_of_burst ? others_ : own_;
      write_frame(rte_pktmbuf_mtod(mbufs_[i], uint8_t*), sources[i % kRxBurst]);
    }
    std::vector<rte_mbuf*> kept_all;
    for (size_t burst = 0; burst < kBursts; ++burst) {
      rte_mbuf** mbufs = &mbufs_[burst * kRxBurst];
      const uint64_t began = rte_rdtsc();
      uint16_t kept = kRxBurst;
      if (way != Way::Without && spreader_ != nullptr &&
          spreader_->spreads(way == Way::Off ? 1 : 0)) {
        uint64_t lost_bytes = 0;
        const auto shared = spreader_->share(0, 0, mbufs, kRxBurst, lost_bytes);
        CHECK(shared.lost == 0);
        kept = shared.kept;
      }
      uint64_t sum = 0;
      for (uint16_t i = 0; i < kept; ++i) sum += *rte_pktmbuf_mtod_offset(mbufs[i], uint64_t*, 24);
      keep(sum);
      cycles.push_back(static_cast<double>(rte_rdtsc() - began) / kRxBurst);
      CHECK(kept == kRxBurst - handed_of_burst);
      kept_all.insert(kept_all.end(), mbufs, mbufs + kept);
    }
    mbufs_ = std::move(kept_all);
    taker_->take_back(mbufs_, kBursts * handed_of_burst);
  }

  void add(const std::string& name, const std::vector<double>& without,
           const std::vector<double>& with) {
    std::vector<double> ratios;
    for (size_t i = 0; i < with.size(); ++i) ratios.push_back(with[i] / without[i]);
    report_.add(Figure{.name = name,
                       .value = median(with),
                       .unit = "cycles/packet",
                       .baseline_name = "without-spreading",
                       .baseline_value = median(without),
                       .ratio = median(ratios),
                       .runs = with});
  }

  Report& report_;
  const size_t rounds_, passes_;
  const std::vector<uint32_t> own_ = sources_of(0), others_ = sources_of(1);
  rte_mempool* buffers_ = nullptr;
  std::vector<io::Port> ports_;
  std::vector<publish::Doorbell> bells_{kWorkers};  // nobody listens
  std::unique_ptr<io::Spreader> spreader_;
  std::unique_ptr<Taker> taker_;
  std::vector<rte_mbuf*> mbufs_;
};

int run(const Options& options) {
  Report report(options);
  io::install_log_sink([](io::LogLevel, std::string_view) {});
  const auto started =
      io::start_eal({.main_core = 0,
                     .worker_cores = {},
                     .memory_mib = 128,
                     .file_prefix = "turnpike-spread-bench-" + std::to_string(getpid()),
                     .pci_devices = {},
                     .extra = {"--no-telemetry"}});
  if (!started) give_up(started.error());
  Bench(report, options.quick).run();
  io::stop_eal();
  return report.write_json() ? 0 : 1;
}

}  // namespace
}  // namespace turnpike::bench

int main(int argc, char** argv) {
  return turnpike::bench::run(turnpike::bench::parse_options(argc, argv));
}

#include "control/daemon/host.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "control/session/session_thread.h"
#include "dataplane/base/numa.h"
#include "dataplane/crypto/system_random.h"
#include "dataplane/io/log.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::daemon {
namespace {

constexpr unsigned kEthernetBytes =
    14 + 4;  // with room for a VLAN tag, so that such a frame is seen
constexpr unsigned kBufferCache = 256;

crypto::AeadBackend backend_of(config::AeadChoice choice) {
  switch (choice) {
    case config::AeadChoice::Auto:
      return crypto::AeadBackend::Auto;
    case config::AeadChoice::IpsecMb:
      return crypto::AeadBackend::IpsecMb;
    case config::AeadChoice::Libsodium:
      return crypto::AeadBackend::Libsodium;
    case config::AeadChoice::Cryptodev:
      return crypto::AeadBackend::Cryptodev;
  }
  return crypto::AeadBackend::Auto;
}

io::Spread spread_of(config::SpreadPolicy policy) {
  switch (policy) {
    case config::SpreadPolicy::Auto:
      return io::Spread::Auto;
    case config::SpreadPolicy::Always:
      return io::Spread::Always;
    case config::SpreadPolicy::Never:
      return io::Spread::Never;
  }
  return io::Spread::Auto;
}

uint16_t longest_frame(const config::Config& config) {
  // Drivers expect buffers of at least 2 KiB (RTE_MBUF_DEFAULT_DATAROOM), whatever the MTU.
  uint16_t mtu = 2'048 - kEthernetBytes;
  for (const config::Port& port : config.ports) mtu = std::max(mtu, port.mtu);
  return static_cast<uint16_t>(mtu + kEthernetBytes);
}

// Every queue full both ways, what the workers hold and cache, and as much again in reserve for the rings. A port with one
// queue has two rings of io::Spreader in place of each queue that it lacks; one that is spread by order has a ring for
// each pair of workers beside its queues.
uint32_t buffers_needed(const config::Config& config) {
  const auto workers = static_cast<uint32_t>(config.dataplane.workers.size());
  uint32_t frames = workers * (2 * kBufferCache + 4 * kBurstMax) + 4'096 - 1;
  for (const config::Port& port : config.ports) {
    frames += workers * 2 * 1'024;
    if (port.spread == config::SpreadPolicy::Always) {
      frames += workers * (workers - 1) * io::Spreader::kRingFrames;
    }
  }
  return frames;
}

// With `auto` it is one of those that are measured.
bool uses_crypto_device(const config::Config& config) {
  return !config.dataplane.crypto_device.empty() &&
         (config.dataplane.aead == config::AeadChoice::Auto ||
          config.dataplane.aead == config::AeadChoice::Cryptodev);
}

}  // namespace

Instant monotonic_now() { return session::SessionThread::read_clocks().instant; }

Result<std::unique_ptr<Host>, std::string> Host::start(const config::Config& config) {
  // Design, 4: workers x burst stay far below the distance between the limit and the end of the counter.
  static_assert(kMaxWorkers * kBurstMax < (1u << 13));
  crypto::SystemRandom random;
  std::unique_ptr<Host> host(
      new Host(random, place_tables(config.dataplane.workers, NumaNodes(), can_place_memory)));
  for (const std::string& warning : host->placement_.warnings) spdlog::warn("{}", warning);
  for (const Placement::Copy& copy : host->placement_.copies) {
    host->table_pages_.push_back(std::make_unique<ReadyPages>(
        SystemPages::Options{.hugepages = config.dataplane.hugepages,
                             .numa_node = copy.placed ? static_cast<int>(*copy.node) : -1}));
    if (host->placement_.copies.size() > 1) {
      spdlog::info("NUMA node {}: has its own copy of the look-up tables", *copy.node);
    }
  }
  if (!host->peers.valid()) {
    return fail(std::string("memory for the peer table is short"));
  }
  host->eal_ = {.main_core = config.dataplane.main_core,
                .worker_cores = {config.dataplane.workers.begin(), config.dataplane.workers.end()},
                .session_cores = {config.dataplane.session_cores.begin(),
                                  config.dataplane.session_cores.end()},
                .hugepages = config.dataplane.hugepages,
                .memory_mib = config.dataplane.memory_mib,
                .file_prefix = config.dataplane.file_prefix,
                .pci_devices = {},
                .extra = config.dataplane.eal};
  for (const config::Port& port : config.ports) {
    if (io::is_pci_address(port.device)) host->eal_.pci_devices.push_back(port.device);
  }
  if (uses_crypto_device(config) && io::is_pci_address(config.dataplane.crypto_device)) {
    host->eal_.pci_devices.push_back(config.dataplane.crypto_device);
  }
  if (auto started = io::start_eal(host->eal_); !started) return fail(std::move(started.error()));
  host->eal_started_ = true;
  host->keypair_pages.start();  // on this thread's core from now on
  if (auto opened = host->open_ports(config); !opened) return fail(std::move(opened.error()));
  if (auto made = host->make_workers(config); !made) return fail(std::move(made.error()));
  return host;
}

Result<void, std::string> Host::open_ports(const config::Config& config) {
  buffers_ =
      io::make_buffers("packets", buffers_needed(config), longest_frame(config), kBufferCache);
  if (buffers_ == nullptr) {
    return fail("memory for " + std::to_string(buffers_needed(config)) +
                " packet buffers is short; raise dataplane.memory (now " +
                std::to_string(config.dataplane.memory_mib) + " MiB): " + io::take_last_errors());
  }
  for (const config::Port& port : config.ports) {
    auto opened =
        io::Port::open({.name = port.name,
                        .device = port.device,
                        .mtu_bytes = port.mtu,
                        .workers = static_cast<uint16_t>(config.dataplane.workers.size()),
                        .spread = spread_of(port.spread),
                        .rx_interrupts = config.dataplane.idle == config::IdlePolicy::Adaptive},
                       buffers_);
    if (!opened) return fail(std::move(opened.error()));
    if (opened->spread_in_software()) {
      spdlog::info("port {}: {} {} for {} workers, which share out its flows among themselves",
                   port.name, opened->queues(), opened->queues() == 1 ? "queue" : "queues",
                   config.dataplane.workers.size());
    }
    ports_.push_back(std::move(*opened));
  }
  return {};
}

Result<void, std::string> Host::choose_aead(const config::Config& config) {
  aead_speeds_ = crypto::measure_aeads(backend_of(config.dataplane.aead), monotonic_now);
  if (uses_crypto_device(config)) {
    auto opened = io::CryptoDevice::open(
        {.device = config.dataplane.crypto_device,
         .queue_pairs = static_cast<uint16_t>(config.dataplane.workers.size()),
         .sessions = config.dataplane.crypto_sessions});
    if (!opened) return fail(std::move(opened.error()));
    crypto_device_ = std::move(*opened);
    const double speed = crypto_device_->measure(monotonic_now);
    if (speed == 0) {
      return fail("dataplane.crypto_device (" + config.dataplane.crypto_device +
                  "): does not seal what it is given: " + io::take_last_errors());
    }
    aead_speeds_.push_back({crypto::AeadBackend::Cryptodev, speed});
    std::ranges::stable_sort(aead_speeds_, std::ranges::greater{},
                             &crypto::AeadSpeed::bits_per_second);
  }
  if (aead_speeds_.empty()) {
    return fail(
        std::string("dataplane.aead: ipsec-mb does not work on this CPU; use auto or libsodium"));
  }
  if (aead_speeds_.front().backend != crypto::AeadBackend::Cryptodev) crypto_device_.reset();
  return {};
}

std::unique_ptr<crypto::Aead> Host::make_aead(WorkerIndex worker) {
  return crypto_device_ != nullptr ? crypto_device_->aead(worker)
                                   : crypto::make_aead(aead_speeds_.front().backend);
}

Result<void, std::string> Host::make_workers(const config::Config& config) {
  shared_ = std::make_unique<pipeline::Shared>(pipeline::Shared{
      .peers = peers, .keypairs = keypairs, .neighbours = neighbours, .offloads = {}});
  for (size_t i = 0; i < ports_.size(); ++i) shared_->offloads[i] = ports_[i].offloads();
  if (auto chosen = choose_aead(config); !chosen) return fail(std::move(chosen.error()));
  auto spreader = io::Spreader::make(ports_, config.dataplane.workers.size(),
                                     static_cast<uint32_t>(crypto::SystemRandom().next_u64()));
  if (!spreader) return fail(std::move(spreader.error()));
  spreader_ = std::move(*spreader);
  std::vector<io::WorkerOptions> options;
  std::vector<publish::Doorbell*> bells;
  for (size_t i = 0; i < config.dataplane.workers.size(); ++i) {
    doors.push_back(std::make_unique<publish::Door>(epoch, pages, longest_frame(config),
                                                    placement_.workers[i].replica));
    if (!doors.back()->punt.valid() || !doors.back()->inject.valid()) {
      return fail(std::string("memory for the rings of the workers is short"));
    }
    bells.push_back(&doors.back()->bell);
    aeads_.push_back(make_aead(static_cast<WorkerIndex>(i)));
    if (aeads_.back() == nullptr) {
      return fail(
          std::string("memory for the crypto device's queues is short; raise dataplane.memory"));
    }
    options.push_back({.index = static_cast<WorkerIndex>(i),
                       .idle = config.dataplane.idle == config::IdlePolicy::Poll
                                   ? io::Idle::Poll
                                   : io::Idle::Adaptive,
                       .ports = ports_,
                       .buffers = buffers_,
                       .door = doors.back().get(),
                       .shared = shared_.get(),
                       .aead = aeads_.back().get(),
                       .spreader = spreader_.get()});
  }
  if (spreader_ != nullptr) spreader_->use_bells(std::move(bells));
  workers_ = std::make_unique<io::Workers>(std::move(options));
  return {};
}

void Host::tell_how_workers_sleep() const {
  std::string without;
  for (const io::Port& port : ports_) {
    if (!port.rx_interrupts()) without += (without.empty() ? "" : ", ") + port.name();
  }
  if (!doors.front()->bell.valid()) {
    spdlog::info("idle workers sleep shortly: the kernel has no membarrier(2)");
  } else if (!without.empty()) {
    spdlog::info("idle workers sleep shortly: no RX interrupts of port {}", without);
  } else {
    spdlog::info("idle workers wait for RX interrupts");
  }
}

Host::~Host() {
  stop_workers();
  spreader_.reset();
  ports_.clear();
  aeads_.clear();
  crypto_device_.reset();
  if (eal_started_) io::stop_eal();
}

void Host::start_workers() { workers_->start(); }

void Host::stop_workers() {
  if (workers_ != nullptr) workers_->stop();
}

bool Host::tables_are_huge() const noexcept {
  return std::ranges::all_of(table_pages_, [](const auto& source) { return source->all_huge(); });
}

ReplicaPages Host::table_pages() const {
  std::vector<RoomSource*> each;
  for (const auto& source : table_pages_) each.push_back(source.get());
  return ReplicaPages(each);
}

std::vector<MacAddress> Host::macs() const {
  std::vector<MacAddress> macs;
  for (const io::Port& port : ports_) macs.push_back(port.mac());
  return macs;
}

}  // namespace turnpike::daemon

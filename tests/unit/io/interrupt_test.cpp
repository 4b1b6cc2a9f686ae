// A worker that waits for RX interrupts, on each kind of virtual port that has them: the other end is a port of the
// same process.
#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/crypto/aead.h"
#include "dataplane/io/log.h"
#include "dataplane/io/worker.h"
#include "tests/support/worker_parts.h"
#include "tests/unit/io/eal_environment.h"

namespace turnpike::io {
namespace {

constexpr int kTries = 200'000;

class Environment final : public test::EalEnvironment {
 public:
  Environment() : EalEnvironment("interrupt-test") {}
  void SetUp() override {
    EalEnvironment::SetUp();
    buffers = make_buffers("interrupt-test", 8'191, 2'048, 64);
    ASSERT_NE(buffers, nullptr) << take_last_errors();
  }
  static inline rte_mempool* buffers = nullptr;
};

const auto* const environment = testing::AddGlobalTestEnvironment(new Environment);

// An ARP request as any neighbour sends it, padded to the shortest Ethernet frame.
struct Arp {
  uint8_t bytes[60] = {};
  explicit Arp(uint8_t last_octet) {
    std::memset(bytes, 0xff, 6);
    bytes[6] = bytes[22] = 0x02;
    store_be16(&bytes[12], 0x0806);
    store_be16(&bytes[14], 1);
    store_be16(&bytes[16], 0x0800);
    bytes[18] = 6;
    bytes[19] = 4;
    store_be16(&bytes[20], 1);
    bytes[41] = last_octet;
  }
};

enum class Kind : uint8_t { Vhost, VirtioUser, VirtioUserPacked, VirtioUserServer };

class WaitingWorker : public testing::TestWithParam<Kind>, protected turnpike::test::WorkerParts {
 protected:
  void SetUp() override {
    // The one that listens first.
    std::string listens = "net_vhost0,iface=" + socket_ + ",queues=1";
    std::string connects = "net_virtio_user0,path=" + socket_ + ",queues=1,queue_size=1024";
    if (GetParam() == Kind::VirtioUserPacked) {
      connects += ",packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1";
    } else if (GetParam() == Kind::VirtioUserServer) {
      listens += ",client=1";
      connects += ",server=1";
    }
    const bool worker_listens = GetParam() == Kind::Vhost;
    far_device_ = worker_listens ? connects : listens;
    open(worker_listens ? ports_ : far_, listens, worker_listens);
    open(worker_listens ? far_ : ports_, connects, !worker_listens);
    ASSERT_TRUE(ports_[0].rx_interrupts());
    wait_until_up();
    snapshot.generation = 7;
    snapshot.port_count = 1;
    snapshot.ports[0].mac = ports_[0].mac();
    spreader_ = std::move(*Spreader::make(ports_, workers(), 1));
    std::vector<publish::Doorbell*> bells;
    for (size_t i = 0; i < workers(); ++i) {
      workers_.push_back(std::make_unique<Worker>(epoch, pages));
      Worker& worker = *workers_.back();
      ASSERT_TRUE(worker.door.bell.valid());
      bells.push_back(&worker.door.bell);
      worker.door.publish(&snapshot);
      worker.options = {.index = static_cast<WorkerIndex>(i),
                        .idle = Idle::Adaptive,
                        .ports = ports_,
                        .buffers = Environment::buffers,
                        .door = &worker.door,
                        .shared = &shared,
                        .aead = worker.aead.get(),
                        .spreader = spreader_.get()};
    }
    if (spreader_ != nullptr) spreader_->use_bells(bells);
    for (const auto& worker : workers_) {
      worker->thread =
          std::thread([this, &worker = *worker] { run_worker(worker.options, stop_); });
    }
  }
  void TearDown() override {
    stop();
    spreader_.reset();
    // Who connected first.
    (GetParam() == Kind::Vhost ? far_ : ports_).clear();
    ports_.clear();
    far_.clear();
    std::filesystem::remove(socket_);
  }

  void open(std::vector<Port>& into, const std::string& device, bool rx_interrupts) {
    auto opened =
        Port::open({.name = device.substr(0, device.find(',')),
                    .device = device,
                    .workers = rx_interrupts ? static_cast<uint16_t>(workers()) : uint16_t{1},
                    .rx_interrupts = rx_interrupts},
                   Environment::buffers);
    ASSERT_TRUE(opened) << opened.error();
    into.push_back(std::move(*opened));
  }

  void stop() {
    stop_ = true;
    for (const auto& worker : workers_) {
      worker->door.bell.ring();
      if (worker->thread.joinable()) worker->thread.join();
    }
  }
  void wait_until_up() {
    for (int i = 0; i < kTries && !(ports_[0].stats().up && far_[0].stats().up); ++i) usleep(50);
  }
  // Until it waits: turns become rare, and stay so, or it has only been kept from its CPU.
  void wait_until_it_waits(size_t worker = 0) {
    for (int i = 0, rare = 0; i < 400; ++i) {
      const uint64_t before = counters(worker).turns.value();
      usleep(150'000);
      rare = counters(worker).turns.value() - before <= 12 ? rare + 1 : 0;
      if (rare == 2) return;
    }
    FAIL() << "it does not wait";
  }

  void send_from_afar(uint8_t first, uint16_t count) {
    std::vector<rte_mbuf*> mbufs(count);
    ASSERT_EQ(rte_pktmbuf_alloc_bulk(Environment::buffers, mbufs.data(), count), 0);
    for (uint16_t i = 0; i < count; ++i) {
      const Arp arp(static_cast<uint8_t>(first + i));
      std::memcpy(rte_pktmbuf_append(mbufs[i], sizeof(arp.bytes)), arp.bytes, sizeof(arp.bytes));
    }
    // In bursts as they are usual.
    for (uint16_t sent = 0; sent < count;) {
      const auto burst = std::min<uint16_t>(32, static_cast<uint16_t>(count - sent));
      const uint16_t taken = rte_eth_tx_burst(far_[0].dpdk_id(), 0, &mbufs[sent], burst);
      ASSERT_NE(taken, 0);
      sent = static_cast<uint16_t>(sent + taken);
    }
  }
  [[nodiscard]] bool received(uint64_t packets) const {
    for (int i = 0; i < kTries; ++i) {
      if (counters().ports[0].rx_packets.value() >= packets) return true;
      usleep(50);
    }
    return false;
  }
  [[nodiscard]] uint16_t received_afar() const {
    for (int i = 0; i < kTries; ++i) {
      rte_mbuf* mbufs[32];
      const uint16_t count = rte_eth_rx_burst(far_[0].dpdk_id(), 0, mbufs, 32);
      rte_pktmbuf_free_bulk(mbufs, count);
      if (count != 0) return count;
      usleep(50);
    }
    return 0;
  }
  // Without the bell.
  void inject_unheard(size_t worker = 0) {
    publish::InjectRing& ring = workers_[worker]->door.inject;
    publish::InjectRing::Slot* slot = ring.try_begin();
    ASSERT_NE(slot, nullptr);
    const Arp arp(9);
    std::memcpy(slot->data(), arp.bytes, sizeof(arp.bytes));
    slot->length_bytes = sizeof(arp.bytes);
    slot->header = {.kind = publish::InjectKind::Frame, .port = 0, .tunnel = kNoTunnel, .peer = {}};
    ring.commit();
  }
  [[nodiscard]] const publish::Counters& counters(size_t worker = 0) const {
    return workers_[worker]->door.counters;
  }
  [[nodiscard]] uint64_t interrupts(size_t worker = 0) const {
    return counters(worker).interrupts.value();
  }
  [[nodiscard]] publish::IdleBy idle_by() const {
    return counters().idle_by.load(std::memory_order_relaxed);
  }
  [[nodiscard]] virtual size_t workers() const { return 1; }

  const std::string socket_ =
      std::filesystem::temp_directory_path() / ("turnpike-interrupt-" + std::to_string(getpid()));
  std::string far_device_;
  std::vector<Port> ports_, far_;
  std::unique_ptr<Spreader> spreader_;
  struct Worker {
    Worker(publish::Epoch& epoch, PageSource& pages) : door(epoch, pages, 2'048) {}
    publish::Door door;
    std::unique_ptr<crypto::Aead> aead = crypto::make_aead(crypto::AeadBackend::Auto);
    WorkerOptions options;
    std::thread thread;
  };
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<bool> stop_{false};
};

// Where the kind of port does not matter.
class OneWaitingWorker : public WaitingWorker {};

TEST_P(WaitingWorker, IsWokenByPacketsAndByTheBellAndLosesNothing) {
  // More than once: nothing may stay armed, or silent, from the time before.
  uint64_t packets = 0;
  for (const uint16_t count : {1, 500, 1}) {
    wait_until_it_waits();
    const uint64_t before = interrupts();
    send_from_afar(1, count);
    ASSERT_TRUE(received(packets += count)) << counters().ports[0].rx_packets.value();
    EXPECT_GT(interrupts(), before);
  }
  wait_until_it_waits();
  const uint64_t before = interrupts();
  inject_unheard();
  workers_[0]->door.bell.ring();
  EXPECT_EQ(received_afar(), 1);
  EXPECT_GT(interrupts(), before);
  EXPECT_EQ(idle_by(), publish::IdleBy::WaitingForInterrupts);
}

TEST_P(OneWaitingWorker, HoldsUpNoRetirementAndSeesWhatIsPublished) {
  wait_until_it_waits();
  const uint64_t tag = epoch.retire();
  for (int i = 0; i < kTries && !epoch.passed(tag); ++i) usleep(50);
  EXPECT_TRUE(epoch.passed(tag));
  publish::Snapshot next = snapshot;
  next.generation = 8;
  workers_[0]->door.publish(&next);
  for (int i = 0; i < kTries && counters().generation.value() != 8; ++i) usleep(50);
  EXPECT_EQ(counters().generation.value(), 8u);
  stop();  // before `next` goes
}

TEST_P(OneWaitingWorker, TurnsToSleepsWhereItIsNotWokenWhateverRings) {
  for (uint64_t i = 1; i <= 3; ++i) {
    wait_until_it_waits();
    EXPECT_EQ(idle_by(), publish::IdleBy::WaitingForInterrupts) << i;
    workers_[0]->door.bell.ring();
    wait_until_it_waits();
    EXPECT_EQ(interrupts(), i);
    // As a driver that loses one.
    ASSERT_EQ(rte_eth_dev_rx_intr_disable(ports_[0].dpdk_id(), 0), 0);
    send_from_afar(1, 1);
    ASSERT_TRUE(received(i));
  }
  for (int i = 0; i < kTries && idle_by() != publish::IdleBy::Sleeping; ++i) usleep(50);
  EXPECT_EQ(idle_by(), publish::IdleBy::Sleeping);
  EXPECT_EQ(interrupts(), 3u);
}

TEST_P(OneWaitingWorker, TrustsInterruptsWhateverElseItFindsLate) {
  for (int i = 1; i <= 4; ++i) {
    wait_until_it_waits();
    inject_unheard();
    EXPECT_EQ(received_afar(), 1);
  }
  wait_until_it_waits();
  EXPECT_EQ(idle_by(), publish::IdleBy::WaitingForInterrupts);
  EXPECT_EQ(interrupts(), 0u);
}

TEST_P(OneWaitingWorker, WaitsAgainAfterAShortageOfDescriptors) {
  wait_until_it_waits();
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  // Several tries, a second or more apart; meanwhile it sleeps.
  const uint64_t turns = counters().turns.value();
  sleep(5);
  EXPECT_GT(counters().turns.value() - turns, 5'000u);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  wait_until_it_waits();
  EXPECT_EQ(idle_by(), publish::IdleBy::WaitingForInterrupts);
  send_from_afar(1, 1);
  EXPECT_TRUE(received(1));
  EXPECT_EQ(interrupts(), 1u);
}

// The port has one queue, so that the second worker has nothing but what the first hands it.
class TwoWaitingWorkers : public WaitingWorker {
 protected:
  [[nodiscard]] size_t workers() const override { return 2; }
};

TEST_P(TwoWaitingWorkers, WakeEachOther) {
  wait_until_it_waits(0);
  wait_until_it_waits(1);
  EXPECT_EQ(interrupts(0) + interrupts(1), 0u);
  inject_unheard(1);
  workers_[1]->door.bell.ring();
  EXPECT_EQ(received_afar(), 1);
  EXPECT_EQ(interrupts(0), 1u);
  EXPECT_EQ(interrupts(1), 1u);
}

// Where the other end can come back by itself.
class WaitingWorkerAndReconnect : public WaitingWorker {};

TEST_P(WaitingWorkerAndReconnect, IsWokenByPacketsOfAnOtherEndThatIsBack) {
  uint64_t packets = 0;
  for (int i = 0; i < 3; ++i) {
    wait_until_it_waits();
    (void)take_last_errors();
    far_.clear();
    for (int tries = 0; tries < kTries && ports_[0].stats().up; ++tries) usleep(50);
    usleep(50'000);
    // As virtio-user's driver says where its handler was registered twice.
    EXPECT_EQ(take_last_errors().find("unregister failed"), std::string::npos);
    open(far_, far_device_, false);
    wait_until_up();
    wait_until_it_waits();
    const uint64_t before = interrupts();
    send_from_afar(1, 500);
    ASSERT_TRUE(received(packets += 500)) << counters().ports[0].rx_packets.value();
    EXPECT_GT(interrupts(), before);
  }
  EXPECT_EQ(idle_by(), publish::IdleBy::WaitingForInterrupts);
}

std::string name_of(const testing::TestParamInfo<Kind>& kind) {
  switch (kind.param) {
    case Kind::Vhost:
      return "Vhost";
    case Kind::VirtioUser:
      return "VirtioUser";
    case Kind::VirtioUserPacked:
      return "VirtioUserPacked";
    case Kind::VirtioUserServer:
      return "VirtioUserServer";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Ports, WaitingWorker,
                         testing::Values(Kind::Vhost, Kind::VirtioUser, Kind::VirtioUserPacked,
                                         Kind::VirtioUserServer),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Ports, OneWaitingWorker, testing::Values(Kind::VirtioUser), name_of);
INSTANTIATE_TEST_SUITE_P(Ports, TwoWaitingWorkers, testing::Values(Kind::Vhost), name_of);
INSTANTIATE_TEST_SUITE_P(Ports, WaitingWorkerAndReconnect,
                         testing::Values(Kind::Vhost, Kind::VirtioUserServer), name_of);

TEST(RxInterrupts, ArePromisedOnlyByPortsThatHaveThem) {
  auto opened = Port::open({.name = "loop", .device = "net_ring0", .rx_interrupts = true},
                           Environment::buffers);
  ASSERT_TRUE(opened) << opened.error();
  EXPECT_FALSE(opened->rx_interrupts());
}

}  // namespace
}  // namespace turnpike::io

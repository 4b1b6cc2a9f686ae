// The EAL, ports and the worker loop on DPDK's in-memory ports: a net_ring port gives back what is sent.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "dataplane/crypto/aead.h"
#include "dataplane/io/eal.h"
#include "dataplane/io/log.h"
#include "dataplane/io/port.h"
#include "dataplane/io/turn_meter.h"
#include "dataplane/io/worker.h"
#include "tests/support/worker_parts.h"

namespace turnpike::io {
namespace {

const EalOptions& eal_options() {
  static const EalOptions options{.main_core = 0,
                                  .worker_cores = {0},
                                  .memory_mib = 128,
                                  .file_prefix = "turnpike-io-test-" + std::to_string(getpid()),
                                  .pci_devices = {},
                                  .extra = {"--no-telemetry"}};
  return options;
}

// One EAL for the process; DPDK cannot start a second one.
class Environment final : public testing::Environment {
 public:
  void SetUp() override {
    install_log_sink({});
    const auto started = start_eal(eal_options());
    ASSERT_TRUE(started) << started.error();
    buffers = make_buffers("io-test", 4'095, 2'048, 64);
    ASSERT_NE(buffers, nullptr) << take_last_errors();
  }
  void TearDown() override { stop_eal(); }
  static inline rte_mempool* buffers = nullptr;
};

const auto* const environment = testing::AddGlobalTestEnvironment(new Environment);

TEST(StartEal, NamesACpuThatDoesNotExistAndThoseThatDo) {
  EalOptions options = eal_options();
  options.worker_cores = {4'000};
  const auto started = start_eal(options);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().find("dataplane.workers: CPU 4000"), std::string::npos)
      << started.error();
  EXPECT_NE(started.error().find("there are 0"), std::string::npos) << started.error();
}

TEST(StartEal, NamesAMissingCpuOfTheSessionThread) {
  EalOptions options = eal_options();
  options.session_cores = {0, 4'000};
  const auto started = start_eal(options);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().find("dataplane.session_cores: CPU 4000"), std::string::npos)
      << started.error();
}

TEST(StartEal, SaysWhatFailedInItsErrorAndNowhereElse) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const auto started = start_eal(eal_options());  // for the second time, which DPDK cannot
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().find('\n'), std::string::npos);
}

TEST(StartEal, NamesMemoryThatTheMachineDoesNotHave) {
  EalOptions options = eal_options();
  options.memory_mib = 1u << 30;
  const auto started = start_eal(options);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().find("dataplane.memory: 1073741824 MiB are more than the "),
            std::string::npos)
      << started.error();
}

TEST(IsPciAddress, TellsPciFromVirtualDevices) {
  EXPECT_TRUE(is_pci_address("0000:03:00.0"));
  EXPECT_TRUE(is_pci_address("03:00.1,some=option"));
  EXPECT_FALSE(is_pci_address("net_af_packet0,iface=wan0"));
  EXPECT_FALSE(is_pci_address(""));
}

TEST(OpenPort, SaysInOneLineWhatIsWrong) {
  for (const char* device :
       {"net_no_such_driver0", "net_af_packet7,iface=tp-missing", "ffff:00:1f.7"}) {
    const auto port = Port::open({.name = "outside", .device = device}, Environment::buffers);
    ASSERT_FALSE(port) << device;
    EXPECT_EQ(port.error().find("port outside (" + std::string(device) + "): "), 0u)
        << port.error();
    EXPECT_EQ(port.error().find('\n'), std::string::npos);
  }
}

TEST(OpenPort, RefusesAPortWithFewerQueuesThanWorkersWhereItMustSpreadItself) {
  const auto port = Port::open(
      {.name = "inside", .device = "net_ring9", .workers = 60'000, .spread = Spread::Never},
      Environment::buffers);
  ASSERT_FALSE(port);
  EXPECT_NE(port.error().find("60000 workers"), std::string::npos) << port.error();
}

TEST(TurnMeter, LeavesATurnThatLostTheCoreOut) {
  publish::Counters counters;
  TurnMeter meter(counters, 2'000'000'000);
  meter.note_turn(10'000, 32);
  meter.note_turn(400, 0);
  meter.note_turn(8'000'000, 32);  // 4 ms
  meter.note_turn(20'000, 64);
  meter.note_rest(1'000'000);
  EXPECT_EQ(counters.turns.value(), 4u);
  EXPECT_EQ(counters.total_cycles.value(), 1'030'400u);
  EXPECT_EQ(counters.busy_cycles.value(), 30'000u);
  EXPECT_EQ(counters.busy_packets.value(), 96u);
}

// A worker in a thread of the test, over one looped port.
class WorkerTest : public testing::Test, protected turnpike::test::WorkerParts {
 protected:
  void SetUp() override {
    auto opened = Port::open({.name = "loop", .device = "net_ring0"}, Environment::buffers);
    ASSERT_TRUE(opened) << opened.error();
    ports.push_back(std::move(*opened));
    snapshot.generation = 7;
    snapshot.port_count = 1;
    snapshot.ports[0].mac = ports[0].mac();
    door = std::make_unique<publish::Door>(epoch, pages, 2'048);
    door->publish(&snapshot);
    aead = crypto::make_aead(crypto::AeadBackend::Auto);
    options = {.index = 0,
               .idle = Idle::Adaptive,
               .ports = ports,
               .buffers = Environment::buffers,
               .door = door.get(),
               .shared = &shared,
               .aead = aead.get()};
    thread = std::thread([this] { run_worker(options, stop); });
  }
  void TearDown() override {
    stop = true;
    thread.join();
    ports.clear();
  }

  // An ARP request as any neighbour sends it, padded to the shortest Ethernet frame.
  void inject_arp(uint8_t last_octet) {
    publish::InjectRing::Slot* slot = nullptr;
    while ((slot = door->inject.try_begin()) == nullptr) std::this_thread::yield();
    uint8_t frame[60] = {};
    std::memset(frame, 0xff, 6);
    frame[6] = 0x02;
    store_be16(&frame[12], 0x0806);
    store_be16(&frame[14], 1);
    store_be16(&frame[16], 0x0800);
    frame[18] = 6;
    frame[19] = 4;
    store_be16(&frame[20], 1);
    frame[22] = 0x02;
    frame[41] = last_octet;
    std::memcpy(slot->data(), frame, sizeof(frame));
    slot->length_bytes = sizeof(frame);
    slot->header = {.kind = publish::InjectKind::Frame, .port = 0, .tunnel = kNoTunnel, .peer = {}};
    door->inject.commit();
  }
  publish::PuntRing::Slot* wait_for_punt() {
    for (int i = 0; i < 200'000; ++i) {
      if (auto* slot = door->punt.front()) return slot;
      usleep(50);
    }
    return nullptr;
  }

  std::unique_ptr<publish::Door> door;
  std::unique_ptr<crypto::Aead> aead;
  std::vector<Port> ports;
  WorkerOptions options;
  std::atomic<bool> stop{false};
  std::thread thread;
};

TEST_F(WorkerTest, SendsWhatIsInjectedAndPuntsWhatComesBackUnchangedAndInOrder) {
  constexpr int kFrames = 500;
  for (int i = 0; i < kFrames; ++i) {
    inject_arp(static_cast<uint8_t>(i));
    auto* slot = wait_for_punt();
    ASSERT_NE(slot, nullptr) << i;
    EXPECT_EQ(slot->header.kind, publish::PuntKind::Arp);
    EXPECT_EQ(slot->header.port, 0);
    ASSERT_GE(slot->length_bytes, 42u);
    EXPECT_EQ(slot->data()[41], static_cast<uint8_t>(i));
    door->punt.pop();
  }
  // Stopped, so that the sums are final.
  stop = true;
  thread.join();
  thread = std::thread([] {});
  EXPECT_EQ(door->counters.ports[0].tx_packets.value(), static_cast<uint64_t>(kFrames));
  EXPECT_EQ(door->counters.ports[0].rx_packets.value(), static_cast<uint64_t>(kFrames));
  EXPECT_EQ(door->counters.generation.value(), 7u);
  EXPECT_EQ(ports[0].stats().rx_packets, static_cast<uint64_t>(kFrames));
}

TEST_F(WorkerTest, NeverHoldsUpARetirementAlsoWhenItSleeps) {
  for (int i = 0; i < 50; ++i) {
    const uint64_t tag = epoch.retire();
    int waited = 0;
    while (!epoch.passed(tag) && ++waited < 200'000) usleep(50);
    ASSERT_TRUE(epoch.passed(tag)) << "round " << i;
    usleep(1'000);  // long enough for the worker to fall asleep
  }
}

TEST_F(WorkerTest, SeesTheNextSnapshotWithoutBeingTold) {
  publish::Snapshot next = snapshot;
  next.generation = 8;
  door->publish(&next);
  const uint64_t tag = epoch.retire();
  for (int i = 0; i < 200'000 && !epoch.passed(tag); ++i) usleep(50);
  for (int i = 0; i < 200'000 && door->counters.generation.value() != 8; ++i) usleep(50);
  EXPECT_EQ(door->counters.generation.value(), 8u);
  stop = true;  // before `next` goes
  thread.join();
  thread = std::thread([] {});
}

}  // namespace
}  // namespace turnpike::io

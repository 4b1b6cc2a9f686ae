// A worker with packets to work on asks the kernel for nothing and the heap for nothing. Its two net_ring ports
// give back what it sends, and its only peer is itself: what comes in from the inside is sealed, comes back from
// the outside, is opened, goes out inside, and so round until its TTL ends.
#include <errno.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "dataplane/io/crypto_device.h"
#include "dataplane/io/log.h"
#include "dataplane/io/worker.h"
#include "tests/unit/io/eal_environment.h"
#include "tests/unit/pipeline/gateway.h"

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void __libc_free(void*);
}

namespace {

// Of the worker's thread while `watching`.
thread_local bool is_worker = false;
std::atomic<bool> watching{false};
std::atomic<uint64_t> heap_calls{0};
std::atomic<int> first_syscall{-1};
// Where the kernel looks before each system call of the worker (syscall user dispatch). worker, main: write
volatile char selector = SYSCALL_DISPATCH_FILTER_ALLOW;

void note_heap_call() noexcept {
  if (is_worker && watching.load(std::memory_order_relaxed)) heap_calls.fetch_add(1);
}

// The call is not made. The first one ends the watch: what follows it may be its consequence.
void on_syscall(int, siginfo_t* info, void* context) {
  first_syscall.store(info->si_syscall);
  selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

}  // namespace

// The program's own, in front of the C library's.
extern "C" {
void* malloc(size_t bytes) {
  note_heap_call();
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  note_heap_call();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  note_heap_call();
  return __libc_realloc(memory, bytes);
}
void free(void* memory) {
  note_heap_call();
  __libc_free(memory);
}
}

namespace turnpike::io {
namespace {

using pipeline::test::ip;

constexpr PortIndex kOutside = 0, kInside = 1;
constexpr uint64_t kPackets = 50'000;
constexpr int kTries = 200;

Instant clock_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec)};
}

class Circle {
 public:
  // `crypto_device`: whose queue is the AEAD; nullptr: the gateway's own is.
  explicit Circle(rte_mempool* buffers, CryptoDevice* crypto_device = nullptr) : buffers_(buffers) {
    for (const char* device : {"net_ring0", "net_ring1"}) {
      auto port = Port::open({.name = device, .device = device}, buffers);
      CHECK(port);
      ports_.push_back(std::move(*port));
    }
    const MacAddress outside = ports_[kOutside].mac(), inside = ports_[kInside].mac();
    gateway_.now = clock_now();
    gateway_.add_port(outside, {"192.0.2.1/24"});
    gateway_.add_port(inside, {"10.0.0.1/24"});
    const TunnelIndex tunnel = gateway_.add_tunnel(kOutside, kInside, 51820);
    const PeerIndex self = gateway_.add_peer();
    gateway_.allow(tunnel, "0.0.0.0/0", self);
    gateway_.add_neighbour(kOutside, ip("192.0.2.1"), &outside);
    gateway_.add_neighbour(kInside, ip("10.0.0.2"), &inside);
    gateway_.set_endpoint(self, {ip("192.0.2.1"), 51820}, ip("192.0.2.1"), kOutside,
                          ip("192.0.2.1"));
    wireguard::Keypair& keypair = gateway_.add_keypair(tunnel, self, wireguard::Role::Initiator);
    keypair.sending().remote_index = gateway_.keypairs.index_of(keypair);
    gateway_.peers[self].send.current.store(&keypair);
    if (crypto_device != nullptr) {
      CHECK(crypto_device->admit(keypair.sending().key.data(), crypto::AeadDirection::Seal));
      CHECK(crypto_device->admit(keypair.receiving_key.data(), crypto::AeadDirection::Open));
      gateway_.workers[0]->aead = crypto_device->aead(0);
    }
    frame_ = pipeline::test::make_frame(
        inside, inside,
        pipeline::test::make_udp(ip("10.9.0.9"), ip("10.0.0.2"), 1, 2, pipeline::test::Blob(100),
                                 {.ttl = 255}));
    door().publish(&gateway_.snapshot);
    worker_ = std::thread([this] { work(); });
  }
  ~Circle() {
    stop_ = true;
    worker_.join();
  }

  publish::Door& door() { return gateway_.workers[0]->door; }
  uint64_t inbound_packets() { return door().counters.tunnels[0].inbound_packets.value(); }

  // Puts new packets into the circle, as long as there is room, until `packets` more came through the tunnel.
  void run(uint64_t packets) {
    const uint64_t until = inbound_packets() + packets;
    while (inbound_packets() < until) {
      if (publish::InjectRing::Slot* slot = door().inject.try_begin()) {
        std::memcpy(slot->data(), frame_.data(), frame_.size());
        slot->length_bytes = static_cast<uint32_t>(frame_.size());
        slot->header = {
            .kind = publish::InjectKind::Frame, .port = kInside, .tunnel = kNoTunnel, .peer = {}};
        door().inject.commit();
      }
      while (door().punt.front() != nullptr) door().punt.pop();  // those whose TTL ended
    }
  }

 private:
  void work() {
    const WorkerOptions options{.index = 0,
                                .idle = Idle::Poll,
                                .ports = ports_,
                                .buffers = buffers_,
                                .door = &door(),
                                .shared = &gateway_.shared,
                                .aead = gateway_.workers[0]->aead.get()};
    // The EAL left this thread on the main one's CPU.
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) CPU_SET(cpu, &all);
    CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
    CHECK(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector) == 0);
    is_worker = true;
    run_worker(options, stop_);
    is_worker = false;
  }

  rte_mempool* buffers_;
  pipeline::test::Gateway gateway_;
  std::vector<Port> ports_;
  pipeline::test::Blob frame_;
  std::atomic<bool> stop_{false};
  std::thread worker_;
};

TEST(Worker, HeapCallsAreCounted) {
  is_worker = true;
  watching = true;
  void* memory = malloc(1);
  asm volatile("" : "+r"(memory));
  free(memory);
  watching = false;
  is_worker = false;
  EXPECT_EQ(heap_calls.exchange(0), 2u);
}

class Environment final : public test::EalEnvironment {
 public:
  Environment() : EalEnvironment("steady-test") {}
  void SetUp() override {
    EalEnvironment::SetUp();
    if (testing::Test::HasFatalFailure()) return;
    struct sigaction action{};
    action.sa_sigaction = on_syscall;
    action.sa_flags = SA_SIGINFO;
    ASSERT_EQ(sigaction(SIGSYS, &action, nullptr), 0);
    buffers = make_buffers("steady-test", 8'191, 2'048, 64);
    ASSERT_NE(buffers, nullptr) << take_last_errors();
  }
  static inline rte_mempool* buffers = nullptr;
};

const auto* const environment = testing::AddGlobalTestEnvironment(new Environment);

void expect_steady(Circle& circle) {
  circle.run(kPackets);
  // A worker that this thread left without packets for a moment yields, which is its right: then again.
  int tries = 0;
  do {
    circle.run(1'000);
    first_syscall = -1;
    heap_calls = 0;
    watching = true;
    selector = SYSCALL_DISPATCH_FILTER_BLOCK;
    circle.run(kPackets);
    selector = SYSCALL_DISPATCH_FILTER_ALLOW;
    watching = false;
  } while (first_syscall == SYS_sched_yield && ++tries < kTries);
  EXPECT_EQ(first_syscall, -1) << "the number of a system call; " << tries << " tries";
  EXPECT_EQ(heap_calls, 0u);
  // Both ways, and nothing on the way but what its TTL ended or found a ring full.
  const publish::Counters& counters = circle.door().counters;
  EXPECT_GE(counters.tunnels[0].outbound_packets.value(), 2 * kPackets);
  EXPECT_EQ(counters.drops[static_cast<size_t>(DropReason::AuthenticationFailed)].value(), 0u);
  EXPECT_EQ(counters.drops[static_cast<size_t>(DropReason::SealFailed)].value(), 0u);
}

TEST(Worker, NeitherAllocatesNorCallsTheKernelWhileThereIsWork) {
  Circle circle(Environment::buffers);
  expect_steady(circle);
}

TEST(Worker, NeitherAllocatesNorCallsTheKernelWhileADeviceSealsForIt) {
  auto device = CryptoDevice::open({.device = "crypto_aesni_mb0", .sessions = 8});
  ASSERT_TRUE(device) << device.error();
  Circle circle(Environment::buffers, device->get());
  expect_steady(circle);
}

}  // namespace
}  // namespace turnpike::io

#include "tests/bench/control_world.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "control/gateway/file_transaction.h"
#include "control/state/plan.h"
#include "dataplane/base/check.h"
#include "dataplane/base/limits.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::bench {
namespace {

constexpr uint32_t kPeersInOneCommit = 10'000;
constexpr size_t kAddresses =
    1 << 18;  // 1 MiB: more than L1, less than the trie of the large table

// Random bytes, as those of a real key; the number alone makes them.
PublicKey key_of(uint32_t number) {
  std::mt19937_64 random(number);
  PublicKey key;
  for (size_t i = 0; i < key.bytes.size(); i += 8) store_be64(&key.bytes[i], random());
  return key;
}

Instant now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return Instant{static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 +
                 static_cast<uint64_t>(t.tv_nsec)};
}

config::Config one_tunnel() {
  config::Config config;
  config.ports.resize(2);
  config.ports[0].name = "outside";
  config.ports[0].addresses = {{.value = *parse_interface_address("192.0.2.1/24"), .at = {}}};
  config.ports[1].name = "inside";
  config.ports[1].addresses = {{.value = *parse_interface_address("10.0.0.1/24"), .at = {}}};
  config.tunnels.resize(1);
  config::Tunnel& tunnel = config.tunnels[0];
  tunnel.name = "wg0";
  tunnel.private_key.bytes()[0] = 8;
  tunnel.listen_port = 51820;
  tunnel.outside = "outside";
  tunnel.inside = "inside";
  return config;
}

}  // namespace

Reader::Reader(publish::Door& door, const std::vector<uint32_t>& addresses)
    : door_(door), thread_([this, &addresses] { run(addresses); }) {
  CHECK(pthread_getcpuclockid(thread_.native_handle(), &cpu_clock_) == 0);
}

Reader::~Reader() {
  set_mode(ReaderMode::Ending);
  thread_.join();
}

Done Reader::done() const noexcept {
  timespec t;
  clock_gettime(cpu_clock_, &t);
  return {
      .lookups = lookups_.load(std::memory_order_relaxed),
      .cpu_ns = static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec)};
}

void Reader::run(const std::vector<uint32_t>& addresses) noexcept {
  std::array<PeerIndex, kRxBurst> peers;
  uint64_t lookups = 0, sum = 0;
  size_t next = 0;
  door_.wake();
  for (;;) {
    const ReaderMode mode = mode_.load(std::memory_order_relaxed);
    if (mode == ReaderMode::Ending) break;
    const publish::Snapshot& snapshot = door_.begin_burst();
    lookup::lookup_burst(snapshot.tunnels[0].allowed_v4, {&addresses[next], kRxBurst}, peers);
    for (const PeerIndex peer : peers) sum += peer;
    next = (next + kRxBurst) % addresses.size();
    lookups_.store(lookups += kRxBurst, std::memory_order_relaxed);
    if (mode == ReaderMode::Idle) sched_yield();
  }
  door_.sleep();
  asm volatile("" : : "r"(sum));  // the look-ups are not optimised away
}

World::World(uint32_t prefixes, size_t readers, uint64_t seed) : random_(seed) {
  for (size_t i = 0; i < readers; ++i) {
    doors_.push_back(std::make_unique<publish::Door>(epoch_, pages_, 2048));
  }
  gateway::Gateway::Parts parts{.pages = pages_, .epoch = epoch_, .doors = {}, .session = session_};
  for (const auto& door : doors_) parts.doors.push_back(door.get());
  gateway_ = std::make_unique<gateway::Gateway>(std::move(parts));
  const config::Config config = one_tunnel();
  CHECK(gateway_->set_topology(
      gateway::topology_of(config, std::vector<MacAddress>(config.ports.size()))));
  commit(gateway::difference({}, config).transaction);

  prefixes_ = test::prefix_mix(test::Mix::Spread, prefixes, seed);
  owners_.resize(prefixes);
  for (uint32_t first = 0; first < prefixes; first += kPeersInOneCommit) {
    add_peers(first, std::min(kPeersInOneCommit, prefixes - first));
  }
  for (size_t i = 0; i < kAddresses; ++i) {
    addresses_.push_back(test::key_v4(test::address_in(prefixes_[random_() % prefixes], random_)));
  }
}

// The gateway needs no reader any more once they have ended.
World::~World() { stop_readers(); }

void World::add_peers(uint32_t first, uint32_t count) {
  state::Transaction transaction;
  for (uint32_t i = first; i < first + count; ++i) {
    owners_[i] = i;
    state::Edit edit;
    edit.op = state::Op::PeerAdd;
    edit.tunnel = "wg0";
    edit.public_key = key_of(i);
    edit.peer = edit.public_key;
    edit.patch = state::PeerPatch{};
    edit.prefixes = {prefixes_[i]};
    transaction.edits.push_back(std::move(edit));
  }
  commit(transaction);
  // Without readers nobody holds anything up.
  poll();
}

void World::start_readers() {
  for (const auto& door : doors_) readers_.push_back(std::make_unique<Reader>(*door, addresses_));
}

void World::set_readers(ReaderMode mode) {
  for (const auto& reader : readers_) reader->set_mode(mode);
}

Done World::done() const {
  Done sum;
  for (const auto& reader : readers_) {
    const Done one = reader->done();
    sum.lookups += one.lookups;
    sum.cpu_ns += one.cpu_ns;
  }
  return sum;
}

state::Transaction World::make_move() {
  const auto prefix = static_cast<uint32_t>(random_() % prefixes_.size());
  auto to = static_cast<uint32_t>(random_() % prefixes_.size());
  if (to == owners_[prefix]) to = (to + 1) % static_cast<uint32_t>(prefixes_.size());
  state::Edit edit;
  edit.op = state::Op::Move;
  edit.tunnel = "wg0";
  edit.peer = key_of(owners_[prefix]);
  edit.to = key_of(to);
  edit.prefixes = {prefixes_[prefix]};
  owners_[prefix] = to;
  state::Transaction transaction;
  transaction.edits.push_back(std::move(edit));
  return transaction;
}

void World::commit(const state::Transaction& transaction) {
  const auto change = state::plan(state_, transaction);
  if (!change) {
    std::fprintf(stderr, "refused: %s\n",
                 state::describe(change.error().conflicts.front()).c_str());
    std::exit(1);
  }
  if (const auto prepared = gateway_->prepare(*change); !prepared) {
    std::fprintf(stderr, "%s\n", prepared.error().c_str());
    std::exit(1);
  }
  const Generation generation = state_.apply(*change);
  ++committed_;
  gateway_->seal(generation);
  gateway_->commit(now(), [this](const gateway::Acknowledgement& answer) {
    // A worker that is late by a second is counted as if it had come: its time is in the figures.
    (void)answer;
    ++acknowledged_;
  });
}

void World::poll() { gateway_->poll(now()); }

void World::await_visible() {
  while (acknowledged_ < committed_) {
    gateway_->poll(now());
    if (acknowledged_ < committed_) sched_yield();
  }
}

uint64_t World::check(size_t samples) {
  uint64_t sum = 0;
  const publish::Snapshot& snapshot = gateway_->newest();
  for (size_t i = 0; i < samples; ++i) {
    const uint32_t address = addresses_[random_() % addresses_.size()];
    PeerIndex found = kNoPeer;
    lookup::lookup_burst(snapshot.tunnels[0].allowed_v4, {&address, 1}, {&found, 1});
    const state::Claim* claim = state_.longest_match(0, IpAddress::v4(address));
    const PeerIndex expected =
        claim == nullptr ? kNoPeer : gateway_->peers().find(state_.peer(claim->peer).id).index;
    if (found != expected || snapshot.generation != state_.generation()) {
      std::fprintf(stderr, "%s: the workers find %u, the state knows %u\n",
                   to_string(IpAddress::v4(address)).c_str(), found, expected);
      std::exit(1);
    }
    sum += found;
  }
  return sum;
}

}  // namespace turnpike::bench

// Control commits as fast as it can beside workers: whatever a worker finds in one burst, tries and peer slots alike, is
// of one generation. For ThreadSanitizer too.
#include <array>
#include <atomic>
#include <span>
#include <string>
#include <thread>

#include "dataplane/publish/peer_slots.h"
#include "tests/support/prefix_mix.h"
#include "tests/unit/gateway/gateway_fixture.h"

namespace turnpike::gateway {
namespace {

constexpr uint32_t kSlots = 6;
constexpr uint8_t kPrefixes = 100;
constexpr size_t kWorkers = 2;

// Does with the peer slots what the session thread does, at once. The port of a peer's endpoint says who it is.
class SlotSession final : public SessionLink {
 public:
  explicit SlotSession(publish::PeerSlots& slots) : slots_(slots) {}
  uint64_t post(std::vector<SessionCommand> commands) override {
    for (const SessionCommand& command : commands) {
      if (const auto* add = std::get_if<AddPeer>(&command)) {
        EXPECT_EQ(slots_.incarnation(add->settings.peer.index), 0u);
        slots_.set_endpoint(add->settings.peer.index, {.remote = add->settings.endpoint});
        slots_.set_incarnation(add->settings.peer.index, add->settings.peer.incarnation);
        most_incarnations = std::max(most_incarnations, add->settings.peer.incarnation);
      } else if (const auto* remove = std::get_if<RemovePeer>(&command)) {
        slots_.set_incarnation(remove->peer.index, 0);
        slots_.set_endpoint(remove->peer.index, {});
      }
    }
    return ++tickets_;
  }
  bool done(uint64_t) override { return true; }
  void publish(const publish::Snapshot*) override {}
  Incarnation most_incarnations = 0;

 private:
  publish::PeerSlots& slots_;
  uint64_t tickets_ = 0;
};

// Its one peer has all the prefixes.
config::Config with_peer(uint16_t number) {
  config::Config config = two_peers();
  config::Peer owner = peer("", 0, {});
  owner.name = "peer" + std::to_string(number);
  owner.public_key.bytes[1] = static_cast<uint8_t>(number);
  owner.public_key.bytes[2] = static_cast<uint8_t>(number >> 8);
  owner.endpoint = Endpoint{.address = *parse_ip("192.0.2.9"), .port = number};
  for (unsigned i = 0; i < kPrefixes; ++i) {
    const std::string n = std::to_string(i);
    for (const std::string& text : {"10.9." + n + ".0/24", "fd00:9:" + n + "::/48"}) {
      owner.allowed_ips.push_back({.prefix = *parse_prefix(text), .at = {}});
    }
  }
  config.tunnels[0].peers = {owner};
  return config;
}

class Worker {
 public:
  Worker(publish::Door& door, const publish::PeerSlots& slots, Generation first, uint64_t seed)
      : door_(door), slots_(slots), first_(first), random_(seed) {}

  void run(const std::atomic<bool>& done) {
    door_.wake();
    while (!done.load(std::memory_order_relaxed)) {
      burst();
      bursts.fetch_add(1, std::memory_order_relaxed);
    }
    door_.sleep();
  }

  std::atomic<uint64_t> bursts{0};
  uint64_t mixtures = 0;  // read when it has ended
  Generation last = 0;

 private:
  void burst() {
    const publish::Snapshot& snapshot = door_.begin_burst();
    if (snapshot.generation < last) ++mixtures;
    last = snapshot.generation;
    // Generation `first_` has peer 1, and each later one the next.
    const auto expected = static_cast<uint16_t>(snapshot.generation - first_ + 1);
    std::array<uint32_t, kBurstMax> v4;
    std::array<lookup::Ipv6Key, kBurstMax> v6;
    for (size_t i = 0; i < kBurstMax; ++i) {
      v4[i] = 0x0a090000 | static_cast<uint32_t>(random_() % kPrefixes) << 8 | 7;
      const std::string address = "fd00:9:" + std::to_string(random_() % kPrefixes) + "::1";
      v6[i] = test::key_v6(*parse_ip(address));
    }
    std::array<PeerIndex, kBurstMax> peers;
    const auto check = [&] {
      for (const PeerIndex peer : peers) {
        if (peer >= kSlots) {
          ++mixtures;
          continue;
        }
        if (slots_.incarnation(peer) == 0 || slots_.endpoint(peer).remote.port != expected) {
          ++mixtures;
        }
      }
    };
    lookup_burst(snapshot.tunnels[0].allowed_v4, v4, peers);
    check();
    lookup_burst(snapshot.tunnels[0].allowed_v6, v6, peers);
    check();
  }

  publish::Door& door_;
  const publish::PeerSlots& slots_;
  const Generation first_;
  test::Random random_;
};

// Worker i reads copy i of the tables, as far as there are several.
void commit_beside_workers(size_t replicas) {
  constexpr uint16_t kGenerations = 300;
  SystemPages pages;
  std::array<SystemPages, kWorkers> tables;
  const std::array<RoomSource*, kWorkers> each{&tables[0], &tables[1]};
  const std::span<RoomSource* const> nodes(each);
  publish::Epoch epoch;
  publish::PeerSlots slots(pages, kSlots, 1);
  ASSERT_TRUE(slots.valid());
  SlotSession session(slots);
  std::vector<std::unique_ptr<publish::Door>> doors;
  for (size_t i = 0; i < kWorkers; ++i) {
    const auto replica = static_cast<ReplicaIndex>(i % replicas);
    doors.push_back(std::make_unique<publish::Door>(epoch, pages, 2'048, replica));
  }
  Gateway gateway({.pages = ReplicaPages(nodes.first(replicas)),
                   .epoch = epoch,
                   .doors = {doors[0].get(), doors[1].get()},
                   .session = session,
                   .peer_capacity = kSlots});
  state::State state;
  const Instant now{1'000'000'000};
  const auto commit = [&](const config::Config& before, const config::Config& after) {
    const auto change = state::plan(state, difference(before, after).transaction);
    ASSERT_TRUE(change);
    // Slots come back when the workers have come round.
    while (!gateway.prepare(*change)) {
      gateway.poll(now);
      std::this_thread::yield();
    }
    gateway.seal(state.apply(*change));
    gateway.commit(now, {});
  };
  config::Config running = with_peer(1);
  ASSERT_TRUE(
      gateway.set_topology(topology_of(running, std::vector<MacAddress>(running.ports.size()))));
  commit(config::Config{}, running);
  const Generation first = gateway.newest().generation;

  std::atomic<bool> done{false};
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kWorkers; ++i) {
    workers.push_back(std::make_unique<Worker>(*doors[i], slots, first, i));
    threads.emplace_back([&done, worker = workers.back().get()] { worker->run(done); });
  }
  for (const auto& worker : workers) {
    while (worker->bursts.load() == 0) std::this_thread::yield();
  }
  for (uint16_t number = 2; number <= kGenerations; ++number) {
    config::Config next = with_peer(number);
    commit(running, next);
    running = std::move(next);
  }
  while (gateway.poll(now)) std::this_thread::yield();
  for (const auto& worker : workers) {
    const uint64_t bursts = worker->bursts.load();
    while (worker->bursts.load() < bursts + 2) std::this_thread::yield();
  }
  done.store(true);
  for (std::thread& thread : threads) thread.join();
  for (const auto& worker : workers) {
    EXPECT_EQ(worker->mixtures, 0u);
    EXPECT_EQ(worker->last, first + kGenerations - 1);
  }
  EXPECT_GT(session.most_incarnations, 10u);  // slots went from peer to peer
}

TEST(Generations, AWorkerNeverFindsAPeerOfAnotherGenerationThanItsSnapshot) {
  commit_beside_workers(1);
}
TEST(Generations, NorDoesAWorkerOnAnotherNode) { commit_beside_workers(2); }

}  // namespace
}  // namespace turnpike::gateway

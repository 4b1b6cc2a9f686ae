// A gateway's control side in one process for the control benchmark: state and plan, the publishing of real
// snapshots through real doors, and threads behind them that look addresses up as workers do.
//   Threads: everything but the readers themselves runs on the thread that made it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "control/gateway/gateway.h"
#include "control/state/state.h"
#include "control/state/transaction.h"

namespace turnpike::bench {

// A session thread that has always just done what it was asked.
class PromptSession final : public gateway::SessionLink {
 public:
  uint64_t post(std::vector<gateway::SessionCommand>) override { return ++posted_; }
  bool done(uint64_t) override { return true; }
  void publish(const publish::Snapshot*) override {}

 private:
  uint64_t posted_ = 0;
};

// How a reader spends its turns.
enum class ReaderMode : uint8_t {
  Idle,  // gives its CPU away after each burst, as a worker does that finds no packets
  Busy,  // burst after burst
  Ending,
};

// What a reader has done so far.
struct Done {
  uint64_t lookups = 0;
  uint64_t cpu_ns = 0;
};

class Reader {
 public:
  Reader(publish::Door& door, const std::vector<uint32_t>& addresses);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void set_mode(ReaderMode mode) noexcept { mode_.store(mode, std::memory_order_relaxed); }
  [[nodiscard]] Done done() const noexcept;

 private:
  void run(const std::vector<uint32_t>& addresses) noexcept;

  publish::Door& door_;
  alignas(kCacheLine) std::atomic<ReaderMode> mode_{
      ReaderMode::Idle};  // control: writes · reader: reads
  alignas(kCacheLine) std::atomic<uint64_t> lookups_{0};  // reader: writes · control: reads
  clockid_t cpu_clock_{};
  std::thread thread_;  // last: it uses what is above
};

class World {
 public:
  // As many peers as prefixes, one each. The readers do not run yet.
  World(uint32_t prefixes, size_t readers, uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void start_readers();
  void stop_readers() { readers_.clear(); }
  void set_readers(ReaderMode mode);
  [[nodiscard]] Done done() const;  // by all readers

  // A move of a random prefix from its owner to another random peer.
  [[nodiscard]] state::Transaction make_move();
  // Plans and publishes it. Does not wait.
  void commit(const state::Transaction& transaction);
  // Until every worker has all that was committed.
  void await_visible();
  // Lets go of what is retired.
  void poll();
  // Commits that not every worker has yet.
  [[nodiscard]] uint64_t outstanding() const noexcept { return committed_ - acknowledged_; }

  // Ends the program unless readers would find, for `samples` random addresses, the owner that the state knows;
  // the sum of the owners found.
  [[nodiscard]] uint64_t check(size_t samples);

  [[nodiscard]] const state::State& state() const noexcept { return state_; }

 private:
  void add_peers(uint32_t first, uint32_t count);

  std::mt19937_64 random_;
  SystemPages pages_;
  publish::Epoch epoch_;
  PromptSession session_;
  std::vector<std::unique_ptr<publish::Door>> doors_;
  state::State state_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::vector<Prefix> prefixes_;
  std::vector<uint32_t> owners_;  // by prefix: the owner's number
  std::vector<uint32_t> addresses_;  // that the readers look up, in turn
  uint64_t committed_ = 0, acknowledged_ = 0;
  std::vector<std::unique_ptr<Reader>> readers_;
};

}  // namespace turnpike::bench

#include "tests/bench/control_durable.h"

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>

#include "control/daemon/boot.h"
#include "control/gateway/committer.h"
#include "control/state/plan.h"
#include "control/store/codec.h"
#include "control/store/database.h"
#include "control/store/journal.h"
#include "control/store/parts.h"
#include "dataplane/base/check.h"
#include "tests/bench/control_world.h"

namespace turnpike::bench {
namespace {

constexpr uint32_t kPeers = 1'000;

uint64_t wall_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

void remove_files(const std::string& path) {
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
}

Prefix prefix_of(uint32_t number) { return Prefix::masked(IpAddress::v4(0x0a000000 + number), 32); }

// One tunnel and `count` peers with a prefix each.
state::Transaction peers(uint32_t count) {
  auto tunnel = std::make_shared<state::Tunnel>();
  tunnel->public_key.bytes[31] = 1;
  tunnel->listen_port = 51820;
  state::Transaction all;
  all.edits.push_back({.op = state::Op::TunnelAdd, .tunnel = "wg0", .new_tunnel = tunnel});
  for (uint32_t i = 0; i < count; ++i) {
    state::Edit edit{.op = state::Op::PeerAdd, .tunnel = "wg0"};
    store_be32(edit.public_key.bytes.data(), i + 1);
    edit.patch = state::PeerPatch{.name = "peer" + std::to_string(i)};
    edit.prefixes = {prefix_of(i)};
    all.edits.push_back(std::move(edit));
  }
  return all;
}

// Prefix `number` from the peer with this key to the next one.
state::Edit move(uint32_t number, uint32_t from) {
  state::Edit edit{.op = state::Op::Move, .tunnel = "wg0"};
  PublicKey giver, taker;
  store_be32(giver.bytes.data(), from);
  store_be32(taker.bytes.data(), from % kPeers + 1);
  edit.peer = giver;
  edit.to = taker;
  edit.prefixes = {prefix_of(number)};
  return edit;
}

// A gateway without workers, whose commits go to a file of its own.
class DurableWorld {
 public:
  explicit DurableWorld(const std::string& path) {
    gateway_ = std::make_unique<gateway::Gateway>(gateway::Gateway::Parts{
        .pages = pages_, .epoch = epoch_, .doors = {}, .session = session_});
    auto store = store::Store::open(path);
    CHECK(store.has_value());
    daemon::Boot boot(*store, state_, *gateway_, [] { return Instant{wall_ns()}; });
    auto loaded = store->load();
    CHECK(loaded.has_value() && boot.restore(*loaded, {}).has_value());
    if (state_.generation() == 0) {
      CHECK(boot.commit({.transaction = peers(kPeers),
                         .entry = {},
                         .file = {},
                         .topology = {},
                         .settles = {}})
                .has_value());
    }
    journal_ = std::make_unique<store::Journal>(std::move(*store), [this](auto call) {
      {
        const std::lock_guard lock(mutex_);
        calls_.push_back(std::move(call));
      }
      wake_.notify_one();
    });
    committer_ = std::make_unique<gateway::Committer>(
        state_, *gateway_,
        [](auto work, auto done) {
          work();
          done();
        },
        [] { return Instant{wall_ns()}; }, journal_.get());
  }

  // Commits a second when `clients` ask, each for the next one as soon as it has its answer.
  double rate(size_t commits, size_t clients) {
    const uint64_t start = wall_ns();
    to_ask_ = to_answer_ = commits;
    for (size_t i = 0; i < clients; ++i) ask();
    while (to_answer_ > 0) {
      if (committer_->poll(Instant{wall_ns()}) && to_answer_ == 0) break;
      std::function<void()> call;
      {
        std::unique_lock lock(mutex_);
        if (calls_.empty()) wake_.wait_for(lock, std::chrono::microseconds(200));
        if (calls_.empty()) continue;
        call = std::move(calls_.front());
        calls_.pop_front();
      }
      call();
    }
    return static_cast<double>(commits) * 1e9 / static_cast<double>(wall_ns() - start);
  }

 private:
  // A prefix moves on to the next peer.
  void ask() {
    if (to_ask_ == 0) return;
    --to_ask_;
    const uint32_t number = next_++ % kPeers;
    const state::Claim* claim = state_.owner(0, prefix_of(number));
    const uint32_t from = load_be32(state_.peer(claim->peer).public_key.bytes.data());
    committer_->submit({.make =
                            [number, from](const state::State&) {
                              state::Transaction transaction;
                              transaction.edits.push_back(move(number, from));
                              return transaction;
                            },
                        .answer =
                            [this](const gateway::Committer::Outcome& outcome) {
                              CHECK(std::holds_alternative<gateway::Committer::Done>(outcome));
                              --to_answer_;
                              ask();
                            }});
  }

  SystemPages pages_;
  publish::Epoch epoch_;
  PromptSession session_;
  state::State state_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> calls_;
  uint32_t next_ = 0;
  size_t to_ask_ = 0, to_answer_ = 0;
  std::unique_ptr<store::Journal> journal_;
  std::unique_ptr<gateway::Committer> committer_;
};

// The rows of such a commit as bare statements, with the same settings: `together` commits with one sync.
class BareSqlite {
 public:
  explicit BareSqlite(const std::string& path)
      : database_(
            path,
            std::string(store::kSettings) +
                "; PRAGMA journal_mode = WAL;"
                "CREATE TABLE claim (tunnel INTEGER, prefix BLOB, peer INTEGER, origin INTEGER, "
                "PRIMARY KEY (tunnel, prefix)) WITHOUT ROWID;"
                "CREATE TABLE history (generation INTEGER PRIMARY KEY, at INTEGER, uid INTEGER, "
                "pid INTEGER, cause INTEGER, peers INTEGER, prefixes INTEGER, comment TEXT, "
                "undo BLOB);"
                "CREATE TABLE meta (id INTEGER PRIMARY KEY, generation INTEGER, next INTEGER);"
                "INSERT INTO meta VALUES (1, 0, 0)") {}

  double rate(size_t commits, size_t together) {
    const uint64_t start = wall_ns();
    for (size_t done = 0; done < commits;) {
      begin_.run();
      for (size_t i = 0; i < together && done < commits; ++i, ++done) one();
      end_.run();
    }
    return static_cast<double>(commits) * 1e9 / static_cast<double>(wall_ns() - start);
  }

 private:
  void one() {
    ++generation_;
    uint8_t prefix[6] = {4};
    store_be32(prefix + 1, 0x0a000000 + static_cast<uint32_t>(generation_ % kPeers));
    prefix[5] = 32;
    claim_.run(0, Bytes(prefix), generation_ % kPeers, 1);
    meta_.run(generation_);
    history_.run(generation_, 0, 0, 0, 0, 0, 1, std::string_view(), Bytes(undo_));
    if (generation_ > 1'000) forget_.run(generation_ - 1'000);
  }

  store::Database database_;
  store::Statement begin_{database_, "BEGIN IMMEDIATE"}, end_{database_, "COMMIT"};
  store::Statement claim_{database_, "INSERT OR REPLACE INTO claim VALUES (?, ?, ?, ?)"};
  store::Statement meta_{database_, "UPDATE meta SET generation = ? WHERE id = 1"};
  store::Statement history_{database_, "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  store::Statement forget_{database_, "DELETE FROM history WHERE generation = ?"};
  const store::Buffer undo_ = store::encode(state::Transaction{.edits = {move(0, 1)}});
  uint64_t generation_ = 0;
};

void commits(Report& report, const DurableSizes& sizes) {
  const std::string ours = "bench-durable.db", bare = "bench-sqlite.db";
  remove_files(ours);
  remove_files(bare);
  {
    DurableWorld world(ours);
    BareSqlite sqlite(bare);
    for (const size_t clients : {1, 32}) {
      std::vector<double> rates, baselines, ratios;
      for (size_t round = 0; round <= sizes.rounds; ++round) {
        const size_t count = sizes.commits * std::min<size_t>(clients, 8);
        const double mine = world.rate(count, clients);
        const double its = sqlite.rate(count, clients);
        if (round == 0) continue;  // warm-up
        rates.push_back(mine);
        baselines.push_back(its);
        ratios.push_back(mine / its);
      }
      report.add(Figure{.name = "control/durable/commits/" + std::to_string(clients) + "-clients",
                        .value = median(rates),
                        .unit = "1/s",
                        .baseline_name = "sqlite",
                        .baseline_value = median(baselines),
                        .ratio = median(ratios),
                        .runs = rates});
    }
  }
  remove_files(ours);
  remove_files(bare);
}

void start(Report& report, const DurableSizes& sizes) {
  const std::string path = "bench-start.db";
  remove_files(path);
  {
    auto store = store::Store::open(path);
    CHECK(store.has_value());
    state::State state;
    auto change = state::plan(state, peers(sizes.prefixes));
    CHECK(change.has_value());
    store::Record record{.change = std::make_shared<const state::Change>(std::move(*change)),
                         .entry = {.generation = 1, .comment = {}},
                         .undo = {},
                         .file = {},
                         .unconfirmed = {},
                         .settled = {}};
    const store::Entry entry = std::move(record);
    CHECK(store->write({&entry, 1}).has_value());
  }
  const uint64_t before = wall_ns();
  const DurableWorld world(path);
  report.add("control/durable/start/" + std::to_string(sizes.prefixes), "s",
             {static_cast<double>(wall_ns() - before) / 1e9});
  remove_files(path);
}

}  // namespace

void durable_figures(Report& report, const DurableSizes& sizes) {
  if (report.wants("control/durable/commits")) commits(report, sizes);
  if (report.wants("control/durable/start")) start(report, sizes);
}

}  // namespace turnpike::bench

#include "tests/bench/control_reload.h"

#include <unistd.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/parser.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <filesystem>
#include <fstream>
#include <random>

#include "config/load.h"
#include "control/daemon/reloader.h"
#include "control/state/plan.h"
#include "dataplane/base/check.h"
#include "dataplane/base/text.h"
#include "tests/bench/control_world.h"

namespace turnpike::bench {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kChanged = 10;  // peers that are different in the other file
constexpr std::chrono::milliseconds kCommitEvery{2};

// Takes every event and does nothing with it.
class NoEvents final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override { ++count; }
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override { ++count; }
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string& value) override {
    count += value.size();
  }
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
  size_t count = 0;
};

void parse_events(const std::filesystem::path& path) {
  std::ifstream stream(path);
  YAML::Parser parser(stream);
  NoEvents events;
  while (parser.HandleNextDocument(events)) {
  }
  keep(events.count);
}

// A control thread as the daemon has it: state, gateway, a helper thread, and somebody who commits all the time.
class ReloadWorld {
 public:
  ReloadWorld(uint32_t peers, uint64_t seed) : random_(seed) {
    std::string name =
        (std::filesystem::temp_directory_path() / "turnpike-bench-reload-XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    directory_ = name;
    for (uint32_t i = 0; i < peers; ++i) {
      PublicKey key;
      for (uint8_t& byte : key.bytes) byte = static_cast<uint8_t>(random_());
      keys_.push_back(base::key_to_base64(key.bytes));
    }
    write(0);
    auto loaded = config::load_config(path());
    CHECK(loaded.has_value());
    auto first = std::make_shared<const config::Config>(std::move(*loaded));
    gateway_ = std::make_unique<gateway::Gateway>(gateway::Gateway::Parts{
        .pages = pages_, .epoch = epoch_, .doors = {}, .session = session_});
    const std::vector<MacAddress> macs(first->ports.size());
    CHECK(gateway_->set_topology(gateway::topology_of(*first, macs)));
    carry_out(gateway::difference(config::Config{}, *first).transaction);
    reloader_ = std::make_unique<daemon::Reloader>(daemon::Reloader::Parts{
        .path = path(),
        .started = first,
        .applied = first,
        .macs = macs,
        .has_session = [](PeerId) { return false; },
        .offload = [this](auto work, auto done) { offload(std::move(work), std::move(done)); },
        .later =
            [this](std::function<void(const state::State&)> call) {
              asio::post(io_, [this, call = std::move(call)] { call(state_); });
            },
        .commit =
            [this](daemon::FileCommit file, const api::CommitOptions&,
                   std::function<void(api::CommitAnswer)> answer) {
              answer(api::Committed{.generation = carry_out(file.make(state_))});
            }});
  }
  ~ReloadWorld() {
    helper_.join();
    std::filesystem::remove_all(directory_);
  }

  // Milliseconds of one reload of a file that differs in kChanged peers; `commits` gets those of each commit.
  double reload(uint32_t round, std::vector<double>& commits) {
    write(round);
    return run(
        [this](std::function<void()> done) {
          reloader_->reload({}, [done](const api::FileAnswer& answer) {
            CHECK(std::holds_alternative<api::Committed>(answer));
            done();
          });
        },
        commits);
  }
  double parse(std::vector<double>& commits) {
    return run(
        [this](std::function<void()> done) { offload([this] { parse_events(path()); }, done); },
        commits);
  }
  [[nodiscard]] size_t file_bytes() const { return std::filesystem::file_size(path()); }

 private:
  std::string path() const { return (directory_ / "turnpike.yaml").string(); }

  void write(uint32_t round) {
    std::ofstream out(path());
    out << "ports:\n"
           "  - {name: outside, device: net_tap0, addresses: [192.0.2.1/24]}\n"
           "  - {name: inside, device: net_tap1, addresses: [10.255.0.1/24]}\n"
           "tunnels:\n"
           "  - name: wg0\n"
           "    private_key: aAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8=\n"
           "    listen_port: 51820\n"
           "    outside: outside\n"
           "    inside: inside\n"
           "    peers:\n";
    for (uint32_t i = 0; i < keys_.size(); ++i) {
      const bool changed = i % (keys_.size() / kChanged) == 3 && round % 2 != 0;
      const std::string low = std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255);
      out << "      - name: peer-" << i << "\n        public_key: " << keys_[i]
          << "\n        endpoint: 198.51.100.7:51820\n        allowed_ips: [10." << (i >> 16) << "."
          << low << "/32]\n        persistent_keepalive: " << (changed ? 20 : 25) << "\n";
    }
    out.close();
    std::filesystem::permissions(
        path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }

  void offload(std::function<void()> work, std::function<void()> done) {
    asio::post(helper_, [this, work = std::move(work), done = std::move(done),
                         guard = asio::make_work_guard(io_)]() mutable {
      work();
      asio::post(io_, std::move(done));
    });
  }

  Generation carry_out(const state::Transaction& transaction) {
    const auto change = state::plan(state_, transaction);
    CHECK(change.has_value());
    if (change->empty()) return state_.generation();
    CHECK(gateway_->prepare(*change).has_value());
    const Generation generation = state_.apply(*change);
    gateway_->seal(generation);
    gateway_->commit(Instant{1}, {});
    gateway_->poll(Instant{1});
    return generation;
  }

  // Starts `work`, commits a claim or release every kCommitEvery until it is done.
  double run(const std::function<void(std::function<void()>)>& work, std::vector<double>& commits) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    asio::steady_timer timer(io_);
    bool over = false;
    Clock::time_point due = Clock::now(), start = due, end = due;
    const std::function<void()> tick = [&] {
      if (over) return;
      due += kCommitEvery;
      timer.expires_at(due);
      timer.async_wait([&](const boost::system::error_code& error) {
        if (error || over) return;
        carry_out(make_edit());
        // From when it should have begun: waiting for the control thread counts.
        commits.push_back(Milliseconds(Clock::now() - due).count());
        tick();
      });
    };
    tick();
    work([&] {
      end = Clock::now();
      over = true;
      timer.cancel();
    });
    io_.restart();
    io_.run();
    return Milliseconds(end - start).count();
  }

  state::Transaction make_edit() {
    claimed_ = !claimed_;
    return {.edits = {{.op = claimed_ ? state::Op::Claim : state::Op::Release,
                       .tunnel = "wg0",
                       .peer = std::string("peer-1"),
                       .prefixes = {Prefix::masked(IpAddress::v4(0xac10'0000), 24)}}}};
  }

  std::mt19937_64 random_;
  std::filesystem::path directory_;
  std::vector<std::string> keys_;
  asio::io_context io_;
  SystemPages pages_;
  publish::Epoch epoch_;
  PromptSession session_;
  state::State state_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::unique_ptr<daemon::Reloader> reloader_;
  bool claimed_ = false;
  asio::thread_pool helper_{1};
};

}  // namespace

void reload_figures(Report& report, const ReloadSizes& sizes, uint64_t seed) {
  const std::string base = "control/" + std::to_string(sizes.peers) + "/reload";
  if (!report.wants(base)) return;
  ReloadWorld world(sizes.peers, seed);
  std::vector<double> ours, parse, ratios, commits, beside_parse;
  for (uint32_t round = 0; round <= sizes.rounds; ++round) {
    const bool first = round % 2 == 0;
    double one = first ? world.reload(round, commits) : world.parse(beside_parse);
    double other = first ? world.parse(beside_parse) : world.reload(round, commits);
    if (round == 0) {
      commits.clear();
      beside_parse.clear();
      continue;
    }
    ours.push_back(first ? one : other);
    parse.push_back(first ? other : one);
    ratios.push_back(ours.back() / parse.back());
  }
  std::printf("%zu bytes of YAML, %zu commits meanwhile\n", world.file_bytes(), commits.size());
  report.add(Figure{.name = base,
                    .value = median(ours),
                    .unit = "ms",
                    .baseline_name = "event-parse",
                    .baseline_value = median(parse),
                    .ratio = median(ratios),
                    .runs = ours});
  report.add(Figure{
      .name = base + "/commits/p99",
      .value = percentile(commits, 0.99),
      .unit = "ms",
      .baseline_name = "event-parse",
      .baseline_value = percentile(beside_parse, 0.99),
      .ratio = percentile(commits, 0.99) / std::max(percentile(beside_parse, 0.99), 1e-6),
      .runs = {percentile(commits, 0.5), percentile(commits, 0.99), percentile(commits, 1)}});
}

}  // namespace turnpike::bench

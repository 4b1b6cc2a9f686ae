// What a commit costs with many prefixes and peers in place. First through the sockets of the real daemon
// (control_served.cpp), then without sockets and disk: a move from plan to visible on every worker, commits a
// second, memory for each peer, and what publishing takes from look-ups.
#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "tests/bench/control_daemon.h"
#include "tests/bench/control_durable.h"
#include "tests/bench/control_reload.h"
#include "tests/bench/control_served.h"
#include "tests/bench/control_world.h"
#include "tests/bench/paired.h"

namespace turnpike::bench {
namespace {

constexpr uint64_t kSeed = 20261122;
constexpr size_t kReaders = 2;

struct Sizes {
  uint32_t prefixes;
  uint32_t small;  // a table to compare with: a commit costs what it changes, not what exists
  size_t rounds;
  size_t moves;  // in each round
  uint64_t window_ns;  // of undisturbed and of disturbed look-ups
  size_t windows;  // of each kind
};

uint64_t wall_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

uint64_t resident_bytes() {
  malloc_trim(0);
  unsigned long all = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  const bool read = std::fscanf(file, "%lu %lu", &all, &resident) == 2;
  std::fclose(file);
  return read ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

void sleep_until(uint64_t at_ns) {
  const timespec t{.tv_sec = static_cast<time_t>(at_ns / 1'000'000'000),
                   .tv_nsec = static_cast<long>(at_ns % 1'000'000'000)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
}

// Microseconds from plan to visible. `cpu` is what this thread worked for it.
struct MoveTimes {
  std::vector<double> visible, cpu;
};

// The readers run only meanwhile: those of the other world would share the CPUs with them.
MoveTimes time_moves(World& world, size_t moves) {
  MoveTimes times;
  world.start_readers();
  for (size_t i = 0; i < moves; ++i) {
    const state::Transaction move = world.make_move();
    const uint64_t start = wall_ns(), cpu_start = thread_cpu_ns();
    world.commit(move);
    times.cpu.push_back(static_cast<double>(thread_cpu_ns() - cpu_start) / 1000);
    world.await_visible();
    times.visible.push_back(static_cast<double>(wall_ns() - start) / 1000);
    world.poll();
  }
  world.stop_readers();
  return times;
}

void moves(Report& report, World& large, World& small, const Sizes& sizes,
           const std::string& base) {
  std::vector<double> p50, p99, cpu, small_p50, small_p99, small_cpu;
  for (size_t round = 0; round <= sizes.rounds; ++round) {
    const MoveTimes a = time_moves(large, sizes.moves), b = time_moves(small, sizes.moves);
    if (round == 0) continue;  // warm-up
    p50.push_back(median(a.visible));
    p99.push_back(percentile(a.visible, 0.99));
    cpu.push_back(median(a.cpu));
    small_p50.push_back(median(b.visible));
    small_p99.push_back(percentile(b.visible, 0.99));
    small_cpu.push_back(median(b.cpu));
  }
  const std::string rival = std::to_string(sizes.small) + "-prefixes";
  const auto add = [&](const char* name, const std::vector<double>& ours,
                       const std::vector<double>& other) {
    std::vector<double> ratios;
    for (size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / other[i]);
    report.add(Figure{.name = base + "/move/" + name,
                      .value = median(ours),
                      .unit = "us",
                      .baseline_name = rival,
                      .baseline_value = median(other),
                      .ratio = median(ratios),
                      .runs = ours});
  };
  add("visible/p50", p50, small_p50);
  add("visible/p99", p99, small_p99);
  add("plan-and-publish/p50", cpu, small_cpu);
}

// Back to back: a commit does not wait until the one before it is visible, but no more than 32 are on the way.
void commits(Report& report, World& world, const Sizes& sizes, const std::string& base) {
  std::vector<double> rates;
  for (size_t round = 0; round < sizes.rounds; ++round) {
    std::vector<state::Transaction> prepared;
    for (size_t i = 0; i < sizes.moves; ++i) prepared.push_back(world.make_move());
    const uint64_t start = wall_ns();
    for (const state::Transaction& transaction : prepared) {
      world.commit(transaction);
      if (world.outstanding() > 32) world.await_visible();
    }
    world.await_visible();
    rates.push_back(static_cast<double>(sizes.moves) * 1e9 /
                    static_cast<double>(wall_ns() - start));
  }
  report.add(base + "/commits", "1/s", rates);
}

// Look-ups for each second of the readers' own CPU time, so that a pre-empted reader is no slower one: what
// remains is what publishing does to caches and to the loop.
double rate_between(const Done& before, const Done& after) {
  return static_cast<double>(after.lookups - before.lookups) * 1000 /
         static_cast<double>(std::max<uint64_t>(1, after.cpu_ns - before.cpu_ns));
}

void lookups_lost(Report& report, World& world, const Sizes& sizes, const std::string& base) {
  std::vector<double> quiet, disturbed, ratios, reached;
  const uint64_t every_ns = 1'000'000;
  world.set_readers(ReaderMode::Busy);
  for (size_t window = 0; window <= sizes.windows; ++window) {
    const auto measure = [&](bool publish) {
      const Done before = world.done();
      const uint64_t start = wall_ns();
      uint64_t commits = 0, spent = 0;
      while ((spent = wall_ns() - start) < sizes.window_ns) {
        // Whoever was late catches up, so that the rate is kept as well as the machine lets it.
        while (publish && commits < spent / every_ns) {
          world.commit(world.make_move());
          ++commits;
        }
        world.poll();
        sleep_until(start + (spent / every_ns + 1) * every_ns);
      }
      const double rate = rate_between(before, world.done());
      if (publish && window > 0) {
        reached.push_back(static_cast<double>(commits) * 1e9 / static_cast<double>(spent));
      }
      world.await_visible();
      return rate;
    };
    // The order turns, so that neither kind always comes first.
    const bool first = window % 2 == 0;
    const double one = measure(first), other = measure(!first);
    if (window == 0) continue;
    disturbed.push_back(first ? one : other);
    quiet.push_back(first ? other : one);
    ratios.push_back(disturbed.back() / quiet.back());
  }
  world.set_readers(ReaderMode::Idle);
  report.add(Figure{.name = base + "/lookups/1000-commits",
                    .value = median(disturbed),
                    .unit = "M/s",
                    .baseline_name = "no-commits",
                    .baseline_value = median(quiet),
                    .ratio = median(ratios),
                    .runs = disturbed});
  report.add(base + "/lookups/commits-reached", "1/s", reached);
}

// False: it could not be done, and was said.
bool run_served(Report& report, bool in_memory, bool on_disk) {
  char directory[] = "/tmp/turnpike-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) return std::perror(directory), false;
  const std::string error = enter_wg_namespace(directory);
  if (!error.empty()) return std::fprintf(stderr, "%s\n", error.c_str()), false;
  const ServedSizes sizes = report.options().quick ? ServedSizes{.peers = 200,
                                                                 .prefixes_each = 10,
                                                                 .set_peers = 300,
                                                                 .rounds = 2,
                                                                 .moves = 30}
                                                   : ServedSizes{.peers = 100'000,
                                                                 .prefixes_each = 10,
                                                                 .set_peers = 100'000,
                                                                 .rounds = 7,
                                                                 .moves = 1'000};
  if (in_memory) served(report, sizes, directory);
  if (on_disk) {
    const std::string durable = std::string(directory) + "/durable";
    std::filesystem::create_directory(durable);
    served_durable(report, sizes, durable);
  }
  std::filesystem::remove_all(directory);
  return true;
}

int run(const Options& options) {
  Report report(options);
  // First, since it needs a process without threads.
  const auto filter_has = [&](const char* part) {
    return options.filter.find(part) != std::string::npos;
  };
  const bool all = options.filter.empty(), only_served = filter_has("served");
  const bool only_durable = filter_has("served-durable");
  if ((all || only_served) && !run_served(report, !only_durable, all || only_durable)) return 1;
  if (only_served) return report.write_json() ? 0 : 1;
  const Sizes sizes = options.quick ? Sizes{.prefixes = 2'000,
                                            .small = 100,
                                            .rounds = 2,
                                            .moves = 50,
                                            .window_ns = 5'000'000,
                                            .windows = 3}
                                    : Sizes{.prefixes = 1'000'000,
                                            .small = 1'000,
                                            .rounds = 15,
                                            .moves = 500,
                                            .window_ns = 200'000'000,
                                            .windows = 40};
  const std::string base = "control/" + std::to_string(sizes.prefixes);
  reload_figures(
      report, {.peers = options.quick ? 500u : 100'000u, .rounds = options.quick ? 2u : 5u}, kSeed);
  durable_figures(report, {.commits = options.quick ? 100u : 2'000u,
                           .rounds = options.quick ? 2u : 7u,
                           .prefixes = options.quick ? 2'000u : sizes.prefixes});
  if (!report.wants(base)) {
    return report.write_json() ? 0 : 1;
  }
  std::printf("%u peers with a prefix each, %zu readers, seed %lu\n", sizes.prefixes, kReaders,
              kSeed);

  World small(sizes.small, kReaders, kSeed);
  const uint64_t before = resident_bytes();
  std::fprintf(stderr, "... %s: building\n", base.c_str());
  const uint64_t start = thread_cpu_ns();
  World large(sizes.prefixes, kReaders, kSeed);
  const double seconds = static_cast<double>(thread_cpu_ns() - start) / 1e9;
  const auto each = [&](uint64_t bytes) { return static_cast<double>(bytes) / sizes.prefixes; };
  // With rings and the other fixed costs of a gateway, which a million peers share.
  const uint64_t after = resident_bytes();
  report.add(base + "/build", "s", {seconds});
  report.add(base + "/memory/resident-per-peer", "bytes",
             {each(after > before ? after - before : 0)});
  report.add(base + "/memory/state-per-peer", "bytes", {each(large.state().memory_bytes())});

  moves(report, large, small, sizes, base);
  large.start_readers();
  commits(report, large, sizes, base);
  lookups_lost(report, large, sizes, base);
  large.stop_readers();
  std::printf("sum of owners: %016lx\n", large.check(10'000) + small.check(10'000));
  if (!report.write_json()) {
    std::perror(options.json.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace turnpike::bench

int main(int argc, char** argv) {
  return turnpike::bench::run(turnpike::bench::parse_options(argc, argv));
}

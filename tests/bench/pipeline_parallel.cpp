#include "tests/bench/pipeline_parallel.h"

#include <sched.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <thread>

#include "tests/bench/pipeline_worker.h"

namespace turnpike::bench {
namespace {

constexpr size_t kThreads = 2;

struct Effort {
  size_t rounds;
  size_t passes;  // in each
};

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

// Of the bursts that nothing else on the core disturbed for long. A mean: what meets few bursts counts, too.
double mean_cycles(std::vector<uint64_t>& cycles) {
  std::nth_element(cycles.begin(), cycles.begin() + static_cast<long>(cycles.size() / 2),
                   cycles.end());
  const uint64_t limit = 20 * cycles[cycles.size() / 2];
  double sum = 0;
  size_t count = 0;
  for (const uint64_t c : cycles) {
    if (c > limit) continue;
    sum += static_cast<double>(c);
    ++count;
  }
  cycles.clear();
  return sum / static_cast<double>(count);
}

// Cycles of a burst of each kind of pass, of the first thread.
struct Cycles {
  std::vector<uint64_t> alone, together, aead_alone, aead_together;
};

// Both threads are at the same kind of pass, or the second one sleeps. The kinds take turns.
Cycles run_side_by_side(World& world, const Traffic& traffic, size_t passes, size_t apart) {
  Worker first(world), second(world, apart);
  first.door.wake();
  second.door.wake();
  std::barrier<> together(kThreads);
  Cycles cycles;
  std::thread other([&] {
    pin_to(1);
    std::vector<uint64_t> ignored;
    for (size_t pass = 0; pass < passes; ++pass) {
      second.fill(traffic);
      together.arrive_and_wait();
      second.run(traffic, ignored);
      second.fill(traffic);
      together.arrive_and_wait();
      second.run_aead(traffic, ignored);
      ignored.clear();
      together.arrive_and_wait();  // asleep in the kernel while the first one is alone
      together.arrive_and_wait();
    }
  });
  pin_to(0);
  for (size_t pass = 0; pass < passes; ++pass) {
    first.fill(traffic);
    together.arrive_and_wait();
    first.run(traffic, cycles.together);
    first.fill(traffic);
    together.arrive_and_wait();
    first.run_aead(traffic, cycles.aead_together);
    together.arrive_and_wait();
    first.fill(traffic);
    first.run(traffic, cycles.alone);
    first.run_aead(traffic, cycles.aead_alone);
    together.arrive_and_wait();
  }
  other.join();
  return cycles;
}

void scaling(Report& report, const std::string& name, uint32_t peers, const Traffic& traffic,
             Effort effort) {
  if (!report.wants(name)) return;
  World world(peers, false);
  std::vector<double> factors, aead_factors, ratios;
  for (size_t round = 0; round < effort.rounds; ++round) {
    // Half the order apart, so that the two never have one peer at a time unless there is but one.
    Cycles cycles = run_side_by_side(world, traffic, effort.passes, peers / 2);
    const double factor = kThreads * mean_cycles(cycles.alone) / mean_cycles(cycles.together);
    const double aead =
        kThreads * mean_cycles(cycles.aead_alone) / mean_cycles(cycles.aead_together);
    factors.push_back(factor);
    aead_factors.push_back(aead);
    ratios.push_back(factor / aead);
  }
  report.add(Figure{.name = name,
                    .value = median(factors),
                    .unit = "times one",
                    .baseline_name = "aead",
                    .baseline_value = median(aead_factors),
                    .ratio = median(ratios),
                    .runs = factors});
}

// Passes with and without a publisher take turns.
void publishing(Report& report, const std::string& name, uint32_t peers, const Traffic& traffic,
                Effort effort) {
  if (!report.wants(name)) return;
  World world(peers, false);
  Worker worker(world);
  worker.door.wake();
  std::atomic<bool> wanted{false}, over{false};
  std::atomic<uint64_t> published{0};
  std::thread publisher([&] {
    pin_to(1);
    publish::Door* const doors[] = {&worker.door};
    auto next = std::chrono::steady_clock::now();
    while (!over.load()) {
      next += std::chrono::milliseconds(1);
      std::this_thread::sleep_until(next);
      if (!wanted.load()) continue;
      world.publish_an_edit(doors);
      published.fetch_add(1);
    }
  });
  pin_to(0);
  std::vector<double> with, without, ratios;
  std::vector<uint64_t> cycles;
  const auto measure = [&](bool publish) {
    wanted.store(publish);
    for (size_t pass = 0; pass < effort.passes; ++pass) {
      worker.fill(traffic);
      worker.run(traffic, cycles);
    }
    return mean_cycles(cycles) / kRxBurst;
  };
  for (size_t round = 0; round <= effort.rounds; ++round) {
    const double busy = measure(true);
    const double quiet = measure(false);
    if (round == 0) continue;  // warm-up
    with.push_back(busy);
    without.push_back(quiet);
    ratios.push_back(busy / quiet);
  }
  wanted.store(false);
  worker.door.sleep();  // so that a publication at work comes to its end
  over.store(true);
  publisher.join();
  CHECK(published.load() != 0);
  report.add(Figure{.name = name,
                    .value = median(with),
                    .unit = "cycles/packet",
                    .baseline_name = "no-commits",
                    .baseline_value = median(without),
                    .ratio = median(ratios),
                    .runs = with});
}

}  // namespace

void measure_parallel(Report& report, bool quick) {
  if (std::thread::hardware_concurrency() < kThreads) {
    std::printf("one CPU: two workers are not measured\n");
    return;
  }
  cpu_set_t before;
  CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
  const Effort effort =
      quick ? Effort{.rounds = 1, .passes = 3} : Effort{.rounds = 9, .passes = 600};
  for (const auto direction : {Direction::Outbound, Direction::Inbound}) {
    const bool outbound = direction == Direction::Outbound;
    const std::string way = outbound ? "outbound/" : "inbound/";
    for (const uint16_t bytes : {uint16_t{64}, uint16_t{1420}}) {
      const std::string size = std::to_string(bytes);
      const Traffic traffic{.direction = direction, .inner_bytes = {bytes}};
      scaling(report, "pipeline/two-workers/" + way + size + "/1000-peers", 1'000, traffic, effort);
      // Inbound, one peer has one flow outside, which is one worker's.
      if (outbound) {
        scaling(report, "pipeline/two-workers/" + way + size + "/1-peer", 1, traffic, effort);
      }
      publishing(report, "pipeline/commit-every-ms/" + way + size + "/1000-peers", 1'000, traffic,
                 quick ? Effort{.rounds = 1, .passes = 40} : Effort{.rounds = 15, .passes = 400});
      if (quick) continue;
      publishing(report, "pipeline/commit-every-ms/" + way + size + "/100000-peers", 100'000,
                 traffic, Effort{.rounds = 9, .passes = 400});
    }
  }
  CHECK(sched_setaffinity(0, sizeof(before), &before) == 0);
}

}  // namespace turnpike::bench

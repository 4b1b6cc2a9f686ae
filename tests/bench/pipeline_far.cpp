#include "tests/bench/pipeline_far.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "dataplane/base/check.h"
#include "dataplane/crypto/aead.h"

namespace turnpike::bench {
namespace {

constexpr size_t kStride = 2'176;  // as of packets
constexpr size_t kFrames = 256;  // as many as a pass of the pipeline has
constexpr uint64_t kTripsTogether = 32;
constexpr size_t kBursts = kFrames / kRxBurst;

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

// A word that two threads hand each other: odd is the other one's turn.
class Turns {
 public:
  void give(uint64_t turn) noexcept { turn_.store(turn, std::memory_order_release); }
  // Pairs with the release of give(). Who waits for long lets others have the core.
  void wait_for(uint64_t turn) const noexcept {
    for (int i = 0; turn_.load(std::memory_order_acquire) != turn; ++i) {
      if (i % 4'096 == 4'095) sched_yield();
    }
  }

 private:
  alignas(kCacheLine) std::atomic<uint64_t> turn_{0};
};

struct Texts {
  std::vector<uint8_t> memory = std::vector<uint8_t>(kFrames * kStride, 0x5a);
  std::vector<crypto::AeadJob> jobs;
  std::array<uint8_t, 32> key{1};
  uint32_t bytes = 0;

  explicit Texts(uint32_t text_bytes) : bytes(text_bytes) {
    for (size_t i = 0; i < kFrames; ++i) {
      jobs.push_back({.key = key.data(),
                      .counter = i,
                      .data = &memory[i * kStride + 128],
                      .length_bytes = bytes});
    }
  }
  void write() noexcept {
    for (const crypto::AeadJob& job : jobs) std::memset(job.data, 0x5a, bytes);
  }
};

double median_per_packet(std::vector<uint64_t>& cycles) {
  std::nth_element(cycles.begin(), cycles.begin() + std::ssize(cycles) / 2, cycles.end());
  const double result = static_cast<double>(cycles[cycles.size() / 2]) / kRxBurst;
  cycles.clear();
  return result;
}

void seal(crypto::Aead& aead, const Texts& texts, std::vector<uint64_t>& cycles) {
  for (size_t burst = 0; burst < kBursts; ++burst) {
    const uint64_t began = __builtin_ia32_rdtsc();
    aead.seal({&texts.jobs[burst * kRxBurst], kRxBurst});
    cycles.push_back(__builtin_ia32_rdtsc() - began);
  }
}

// Passes over near and far texts take turns.
void measure_size(Report& report, const std::string& name, uint32_t bytes, size_t rounds,
                  size_t passes) {
  if (!report.wants(name)) return;
  Texts near_texts(bytes), far_texts(bytes);
  // One for each: they find out for themselves whether to fetch ahead.
  const auto near_aead = crypto::make_aead(crypto::AeadBackend::Auto);
  const auto far_aead = crypto::make_aead(crypto::AeadBackend::Auto);
  Turns turns;
  const size_t all = (rounds + 1) * passes;
  std::thread writer([&] {
    pin_to(1);
    for (size_t pass = 0; pass < all; ++pass) {
      turns.wait_for(2 * pass + 1);
      far_texts.write();
      turns.give(2 * pass + 2);
    }
  });
  pin_to(0);
  std::vector<double> near_runs, far_runs, ratios;
  std::vector<uint64_t> near_cycles, far_cycles;
  size_t pass = 0;
  for (size_t round = 0; round <= rounds; ++round) {
    for (size_t i = 0; i < passes; ++i, ++pass) {
      turns.give(2 * pass + 1);
      near_texts.write();
      seal(*near_aead, near_texts, near_cycles);
      turns.wait_for(2 * pass + 2);
      seal(*far_aead, far_texts, far_cycles);
    }
    const double near_one = median_per_packet(near_cycles);
    const double far_one = median_per_packet(far_cycles);
    if (round == 0) continue;  // warm-up
    near_runs.push_back(near_one);
    far_runs.push_back(far_one);
    ratios.push_back(far_one / near_one);
  }
  writer.join();
  report.add(Figure{.name = name,
                    .value = median(far_runs),
                    .unit = "cycles/packet",
                    .baseline_name = "aead/near",
                    .baseline_value = median(near_runs),
                    .ratio = median(ratios),
                    .runs = far_runs});
}

// `trips` is a multiple of kTripsTogether, which few time stamps are taken for.
void measure_line(Report& report, const std::string& name, size_t rounds, size_t trips) {
  if (!report.wants(name)) return;
  Turns turns;
  std::thread other([&] {
    pin_to(1);
    for (uint64_t trip = 0; trip < rounds * trips; ++trip) {
      turns.wait_for(2 * trip + 1);
      turns.give(2 * trip + 2);
    }
  });
  pin_to(0);
  std::vector<double> runs;
  for (uint64_t round = 0, trip = 0; round < rounds; ++round) {
    std::vector<double> cycles;
    for (uint64_t i = 0; i < trips; i += kTripsTogether) {
      const uint64_t began = __builtin_ia32_rdtsc();
      for (uint64_t end = trip + kTripsTogether; trip < end; ++trip) {
        turns.give(2 * trip + 1);
        turns.wait_for(2 * trip + 2);
      }
      cycles.push_back(static_cast<double>(__builtin_ia32_rdtsc() - began) / kTripsTogether);
    }
    runs.push_back(median(cycles));
  }
  other.join();
  report.add(name, "cycles", runs);
}

}  // namespace

void measure_far(Report& report, bool quick) {
  if (std::thread::hardware_concurrency() < 2) return;
  cpu_set_t before;
  CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
  measure_line(report, "pipeline/far/line-there-and-back", quick ? 1 : 9, quick ? 64 : 16'000);
  for (const uint32_t bytes : {512u, 1'420u}) {
    measure_size(report, "pipeline/far/seal/" + std::to_string(bytes), bytes, quick ? 1 : 9,
                 quick ? 3 : 600);
  }
  CHECK(sched_setaffinity(0, sizeof(before), &before) == 0);
}

}  // namespace turnpike::bench

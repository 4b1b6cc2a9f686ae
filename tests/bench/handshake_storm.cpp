#include "tests/bench/handshake_storm.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <queue>
#include <string>

#include "tests/bench/handshake_bare.h"
#include "tests/bench/handshake_world.h"

namespace turnpike::bench {
namespace {

// So long it takes the link to bring the first message of each.
constexpr Duration kOnset = 100ms;
constexpr int kSecondsLookedAtEach = 10;  // then every other, until all are back
constexpr uint32_t kBareRun = 512;

struct Attempt {
  Instant at;
  uint32_t peer;
  friend bool operator>(const Attempt& a, const Attempt& b) { return a.at > b.at; }
};

struct Outcome {
  std::vector<double> back_after;  // seconds, one for each peer that is back
  uint64_t attempts = 0;
  uint64_t lost = 0;  // found the ring full
};

// A stock peer: one attempt each kRekeyTimeout and a little, with the cookie that it was sent before.
Outcome simulate(HandshakeWorld& world) {
  std::priority_queue<Attempt, std::vector<Attempt>, std::greater<>> attempts;
  const Instant start = world.now().instant;
  const auto uniform = [&](Duration below) {
    return Duration(
        static_cast<int64_t>(world.random().next_u64() % static_cast<uint64_t>(below.count())));
  };
  for (uint32_t peer = 0; peer < world.peers(); ++peer)
    attempts.push({start + uniform(kOnset), peer});
  Outcome outcome;
  while (outcome.back_after.size() < world.peers()) {
    const Instant now = world.now().instant;
    if (now - start >= wireguard::kRekeyAttemptTime) break;
    while (!attempts.empty() && attempts.top().at <= now) {
      const Attempt attempt = attempts.top();
      attempts.pop();
      FarPeer& far = world.far(attempt.peer);
      if (far.has_session()) continue;
      ++outcome.attempts;
      if (world.ring_has_room()) {
        (void)world.punt_datagram(
            {.peer = attempt.peer, .bytes = far.initiate(world.now(), world.random())});
      } else {
        ++outcome.lost;
      }
      attempts.push(
          {attempt.at + wireguard::kRekeyTimeout + uniform(wireguard::kRekeyTimeoutJitterMax),
           attempt.peer});
    }
    size_t done = 0;
    const uint64_t spent = timed([&] { done = world.turn(); });
    world.advance(Duration(static_cast<int64_t>(spent)));
    for (const Datagram& sent : world.take_sent()) {
      FarPeer& far = world.far(sent.peer);
      const bool before = far.has_session();
      (void)far.receive(sent.bytes, world.now(), world.random());
      if (far.has_session() && !before) {
        outcome.back_after.push_back(
            std::chrono::duration<double>(world.now().instant - start).count());
      }
    }
    // Nothing to do: on to the next attempt, at most a moment.
    if (done == 0 && !attempts.empty() && attempts.top().at > world.now().instant) {
      world.advance(std::min<Duration>(attempts.top().at - world.now().instant, 1ms));
    }
  }
  return outcome;
}

}  // namespace

bool storm(Report& report, uint32_t peers) {
  const std::string name = "handshake/storm/" + std::to_string(peers) + "-peers";
  if (!report.wants(name)) return true;
  const auto world = std::make_unique<HandshakeWorld>(peers);
  Bare bare(world->random());
  std::vector<double> rates;
  const auto measure_bare = [&] {
    rates.push_back(kBareRun * 1e9 / static_cast<double>(timed([&] { bare.run(kBareRun); })));
  };
  for (int i = 0; i < 3; ++i) measure_bare();
  const Outcome outcome = simulate(*world);
  for (int i = 0; i < 3; ++i) measure_bare();
  const double rate = median(rates);
  const auto all = static_cast<double>(peers);
  const double until = outcome.back_after.size() < peers
                           ? std::chrono::duration<double>(wireguard::kRekeyAttemptTime).count()
                           : std::ranges::max(outcome.back_after);
  for (int seconds = 1; seconds < until + 2; seconds += seconds < kSecondsLookedAtEach ? 1 : 2) {
    const auto back = static_cast<double>(
        std::ranges::count_if(outcome.back_after, [&](double after) { return after <= seconds; }));
    const double bare_back = std::min(all, rate * seconds);
    report.add(Figure{.name = name + "/" + std::to_string(seconds) + "-seconds",
                      .value = back,
                      .unit = "peers back",
                      .baseline_name = "x25519 alone",
                      .baseline_value = bare_back,
                      .ratio = back / bare_back,
                      .runs = {back}});
  }
  std::printf("%s: %llu attempts, %llu found the ring full, %llu were sent a cookie\n",
              name.c_str(), static_cast<unsigned long long>(outcome.attempts),
              static_cast<unsigned long long>(outcome.lost),
              static_cast<unsigned long long>(world->drops(DropReason::Mac2Missing)));
  if (outcome.back_after.size() < peers) {
    std::fprintf(stderr, "%s: %zu of %u are back when the others give up\n", name.c_str(),
                 outcome.back_after.size(), peers);
    return false;
  }
  const double last = std::ranges::max(outcome.back_after);
  report.add(Figure{.name = name + "/all-back",
                    .value = last,
                    .unit = "s",
                    .baseline_name = "x25519 alone",
                    .baseline_value = all / rate,
                    .ratio = last / (all / rate),
                    .runs = {last}});
  return true;
}

}  // namespace turnpike::bench

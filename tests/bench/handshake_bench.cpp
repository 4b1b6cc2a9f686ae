// Handshakes a second of one core, from the punt ring to the inject ring, in both roles, beside the bare X25519
// operations that each needs: an ephemeral public key and three shared secrets (static-static is kept for each
// peer). The same with two session threads, beside what one core makes of those operations.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>

#include "tests/bench/handshake_bare.h"
#include "tests/bench/handshake_storm.h"
#include "tests/bench/handshake_world.h"
#include "tests/bench/paired.h"

namespace turnpike::bench {
namespace {

// Below what a ring of punted datagrams takes for load: what comes in between two turns on one core, and in a rush, in
// which a second thread has time to wake up.
constexpr uint32_t kBatch = 64;
constexpr uint32_t kRush = 240;
// Of all peers so many take part, each several times: what is computed once for a peer is there after the first.
constexpr uint32_t kActive = 1'024;
// More than kRejectAfterTime: what one round made is of no use in the next.
constexpr Duration kBetweenRounds = 200s;

struct Sizes {
  std::vector<uint32_t> peers;
  uint32_t batch;  // handshakes at a time
  uint32_t batches;  // in each round
  size_t rounds;
};

struct Spent {
  uint64_t session_ns = 0;
  uint64_t bare_ns = 0;
  uint64_t handshakes = 0;
};

// Spread over all, so that their states share no cache line nor page.
uint32_t nth_peer(const HandshakeWorld& world, uint32_t n) {
  const uint32_t active = std::min(kActive, world.peers());
  return n % active * (world.peers() / active);
}

// Peers begin; the gateway reads, answers and installs the keypair.
Spent respond(HandshakeWorld& world, Bare& bare, uint32_t& next, const Sizes& sizes) {
  Spent spent;
  const uint32_t batch = std::min(sizes.batch, world.peers());
  for (uint32_t i = 0; i < sizes.batches; ++i) {
    for (uint32_t k = 0; k < batch; ++k) {
      const uint32_t peer = nth_peer(world, next++);
      const bool room = world.punt_datagram(
          {.peer = peer, .bytes = world.far(peer).initiate(world.now(), world.random())});
      if (!room) std::abort();
    }
    spent.session_ns += timed([&] { world.turns(); });
    spent.handshakes += world.take_sent().size();
    spent.bare_ns += timed([&] { bare.run(batch); });
  }
  return spent;
}

// Packets wait for sessions that the gateway makes.
Spent initiate(HandshakeWorld& world, Bare& bare, uint32_t& next, const Sizes& sizes) {
  Spent spent;
  const uint32_t batch = std::min(sizes.batch, world.peers());
  for (uint32_t i = 0; i < sizes.batches; ++i) {
    for (uint32_t k = 0; k < batch; ++k) {
      world.punt_needs_handshake(nth_peer(world, next++));
    }
    spent.session_ns += timed([&] { world.turns(); });
    for (const Datagram& sent : world.take_sent()) {
      auto answer = world.far(sent.peer).receive(sent.bytes, world.now(), world.random());
      if (!world.punt_datagram({.peer = sent.peer, .bytes = std::move(answer)})) std::abort();
    }
    const uint64_t released = world.data_sent();
    spent.session_ns += timed([&] { world.turns(); });
    (void)world.take_sent();
    // A packet that waited has gone: its session is there.
    spent.handshakes += world.data_sent() - released;
    spent.bare_ns += timed([&] { bare.run(batch); });
  }
  return spent;
}

template <typename Role>
bool measure(Report& report, const std::string& name, HandshakeWorld& world, const Sizes& sizes,
             Role&& role) {
  if (!report.wants(name)) return true;
  Bare bare(world.random());
  uint32_t next = 0;
  std::vector<double> rates, bare_rates, ratios;
  const uint32_t batch = std::min(sizes.batch, world.peers());
  const size_t warm_up = std::min(kActive, world.peers()) / (sizes.batches * batch);
  for (size_t round = 0; round < warm_up + sizes.rounds; ++round) {
    const Spent spent = role(world, bare, next, sizes);
    world.advance(kBetweenRounds);
    world.turns();  // timers, and the router's address
    (void)world.take_sent();
    world.turns();
    const uint64_t wanted = uint64_t{sizes.batches} * batch;
    if (spent.handshakes != wanted) {
      std::fprintf(stderr, "%s: %llu of %llu handshakes were made\n", name.c_str(),
                   static_cast<unsigned long long>(spent.handshakes),
                   static_cast<unsigned long long>(wanted));
      return false;
    }
    if (round < warm_up) continue;
    const auto done = static_cast<double>(spent.handshakes) * 1e9;
    rates.push_back(done / static_cast<double>(spent.session_ns));
    bare_rates.push_back(done / static_cast<double>(spent.bare_ns));
    ratios.push_back(rates.back() / bare_rates.back());
  }
  report.add(Figure{.name = name,
                    .value = median(rates),
                    .unit = "handshakes/s",
                    .baseline_name = "x25519 alone",
                    .baseline_value = median(bare_rates),
                    .ratio = median(ratios),
                    .runs = rates});
  return true;
}

int run(int argc, char** argv) {
  Report report(parse_options(argc, argv));
  const Sizes sizes =
      report.options().quick
          ? Sizes{.peers = {16}, .batch = kBatch, .batches = 1, .rounds = 2}
          : Sizes{.peers = {1'000, 100'000}, .batch = kBatch, .batches = 4, .rounds = 21};
  for (const uint32_t peers : sizes.peers) {
    const std::string of_peers = "/" + std::to_string(peers) + "-peers";
    const std::string responder = "handshake/responder" + of_peers;
    const std::string initiator = "handshake/initiator" + of_peers;
    if (!report.wants(responder) && !report.wants(initiator)) continue;
    const auto world = std::make_unique<HandshakeWorld>(peers);
    if (!measure(report, responder, *world, sizes, respond)) return 1;
    if (!measure(report, initiator, *world, sizes, initiate)) return 1;
  }
  const uint32_t peers = sizes.peers.front();
  const std::string of_two = "/" + std::to_string(peers) + "-peers/2-threads";
  const std::string responder = "handshake/responder" + of_two;
  const std::string initiator = "handshake/initiator" + of_two;
  if (report.wants(responder) || report.wants(initiator)) {
    const auto world = std::make_unique<HandshakeWorld>(peers, 2);
    const Sizes rush = {
        .peers = {}, .batch = kRush, .batches = sizes.batches, .rounds = sizes.rounds};
    if (!measure(report, responder, *world, rush, respond)) return 1;
    if (!measure(report, initiator, *world, rush, initiate)) return 1;
  }
  if (!storm(report, report.options().quick ? 512 : 100'000)) return 1;
  return report.write_json() ? 0 : 1;
}

}  // namespace
}  // namespace turnpike::bench

int main(int argc, char** argv) { return turnpike::bench::run(argc, argv); }

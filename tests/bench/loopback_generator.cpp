// The other side of the loopback benchmark: hosts inside and WireGuard peers outside, in one process with one
// core, driven by lines on its standard input (loopback_bench.py). Each line is answered by one of JSON.
//   up                          once the gateway is at the other ends of both cables
//   handshake                   new sessions for all peers
//   stock FLOW BYTES COUNT      makes COUNT frames; FLOW is outbound or inbound, BYTES those of an inner packet
//   trial RATE SECONDS          sends them, at RATE packets a second (0: as the gateway takes them); an inbound
//                               stock is used up by it
//   unfinished                  sends frames whose checksums are left to the gateway's ports (system/unfinished_test.py)
//   `keys PEERS` as the only arguments prints the peers' public keys and ends.
#include <rte_cycles.h>
#include <time.h>

#include <cstdio>
#include <iostream>
#include <sstream>

#include "dataplane/base/text.h"
#include "tests/bench/loopback_trial.h"
#include "tests/bench/loopback_unfinished.h"
#include "tests/bench/paired.h"

namespace turnpike::bench {
namespace {

int usage() {
  std::fprintf(stderr,
               "usage: bench-loopback-generator keys PEERS\n"
               "       bench-loopback-generator CORE DIRECTORY FILE-PREFIX GATEWAY-KEY PEERS\n");
  return 2;
}

void answer(bool ok) {
  std::printf("{\"ok\": %s}\n", ok ? "true" : "false");
  std::fflush(stdout);
}

bool wait_for_link(Link& link) {
  for (int i = 0; i < 200; ++i) {
    if (link.up()) return true;
    const timespec pause{.tv_sec = 0, .tv_nsec = 50'000'000};
    nanosleep(&pause, nullptr);
  }
  return false;
}

struct Stocked {
  Flow flow = Flow::Outbound;
  Stock stock;
};

bool make_stock(std::istringstream& words, Sessions& sessions, Stocked& stocked) {
  std::string flow;
  uint16_t bytes = 0;
  size_t count = 0;
  words >> flow >> bytes >> count;
  if (!words || (flow != "outbound" && flow != "inbound") || bytes < Stock::kMinInnerBytes ||
      bytes > kTunnelMtu) {
    return false;
  }
  // Before the messages get their counters: one that comes in front of all would leave them behind the window.
  sessions.keepalive();
  stocked.flow = flow == "outbound" ? Flow::Outbound : Flow::Inbound;
  stocked.stock.make(stocked.flow, bytes, count, sessions);
  return true;
}

void trial(std::istringstream& words, Link& link, Sessions& sessions, Stocked& stocked) {
  TrialOptions options{.flow = stocked.flow};
  words >> options.rate >> options.seconds;
  if (!words || stocked.stock.count() == 0) return answer(false);
  const TrialResult r = run_trial(options, link, sessions, stocked.stock);
  sessions.keepalive();
  if (stocked.flow == Flow::Inbound) stocked.stock.use_up();
  std::printf(
      "{\"ok\": true, \"offered\": %lu, \"refused\": %lu, \"received\": %lu, \"other\": %lu, "
      "\"wrong\": %lu, \"offers\": %lu, \"held_back\": %lu, \"tsc_hz\": %lu, \"seconds\": %.6f, "
      "\"worst_gap_us\": %.1f, \"probes\": %zu, \"p50_us\": "
      "%.2f, "
      "\"p99_us\": %.2f, \"p999_us\": %.2f}\n",
      r.offered, r.refused, r.received, r.other, r.wrong, r.offers, r.held_back, rte_get_tsc_hz(),
      r.seconds, r.worst_gap_us, r.latency_us.size(), percentile(r.latency_us, 0.5),
      percentile(r.latency_us, 0.99), percentile(r.latency_us, 0.999));
  std::fflush(stdout);
}

void unfinished(Link& link, Sessions& sessions) {
  const UnfinishedResult r = send_unfinished(link, sessions);
  std::printf(
      "{\"ok\": true, \"sent\": %zu, \"tcp\": %zu, \"udp\": %zu, \"wrong\": %zu, "
      "\"messages\": %zu}\n",
      r.sent, r.tcp, r.udp, r.wrong, r.messages);
  std::fflush(stdout);
}

int serve(unsigned core, const std::string& directory, const std::string& prefix,
          const PublicKey& gateway, uint32_t peers) {
  Link link(core, directory, prefix);
  Sessions sessions(link, gateway, peers);
  Stocked stocked;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "up") {
      answer(wait_for_link(link));
    } else if (command == "handshake") {
      answer(sessions.handshake());
    } else if (command == "stock") {
      answer(make_stock(words, sessions, stocked));
    } else if (command == "trial") {
      trial(words, link, sessions, stocked);
    } else if (command == "unfinished") {
      unfinished(link, sessions);
    } else {
      answer(false);
    }
  }
  return 0;
}

int run(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "keys") {
    for (const PublicKey& key :
         Sessions::public_keys(static_cast<uint32_t>(std::stoul(words[1])))) {
      std::printf("%s\n", base::key_to_base64(key.bytes).c_str());
    }
    return 0;
  }
  if (words.size() != 5) return usage();
  const auto key = base::key_from_base64(words[3]);
  if (!key) return usage();
  return serve(static_cast<unsigned>(std::stoul(words[0])), words[1], words[2], PublicKey{*key},
               static_cast<uint32_t>(std::stoul(words[4])));
}

}  // namespace
}  // namespace turnpike::bench

int main(int argc, char** argv) {
  return turnpike::bench::run(std::vector<std::string>(argv + 1, argv + argc));
}

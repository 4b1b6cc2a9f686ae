#include "tests/bench/control_served.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>

#include "dataplane/base/address.h"
#include "dataplane/base/bytes.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/text.h"
#include "tests/bench/control_daemon.h"

namespace turnpike::bench {
namespace {

constexpr size_t kConnections = 8;

double now_us() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

PublicKey key_of(uint32_t tunnel, uint32_t number) {
  std::mt19937_64 random((uint64_t{tunnel} << 32) + number);
  PublicKey key;
  for (size_t i = 0; i < key.bytes.size(); i += 8) store_be64(&key.bytes[i], random());
  return key;
}

std::string prefix_of(uint32_t number) {
  return to_string(Prefix::masked(IpAddress::v4((16u << 24) + (number << 8)), 24));
}

// Who has which prefix of wg0, and moves between them.
class Owners {
 public:
  explicit Owners(const ServedSizes& sizes)
      : peers_(sizes.peers), owners_(size_t{sizes.peers} * sizes.prefixes_each) {
    for (uint32_t i = 0; i < owners_.size(); ++i) owners_[i] = i / sizes.prefixes_each;
  }
  [[nodiscard]] uint32_t prefixes() const { return static_cast<uint32_t>(owners_.size()); }

  std::string fill() const {
    std::string text = "set=1\n";
    for (uint32_t prefix = 0; prefix < owners_.size(); ++prefix) {
      if (prefix == 0 || owners_[prefix] != owners_[prefix - 1]) {
        text += "public_key=" + base::to_hex(key_of(0, owners_[prefix]).bytes) + "\n";
      }
      text += "allowed_ip=" + prefix_of(prefix) + "\n";
    }
    return text + "\n";
  }
  std::string move() {
    const auto prefix = static_cast<uint32_t>(random_() % owners_.size());
    const auto to = static_cast<uint32_t>(random_() % peers_);
    const std::string document = R"({"edits":[{"op":"move","tunnel":"wg0","from":")" +
                                 base::key_to_base64(key_of(0, owners_[prefix]).bytes) +
                                 R"(","to":")" + base::key_to_base64(key_of(0, to).bytes) +
                                 R"(","prefixes":[")" + prefix_of(prefix) + "\"]}]}";
    owners_[prefix] = to;
    return document;
  }
  std::string owner_question() {
    return "/v1/owner?tunnel=wg0&address=" +
           to_string(IpAddress::v4((16u << 24) +
                                   (static_cast<uint32_t>(random_() % owners_.size()) << 8)));
  }

 private:
  uint32_t peers_;
  std::vector<uint32_t> owners_;
  std::mt19937_64 random_{20261122};
};

void fill(Report& report, const DaemonProcess& daemon, const Owners& owners,
          const std::string& base) {
  std::fprintf(stderr, "... %s: filling\n", base.c_str());
  const double start = now_us();
  daemon.set("wg0", owners.fill());
  report.add(base + "/fill", "s", {(now_us() - start) / 1e6});
}

// From the request on the socket to the answer, which is given when every worker has the move. Beside it a
// question that changes nothing.
void moves(Report& report, const DaemonProcess& daemon, Owners& owners, const ServedSizes& sizes,
           const std::string& base) {
  Client client(daemon.control());
  const auto timed = [&](std::string_view method, const std::string& target,
                         const std::string& body) {
    const double start = now_us();
    client.send_request(method, target, body);
    (void)client.await_answer();
    return now_us() - start;
  };
  std::vector<double> p50, p99, questions, ratios, all;
  for (size_t round = 0; round <= sizes.rounds; ++round) {
    std::vector<double> moved, asked;
    for (size_t i = 0; i < sizes.moves; ++i) {
      moved.push_back(timed("POST", "/v1/transactions", owners.move()));
      asked.push_back(timed("GET", owners.owner_question(), ""));
    }
    if (round == 0) continue;  // warm-up
    p50.push_back(median(moved));
    p99.push_back(percentile(moved, 0.99));
    questions.push_back(median(asked));
    ratios.push_back(p50.back() / questions.back());
  }
  report.add(Figure{.name = base + "/move/p50",
                    .value = median(p50),
                    .unit = "us",
                    .baseline_name = "question",
                    .baseline_value = median(questions),
                    .ratio = median(ratios),
                    .runs = p50});
  report.add(base + "/move/p99", "us", p99);
}

// Several connections, each with a move on its way.
void commits(Report& report, const DaemonProcess& daemon, Owners& owners, const ServedSizes& sizes,
             const std::string& base) {
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < kConnections; ++i) {
    clients.push_back(std::make_unique<Client>(daemon.control()));
  }
  std::vector<double> rates;
  for (size_t round = 0; round < sizes.rounds; ++round) {
    const double start = now_us();
    for (size_t i = 0; i < sizes.moves; i += kConnections) {
      // One prefix may come twice: its moves then have to be answered in order, so each round trip is whole.
      for (const auto& client : clients) {
        client->send_request("POST", "/v1/transactions", owners.move());
      }
      for (const auto& client : clients) (void)client->await_answer();
    }
    const size_t done = (sizes.moves + kConnections - 1) / kConnections * kConnections;
    rates.push_back(static_cast<double>(done) * 1e6 / (now_us() - start));
  }
  report.add(base + "/commits/" + std::to_string(kConnections) + "-connections", "1/s", rates);
}

std::string wg_config(uint32_t peers) {
  std::string text =
      "[Interface]\nListenPort = 51821\nPrivateKey = " + base::key_to_base64(key_of(9, 9).bytes) +
      "\n";
  for (uint32_t i = 0; i < peers; ++i) {
    text += "[Peer]\nPublicKey = " + base::key_to_base64(key_of(1, i).bytes) +
            "\nAllowedIPs = " + prefix_of(i) +
            "\nEndpoint = 198.51.100.7:" + std::to_string(1024 + i % 60'000) + "\n";
  }
  return text;
}

void wg_files(Report& report, const DaemonProcess& daemon, const ServedSizes& sizes,
              const std::string& directory, const std::string& base) {
  const DiscardingSocket discarding(directory + "/wireguard/discard.sock");
  const std::string file = directory + "/wg1.conf";
  std::ofstream(file) << wg_config(sizes.set_peers);
  std::vector<double> set, set_alone, sync, sync_alone, resident;
  for (size_t round = 0; round < sizes.rounds; ++round) {
    daemon.set("wg1", "set=1\nreplace_peers=true\n\n");
    const uint64_t before = daemon.resident_bytes();
    set_alone.push_back(time_wg({"setconf", "discard", file}));
    set.push_back(time_wg({"setconf", "wg1", file}));
    resident.push_back(
        static_cast<double>(daemon.resident_bytes() - std::min(before, daemon.resident_bytes())) /
        sizes.set_peers);
    sync_alone.push_back(time_wg({"syncconf", "discard", file}));
    sync.push_back(time_wg({"syncconf", "wg1", file}));
  }
  const auto add = [&](const std::string& name, const std::vector<double>& ours,
                       const std::vector<double>& alone) {
    std::vector<double> ratios, above;
    for (size_t i = 0; i < ours.size(); ++i) {
      ratios.push_back(ours[i] / alone[i]);
      above.push_back(ours[i] - alone[i]);
    }
    report.add(Figure{.name = base + "/" + name,
                      .value = median(ours),
                      .unit = "s",
                      .baseline_name = "wg-alone",
                      .baseline_value = median(alone),
                      .ratio = median(ratios),
                      .runs = ours});
    report.add(base + "/" + name + "/above-wg-alone", "s", above);
  };
  const std::string peers = std::to_string(sizes.set_peers);
  add("first-setconf/" + peers, set, set_alone);
  add("no-op-syncconf/" + peers, sync, sync_alone);
  // The first time alone: later, memory that was freed is used again.
  report.add(base + "/memory/resident-per-peer", "bytes", {resident.front()});
}

// What a peer takes of memory with the store on: state, tables, what SQLite keeps of its file, and the heap that is
// free again.
void memory_with_store(Report& report, const ServedSizes& sizes, const std::string& directory) {
  const std::string own = directory + "/memory";
  std::filesystem::create_directory(own);
  const DaemonProcess daemon(own, true);
  Owners owners({.peers = sizes.set_peers, .prefixes_each = 1});
  const uint64_t before = daemon.resident_bytes();
  daemon.set("wg0", owners.fill());
  const uint64_t after = daemon.resident_bytes();
  report.add("control/served-durable/memory/resident-per-peer", "bytes",
             {static_cast<double>(after - std::min(before, after)) / sizes.set_peers});
}

// Fills the daemon, then moves and commits; the name of these figures.
std::string fill_and_edit(Report& report, const DaemonProcess& daemon, const ServedSizes& sizes,
                          const std::string& area) {
  Owners owners(sizes);
  const std::string base = area + std::to_string(owners.prefixes());
  fill(report, daemon, owners, base);
  moves(report, daemon, owners, sizes, base);
  commits(report, daemon, owners, sizes, base);
  return base;
}

}  // namespace

void served(Report& report, const ServedSizes& sizes, const std::string& directory) {
  const DaemonProcess daemon(directory, false);
  const std::string base = fill_and_edit(report, daemon, sizes, "control/served/");
  wg_files(report, daemon, sizes, directory, base);
}

void served_durable(Report& report, const ServedSizes& sizes, const std::string& directory) {
  memory_with_store(report, sizes, directory);
  const DaemonProcess daemon(directory, true);
  (void)fill_and_edit(report, daemon, sizes, "control/served-durable/");
}

}  // namespace turnpike::bench

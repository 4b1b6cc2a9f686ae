#include "control/cli/top.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "control/api/url.h"
#include "control/cli/answer_text.h"
#include "control/cli/client.h"
#include "control/cli/requests.h"
#include "control/cli/table.h"

namespace turnpike::cli {
namespace {

using nlohmann::json;

constexpr size_t kLinesAround = 4;  // head, titles, and room for the prompt
constexpr const char* kClear = "\x1b[H\x1b[2J";

struct Row {
  std::string tunnel, peer, endpoint;
  uint64_t rx_bytes = 0, tx_bytes = 0;
  double rx_rate = 0, tx_rate = 0;  // bytes a second
};

// What each peer had counted, by tunnel and key.
using Counts = std::map<std::pair<std::string, std::string>, std::pair<uint64_t, uint64_t>>;

std::vector<Row> rows_of(const json& shown, Counts& counts, double seconds) {
  std::vector<Row> rows;
  Counts now;
  for (const json& peer : shown.at("peers")) {
    Row row{.tunnel = peer.at("tunnel"),
            .peer = peer.at(peer.at("name").is_string() ? "name" : "public_key"),
            .endpoint = peer.at("endpoint").is_string() ? peer.at("endpoint") : "-",
            .rx_bytes = peer.at("rx_bytes"),
            .tx_bytes = peer.at("tx_bytes")};
    const std::pair key(row.tunnel, peer.at("public_key").get<std::string>());
    const auto before = counts.find(key);
    // A peer that was added anew counts from zero.
    if (before != counts.end() && seconds > 0 && row.rx_bytes >= before->second.first &&
        row.tx_bytes >= before->second.second) {
      row.rx_rate = static_cast<double>(row.rx_bytes - before->second.first) / seconds;
      row.tx_rate = static_cast<double>(row.tx_bytes - before->second.second) / seconds;
    }
    now.emplace(key, std::pair(row.rx_bytes, row.tx_bytes));
    rows.push_back(std::move(row));
  }
  counts = std::move(now);
  std::ranges::stable_sort(rows, std::greater<>(),
                           [](const Row& row) { return row.rx_rate + row.tx_rate; });
  return rows;
}

std::string rate(double bytes) { return human_bytes(static_cast<uint64_t>(bytes)) + "/s"; }

std::string text_of(const std::vector<Row>& rows, size_t shown, const json& answer,
                    const Environment& environment) {
  Table table({{.title = "TUNNEL"},
               {.title = "PEER", .shrinks_to = 9},
               {.title = "ENDPOINT", .shrinks_to = 12},
               {.title = "RECEIVING", .right = true},
               {.title = "SENDING", .right = true},
               {.title = "RECEIVED", .right = true},
               {.title = "SENT", .right = true}});
  double receiving = 0, sending = 0;
  for (const Row& row : rows) {
    receiving += row.rx_rate;
    sending += row.tx_rate;
  }
  for (size_t i = 0; i < rows.size() && i < shown; ++i) {
    const Row& row = rows[i];
    table.add({row.tunnel, row.peer, row.endpoint, rate(row.rx_rate), rate(row.tx_rate),
               human_bytes(row.rx_bytes), human_bytes(row.tx_bytes)});
  }
  return "generation " + answer.at("generation").dump() + ", " + std::to_string(rows.size()) +
         " peers, receiving " + rate(receiving) + ", sending " + rate(sending) + "\n" +
         table.text(environment.width, environment.colour);
}

json json_of(const std::vector<Row>& rows, const json& answer) {
  json peers = json::array();
  for (const Row& row : rows) {
    peers.push_back({{"tunnel", row.tunnel},
                     {"peer", row.peer},
                     {"rx_bytes", row.rx_bytes},
                     {"tx_bytes", row.tx_bytes},
                     {"rx_bytes_per_second", row.rx_rate},
                     {"tx_bytes_per_second", row.tx_rate}});
  }
  return {{"generation", answer.at("generation")}, {"peers", std::move(peers)}};
}

}  // namespace

int top(const TopOptions& options, const Common& common, Environment& environment) {
  std::string target = "/v1/show?section=peers";
  if (!options.tunnel.empty()) target += "&tunnel=" + api::percent_encode(options.tunnel);
  const bool live = environment.width != 0 && !common.json;
  Counts counts;
  double seconds = 0;  // since the round before
  for (uint64_t round = 1;; ++round) {
    const auto reply = ask(common.socket, {.target = target});
    if (!reply) return complain(environment, reply.error());
    if (reply->status != 200) return complain(environment, problem_text(*reply));
    try {
      const json answer = json::parse(reply->body);
      const std::vector<Row> rows = rows_of(answer, counts, seconds);
      if (common.json) {
        environment.out
            << json_of(rows, answer).dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
      } else {
        const size_t shown = live && environment.height > kLinesAround
                                 ? environment.height - kLinesAround
                                 : rows.size();
        environment.out << (live ? kClear : "") << text_of(rows, shown, answer, environment);
      }
    } catch (const json::exception& e) {
      return complain(environment,
                      "the daemon's answer is not understood: " + std::string(e.what()));
    }
    environment.out.flush();
    if (!environment.out.good()) return kError;
    if (round == options.rounds) return kDone;
    seconds = environment.wait(options.interval_seconds);
    if (seconds < 0) return kDone;  // q
  }
}

}  // namespace turnpike::cli

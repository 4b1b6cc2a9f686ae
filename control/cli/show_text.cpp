#include "control/cli/show_text.h"

#include <ctime>
#include <nlohmann/json.hpp>

#include "control/cli/table.h"

namespace turnpike::cli {
namespace {

using nlohmann::json;

std::string text_or(const json& value, const char* otherwise) {
  return value.is_string() ? value.get<std::string>() : otherwise;
}

std::string number(const json& value) { return value.dump(); }

std::string list(const json& values) {
  std::string all;
  for (const json& value : values) all += (all.empty() ? "" : ", ") + value.get<std::string>();
  return all.empty() ? "-" : all;
}

std::string handshake(const json& value, uint64_t now_seconds) {
  if (!value.is_string()) return "never";
  std::tm parts{};
  if (strptime(value.get_ref<const std::string&>().c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) ==
      nullptr) {
    return value.get<std::string>();
  }
  const auto at = static_cast<uint64_t>(timegm(&parts));
  return at >= now_seconds ? "now" : human_age(now_seconds - at) + " ago";
}

class ShowText {
 public:
  explicit ShowText(const Environment& environment) : environment_(environment) {}

  std::string run(const json& answer) {
    for (const auto& [section, values] : answer.items()) {
      if (section == "tunnels") tunnels(values);
      if (section == "peers") peers(values);
      if (section == "ports") ports(values);
      if (section == "workers") workers(values);
      if (section == "drops") drops(values);
    }
    // The order of reading, whatever that of the answer is.
    std::string out = "generation " + number(answer.at("generation")) + "\n";
    for (const std::string* part : {&tunnels_, &peers_, &ports_, &workers_, &drops_}) {
      if (!part->empty()) out += "\n" + *part;
    }
    return out;
  }

 private:
  std::string finish(const Table& table, const char* nothing) const {
    if (table.empty()) return std::string(nothing) + "\n";
    return table.text(environment_.width, environment_.colour);
  }

  void tunnels(const json& values) {
    Table table({{.title = "TUNNEL"},
                 {.title = "PORT", .right = true},
                 {.title = "OUTSIDE"},
                 {.title = "INSIDE"},
                 {.title = "MTU", .right = true},
                 {.title = "ADDRESSES", .shrinks_to = 12},
                 {.title = "PUBLIC KEY", .shrinks_to = 12}});
    for (const json& t : values) {
      table.add({t.at("name"), number(t.at("listen_port")), t.at("outside"), t.at("inside"),
                 number(t.at("mtu")), list(t.at("addresses")),
                 text_or(t.at("public_key"), "(none)")});  // as wg(8) has it
    }
    tunnels_ = finish(table, "no tunnels");
  }

  void peers(const json& values) {
    Table table({{.title = "TUNNEL"},
                 {.title = "PEER", .shrinks_to = 9},
                 {.title = "ENDPOINT", .shrinks_to = 12},
                 {.title = "HANDSHAKE", .right = true},
                 {.title = "RECEIVED", .right = true},
                 {.title = "SENT", .right = true},
                 {.title = "ALLOWED IPS", .shrinks_to = 12}});
    for (const json& p : values) {
      const bool enabled = p.at("enabled").get<bool>();
      table.add({p.at("tunnel"),
                 text_or(p.at("name"), p.at("public_key").get_ref<const std::string&>().c_str()),
                 text_or(p.at("endpoint"), "-"),
                 handshake(p.at("last_handshake"), environment_.now_seconds),
                 human_bytes(p.at("rx_bytes")), human_bytes(p.at("tx_bytes")),
                 enabled ? list(p.at("allowed_ips")) : "(disabled)"});
    }
    peers_ = finish(table, "no peers");
  }

  void ports(const json& values) {
    Table table({{.title = "PORT"},
                 {.title = "LINK"},
                 {.title = "MAC"},
                 {.title = "RX PACKETS", .right = true},
                 {.title = "TX PACKETS", .right = true},
                 {.title = "MISSED", .right = true},
                 {.title = "NO MBUF", .right = true}});
    for (const json& p : values) {
      table.add({p.at("name"), p.at("up").get<bool>() ? "up" : "down", p.at("mac"),
                 number(p.at("rx_packets")), number(p.at("tx_packets")), number(p.at("missed")),
                 number(p.at("no_mbuf"))});
    }
    ports_ = finish(table, "no ports");
  }

  void workers(const json& values) {
    Table table({{.title = "LCORE", .right = true},
                 {.title = "NODE", .right = true},
                 {.title = "GENERATION", .right = true},
                 {.title = "BUSY", .right = true},
                 {.title = "CYCLES/PACKET", .right = true},
                 {.title = "IDLE"}});
    for (const json& w : values) {
      char busy[16];
      char cycles[32];
      std::snprintf(busy, sizeof(busy), "%.0f %%", 100 * w.at("busy").get<double>());
      const json& each = w.at("cycles_per_packet");
      std::snprintf(cycles, sizeof(cycles), "%.0f", each.is_number() ? each.get<double>() : 0.0);
      // Null, and not there with an older daemon.
      const auto idle = w.find("idle");
      const auto node = w.find("numa_node");
      table.add({number(w.at("lcore")), node != w.end() && node->is_number() ? number(*node) : "-",
                 number(w.at("generation")), busy, cycles,
                 idle != w.end() ? idle->get<std::string>() : "-"});
    }
    workers_ = finish(table, "no workers");
  }

  void drops(const json& values) {
    Table table({{.title = "DROPPED FOR"}, {.title = "PACKETS", .right = true}});
    for (const auto& [reason, count] : values.items()) {
      if (count.get<uint64_t>() > 0) table.add({reason, number(count)});
    }
    drops_ = finish(table, "no packet was dropped");
  }

  const Environment& environment_;
  std::string tunnels_, peers_, ports_, workers_, drops_;
};

}  // namespace

Result<std::string, std::string> show_text(std::string_view text, const Environment& environment) {
  try {
    return ShowText(environment).run(json::parse(text));
  } catch (const json::exception& e) {
    return fail("the daemon's answer is not understood (is it of another version?): " +
                std::string(e.what()));
  }
}

}  // namespace turnpike::cli

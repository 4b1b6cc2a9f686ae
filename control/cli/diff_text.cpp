#include "control/cli/diff_text.h"

#include <nlohmann/json.hpp>

#include "config/plain_text.h"
#include "control/cli/table.h"

namespace turnpike::cli {
namespace {

using nlohmann::json;

// Lines of one kind that are written out; --json has them all.
constexpr size_t kMaxLines = 200;

std::string joined(const json& values) {
  std::string all;
  for (const json& value : values) all += (all.empty() ? "" : ", ") + value.get<std::string>();
  return all;
}

std::string text_or(const json& value, const char* otherwise) {
  return value.is_string() ? value.get<std::string>() : otherwise;
}

class DiffText {
 public:
  explicit DiffText(const Environment& environment) : environment_(environment) {}

  std::string run(const json& diff) {
    std::string out;
    if (!diff.at("changed").get<bool>()) {
      out = "a reload would change nothing (generation " + diff.at("generation").dump() + ")\n";
    } else {
      out = "a reload would change, at generation " + diff.at("generation").dump() + ":\n";
    }
    if (const auto taken_over = diff.value("taken_over", uint64_t{0}); taken_over != 0) {
      out += std::to_string(taken_over) +
             " peers and prefixes that were made at run time would be the file's from then on\n";
    }
    if (diff.at("addresses_and_routes").get<bool>()) {
      out += "\naddresses, routes or MTUs of ports or tunnels\n";
    }
    Table tunnels({{.title = "TUNNEL"}, {.title = ""}, {.title = "KEYS", .shrinks_to = 12}});
    section(out, diff.at("tunnels"), tunnels, [&](const json& t) {
      tunnels.add({t.at("name"), t.at("change"), joined(t.at("keys"))});
    });
    Table peers({{.title = "TUNNEL"},
                 {.title = "PEER", .shrinks_to = 9},
                 {.title = ""},
                 {.title = "KEYS", .shrinks_to = 12}});
    section(out, diff.at("peers"), peers, [&](const json& p) {
      peers.add({p.at("tunnel"), p.at("peer"), p.at("change"), joined(p.at("keys"))});
    });
    Table prefixes({{.title = "TUNNEL"},
                    {.title = "PREFIX"},
                    {.title = ""},
                    {.title = "FROM", .shrinks_to = 9},
                    {.title = "TO", .shrinks_to = 9}});
    section(out, diff.at("prefixes"), prefixes, [&](const json& p) {
      prefixes.add({p.at("tunnel"), p.at("prefix"), p.at("change"), text_or(p.at("from"), "-"),
                    text_or(p.at("to"), "-")});
    });
    Table sessions({{.title = "TUNNEL"},
                    {.title = "PEER", .shrinks_to = 9},
                    {.title = "SESSION"},
                    {.title = "BECAUSE"}});
    section(out, diff.at("sessions"), sessions, [&](const json& s) {
      sessions.add({s.at("tunnel"), s.at("peer"), s.at("ends").get<bool>() ? "ends" : "is renewed",
                    s.at("why")});
    });
    const auto warn = [&](const std::string& text) {
      out += "warning: " + config::plain_text(text, true) + "\n";
    };
    if (!diff.at("nested").empty() || !diff.at("warnings").empty()) out += "\n";
    for (const json& nested : diff.at("nested")) warn(nested);
    for (const json& warning : diff.at("warnings")) warn(warning.at("text"));
    return out;
  }

 private:
  template <typename Add>
  void section(std::string& out, const json& items, const Table& table, Add&& add) {
    if (items.empty()) return;
    for (size_t i = 0; i < items.size() && i < kMaxLines; ++i) add(items[i]);
    out += "\n" + table.text(environment_.width, environment_.colour);
    if (items.size() > kMaxLines) {
      out += "... and " + std::to_string(items.size() - kMaxLines) + " more; --json lists all\n";
    }
  }

  const Environment& environment_;
};

}  // namespace

Result<std::string, std::string> diff_text(std::string_view text, const Environment& environment) {
  try {
    return DiffText(environment).run(json::parse(text));
  } catch (const json::exception& e) {
    return fail("the daemon's answer is not understood (is it of another version?): " +
                std::string(e.what()));
  }
}

}  // namespace turnpike::cli

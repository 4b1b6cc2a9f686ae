#include "control/cli/watch.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "config/plain_text.h"
#include "control/cli/answer_text.h"
#include "control/cli/client.h"
#include "control/cli/requests.h"

namespace turnpike::cli {

std::string event_text(std::string_view line) {
  const auto tree = nlohmann::json::parse(line, nullptr, false);
  if (!tree.is_object()) return std::string(line) + "\n";
  std::string out = tree.value("time", std::string(20, ' ')) + "  " + tree.value("event", "?");
  for (const auto& [key, value] : tree.items()) {
    if (key == "time" || key == "event") continue;
    // A comment is its writer's: a line stays one line, and a terminal does not act on it.
    out += "  " + key + "=" +
           (value.is_string() ? config::plain_text(value.get_ref<const std::string&>(), false)
                              : value.dump());
  }
  return out + "\n";
}

int watch(const Common& common, Environment& environment) {
  std::string rest;
  bool cut_off = false;
  const auto line = [&](std::string_view text) {
    cut_off = text.starts_with("{\"event\":\"cut_off\"");
    if (common.json) {
      environment.out << text << "\n";
    } else {
      environment.out << event_text(text);
    }
  };
  const auto piece = [&](std::string_view bytes) {
    rest += bytes;
    size_t start = 0;
    for (size_t end; (end = rest.find('\n', start)) != std::string::npos; start = end + 1) {
      line(std::string_view(rest).substr(start, end - start));
    }
    rest.erase(0, start);
    environment.out.flush();
  };
  const auto reply = ask(common.socket, {.target = "/v1/events"}, piece);
  if (!reply) return complain(environment, reply.error());
  if (reply->status != 200) return complain(environment, problem_text(*reply));
  if (cut_off) {
    return complain(environment,
                    "cut off: events came faster than they were read; look at the state (turnpike "
                    "show), then watch again");
  }
  return complain(environment, "the daemon has ended the stream of events");
}

}  // namespace turnpike::cli

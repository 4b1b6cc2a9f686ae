#include "control/cli/watch.h"

#include <nlohmann/json.hpp>
#include <ostream>

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
    out += "  " + key + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return out + "\n";
}

int watch(const Common& common, Environment& environment) {
  std::string rest;
  const auto piece = [&](std::string_view bytes) {
    if (common.json) {
      environment.out << bytes;
    } else {
      rest += bytes;
      for (size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) {
        environment.out << event_text(std::string_view(rest).substr(0, end));
      }
    }
    environment.out.flush();
  };
  const auto reply = ask(common.socket, {.target = "/v1/events"}, piece);
  if (!reply) return complain(environment, reply.error());
  if (reply->status != 200) return complain(environment, problem_text(*reply));
  return kDone;  // cut off, or the daemon has ended
}

}  // namespace turnpike::cli

#include "control/cli/answer_text.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "config/plain_text.h"

namespace turnpike::cli {
namespace {

using nlohmann::json;

// Conflicts that are written out; --json has them all.
constexpr size_t kMaxLines = 20;
constexpr size_t kMaxPrefixesInHint = 8;

// Parts of it may be a stranger's: a terminal shall not act on them.
std::string text(const json& value) {
  return config::plain_text(value.get_ref<const std::string&>(), true);
}

std::string text(const json& tree, const char* key) {
  const auto at = tree.find(key);
  return at != tree.end() && at->is_string() ? text(*at) : "";
}

std::string not_understood(const Reply& reply) {
  return "the daemon's answer (status " + std::to_string(reply.status) + ") is not understood\n";
}

// For the shell: names may hold anything printable.
std::string quoted(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "_-+=./:,@%") == std::string::npos) {
    return word;
  }
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string commit_text(const Reply& reply) {
  const json tree = json::parse(reply.body, nullptr, false);
  if (!tree.is_object()) return not_understood(reply);
  const std::string generation = tree.value("generation", json()).dump();
  const bool changed = tree.value("changed", true);
  std::string out;
  if (tree.value("dry_run", false)) {
    out = changed ? "this would be committed; nothing was changed (generation " + generation + ")\n"
                  : "all is so already (generation " + generation + ")\n";
  } else if (!changed) {
    out = "all is so already, nothing to commit (generation " + generation + ")\n";
  } else {
    out = "committed as generation " + generation + "\n";
    if (!tree.value("visible", true)) {
      out += "but not yet visible: still waiting for worker " +
             tree.value("late_workers", json::array()).dump() + "\n";
    }
  }
  for (const json& warning : tree.value("warnings", json::array())) {
    if (warning.is_string()) out += "warning: " + text(warning) + "\n";
  }
  return out;
}

std::string refusal_text(const Reply& reply, bool dry_run) {
  const json tree = json::parse(reply.body, nullptr, false);
  if (!tree.is_object()) return not_understood(reply);
  if (reply.status == 412) {
    return "refused: the state is at generation " + tree.value("generation", json()).dump() +
           " by now; look again, then decide\n";
  }
  const json conflicts = tree.value("conflicts", json::array());
  std::string out = dry_run ? "this would be refused:\n" : "refused, nothing was changed:\n";
  // Prefixes to be moved, by tunnel, owner and claimant.
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<std::string>> moves;
  std::set<std::string> added;  // peers that this transaction would have added
  size_t written = 0;
  for (const json& c : conflicts) {
    if (written++ < kMaxLines) {
      out += "  " + text(c, "text");
      if (conflicts.size() > 1) out += " (edit " + c.value("edit", json()).dump() + ")";
      out += "\n";
    }
    if (text(c, "kind") == "owned_by_another") {
      moves[{text(c, "tunnel"), text(c, "owner"), text(c, "peer")}].push_back(text(c, "prefix"));
      if (c.value("peer_is_new", false)) added.insert(text(c, "peer"));
    }
  }
  if (written > kMaxLines) {
    out += "  ... and " + std::to_string(written - kMaxLines) + " more; --json lists all\n";
  }
  size_t hints = 0;
  for (const auto& [who, prefixes] : moves) {
    if (hints++ >= kMaxLines) break;
    const auto& [tunnel, owner, peer] = who;
    const std::string it = prefixes.size() == 1 ? "it" : "them";
    out += "to move " + it + " from " + owner + " to " + peer;
    if (added.contains(peer)) out += ", add " + peer + " without " + it + ", then";
    out += ":\n  turnpike ips move " + quoted(tunnel) + " --from " + quoted(owner) + " --to " +
           quoted(peer);
    for (size_t i = 0; i < prefixes.size() && i < kMaxPrefixesInHint; ++i) out += " " + prefixes[i];
    if (prefixes.size() > kMaxPrefixesInHint) out += " ...";
    out += "\n";
  }
  return out;
}

std::string problem_text(const Reply& reply) {
  const json tree = json::parse(reply.body, nullptr, false);
  if (!tree.is_object() || text(tree, "detail").empty()) {
    return "the daemon answered with status " + std::to_string(reply.status);
  }
  const json mistakes = tree.value("mistakes", json::array());
  if (mistakes.empty()) return text(tree, "detail");
  // A configuration has status 422.
  std::string out = reply.status == 422 ? "the file cannot be applied; nothing was changed"
                                        : "the document is not right; nothing was changed";
  for (const json& m : mistakes) {
    const std::string place = text(m, "place");
    out += "\n  " + (place.empty() ? "" : place + ": ") + text(m, "what");
  }
  return out;
}

Result<std::string, std::string> owner_text(const std::string& body) {
  const json tree = json::parse(body, nullptr, false);
  if (!tree.is_object()) return fail(std::string("the daemon's answer is not understood"));
  const std::string peer = text(tree, "peer");
  const std::string prefix = text(tree, "prefix") + " in " + text(tree, "tunnel");
  return peer.empty() ? "nobody owns " + prefix + "\n" : peer + " owns " + prefix + "\n";
}

}  // namespace turnpike::cli

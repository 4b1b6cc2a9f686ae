#include "control/api/file_answers.h"

#include "control/api/answers.h"
#include "control/api/json_text.h"
#include "dataplane/base/text.h"

namespace turnpike::api {
namespace {

using gateway::FileDiff;

constexpr size_t kItemsPerSlice = 64;

const char* text_of(gateway::DiffKind kind) {
  switch (kind) {
    case gateway::DiffKind::Added:
      return "added";
    case gateway::DiffKind::Removed:
      return "removed";
    case gateway::DiffKind::Changed:
      return "changed";
  }
  return "";
}

void text(std::string& out, std::string_view key, std::string_view value) {
  append_json_key(out, key);
  append_json_string(out, value);
}

void text_or_null(std::string& out, std::string_view key, std::string_view value) {
  append_json_key(out, key);
  if (value.empty()) {
    out += "null";
  } else {
    append_json_string(out, value);
  }
}

void boolean(std::string& out, std::string_view key, bool value) {
  append_json_key(out, key);
  out += value ? "true" : "false";
}

void keys(std::string& out, const std::vector<std::string>& values) {
  append_json_key(out, "keys");
  out += '[';
  for (const std::string& value : values) {
    append_json_comma(out);
    append_json_string(out, value);
  }
  out += ']';
}

void write(std::string& out, const FileDiff::Tunnel& tunnel) {
  text(out, "change", text_of(tunnel.kind));
  text(out, "name", tunnel.name);
  keys(out, tunnel.keys);
}

void write(std::string& out, const FileDiff::Peer& peer) {
  text(out, "change", text_of(peer.kind));
  text(out, "tunnel", peer.tunnel);
  text(out, "peer", peer.peer);
  text(out, "public_key", base::key_to_base64(peer.public_key.bytes));
  keys(out, peer.keys);
}

void write(std::string& out, const FileDiff::PrefixLine& prefix) {
  const char* change = prefix.from.empty() ? "added" : prefix.to.empty() ? "removed" : "moved";
  text(out, "change", change);
  text(out, "tunnel", prefix.tunnel);
  text(out, "prefix", to_string(prefix.prefix));
  text_or_null(out, "from", prefix.from);
  text_or_null(out, "to", prefix.to);
}

void write(std::string& out, const FileDiff::Session& session) {
  text(out, "tunnel", session.tunnel);
  text(out, "peer", session.peer);
  boolean(out, "ends", session.ends);
  text(out, "why", session.why);
}

void write(std::string& out, const config::ConfigError& warning) {
  text(out, "file", warning.file);
  append_json_key(out, "line");
  append_json_number(out, uint64_t{warning.line});
  append_json_key(out, "column");
  append_json_number(out, uint64_t{warning.column});
  text(out, "text", config::to_string(warning));
}

// One list after the other, some items at a time.
class DiffSource final : public BodySource {
 public:
  explicit DiffSource(FileDiff diff) : diff_(std::move(diff)) {}

  bool next(std::string& out) override {
    switch (stage_) {
      case 0:
        out += '{';
        append_json_key(out, "generation");
        append_json_number(out, diff_.generation);
        boolean(out, "changed", diff_.changed);
        append_json_key(out, "taken_over");
        append_json_number(out, uint64_t{diff_.taken_over});
        boolean(out, "addresses_and_routes", diff_.topology);
        append_json_key(out, "nested");
        out += '[';
        for (const std::string& nested : diff_.nested) {
          append_json_comma(out);
          append_json_string(out, nested);
        }
        out += ']';
        ++stage_;
        return true;
      case 1:
        return list(out, "tunnels", diff_.tunnels);
      case 2:
        return list(out, "peers", diff_.peers);
      case 3:
        return list(out, "prefixes", diff_.prefixes);
      case 4:
        return list(out, "sessions", diff_.sessions);
      case 5:
        return list(out, "warnings", diff_.warnings);
      default:
        out += "}\n";
        return false;
    }
  }

 private:
  template <typename Item>
  bool list(std::string& out, std::string_view key, const std::vector<Item>& items) {
    if (at_ == 0) {
      out += ',';  // slices begin with an empty text
      append_json_string(out, key);
      out += ":[";
    }
    const size_t end = std::min(items.size(), at_ + kItemsPerSlice);
    for (; at_ < end; ++at_) {
      out += at_ == 0 ? "{" : ",{";
      write(out, items[at_]);
      out += '}';
    }
    if (at_ == items.size()) {
      out += ']';
      at_ = 0;
      ++stage_;
    }
    return true;
  }

  FileDiff diff_;
  int stage_ = 0;
  size_t at_ = 0;
};

}  // namespace

Response answer_of(const FileAnswer& answer, bool dry_run) {
  if (const auto* mistakes = std::get_if<FileMistakes>(&answer)) {
    return file_mistakes(mistakes->mistakes);
  }
  if (const auto* conflicts = std::get_if<FileConflicts>(&answer)) {
    return refusal_at(conflicts->refusal, conflicts->at);
  }
  if (const auto* failure = std::get_if<CommitFailure>(&answer)) {
    return answer_of(CommitAnswer(*failure), dry_run);
  }
  return answer_of(CommitAnswer(std::get<Committed>(answer)), dry_run);
}

Response answer_of(DiffAnswer answer) {
  if (const auto* mistakes = std::get_if<FileMistakes>(&answer)) {
    return file_mistakes(mistakes->mistakes);
  }
  if (const auto* conflicts = std::get_if<FileConflicts>(&answer)) {
    return refusal_at(conflicts->refusal, conflicts->at);
  }
  if (const auto* failure = std::get_if<CommitFailure>(&answer)) {
    return answer_of(CommitAnswer(*failure), true);
  }
  auto& diff = std::get<FileDiff>(answer);
  Response response;
  response.generation = diff.generation;
  response.source = std::make_unique<DiffSource>(std::move(diff));
  return response;
}

}  // namespace turnpike::api

#include "control/api/history_answers.h"

#include <algorithm>

#include "control/api/answers.h"
#include "control/api/json_text.h"

namespace turnpike::api {
namespace {

constexpr size_t kCommitsPerSlice = 32;

void number(std::string& out, std::string_view key, uint64_t value) {
  append_json_key(out, key);
  append_json_number(out, value);
}

void text(std::string& out, std::string_view key, std::string_view value) {
  append_json_key(out, key);
  append_json_string(out, value);
}

// Some commits at a time.
class HistorySource final : public BodySource {
 public:
  explicit HistorySource(History history) : history_(std::move(history)) {}

  bool next(std::string& out) override {
    if (at_ == 0) {
      out += '{';
      number(out, "generation", history_.generation);
      append_json_key(out, "history");
      out += '[';
    }
    const size_t end = std::min(history_.commits.size(), at_ + kCommitsPerSlice);
    for (; at_ < end; ++at_) {
      out += at_ == 0 ? "{" : ",{";
      write(out, history_.commits[at_]);
      out += '}';
    }
    if (at_ < history_.commits.size()) return true;
    out += "]}\n";
    return false;
  }

 private:
  void write(std::string& out, const store::HistoryEntry& commit) const {
    number(out, "generation", commit.generation);
    text(out, "time", rfc3339(commit.at));
    text(out, "cause", store::to_string(commit.cause));
    number(out, "uid", commit.uid);
    number(out, "pid", commit.pid);
    number(out, "peers", commit.peers);
    number(out, "prefixes", commit.prefixes);
    text(out, "comment", commit.comment);
    append_json_key(out, "unconfirmed_seconds");
    const auto waiting = std::ranges::find(history_.unconfirmed, commit.generation,
                                           &std::pair<Generation, uint64_t>::first);
    if (waiting == history_.unconfirmed.end()) {
      out += "null";
    } else {
      append_json_number(out, waiting->second);
    }
  }

  History history_;
  size_t at_ = 0;
};

}  // namespace

Response answer_of(HistoryAnswer answer) {
  if (const auto* failure = std::get_if<CommitFailure>(&answer)) {
    return problem(500, failure->what);
  }
  auto& history = std::get<History>(answer);
  Response response;
  response.generation = history.generation;
  response.source = std::make_unique<HistorySource>(std::move(history));
  return response;
}

Response answer_of(const RollbackAnswer& answer, bool dry_run) {
  if (const auto* none = std::get_if<NotFound>(&answer)) return problem(404, none->what);
  return answer_of(std::get<CommitAnswer>(answer), dry_run);
}

Response answer_of(const ConfirmAnswer& answer) {
  if (const auto* none = std::get_if<NotFound>(&answer)) return problem(404, none->what);
  if (const auto* failure = std::get_if<CommitFailure>(&answer)) return problem(500, failure->what);
  Response response;
  response.body = "{\"confirmed\":[";
  for (const Generation generation : std::get<Confirmed>(answer).generations) {
    append_json_comma(response.body);
    append_json_number(response.body, generation);
  }
  response.body += "]}\n";
  return response;
}

}  // namespace turnpike::api

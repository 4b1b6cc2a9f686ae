#include "control/cli/export.h"

#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "control/api/url.h"
#include "control/cli/answer_text.h"
#include "control/cli/client.h"
#include "control/cli/output_file.h"
#include "control/cli/requests.h"
#include "control/cli/secret_files.h"
#include "dataplane/base/keys.h"

namespace turnpike::cli {
namespace {

// Takes the answer in pieces as they come: lines of keys up to an empty one, if there are any, then the YAML.
class Receiver {
 public:
  Receiver(SecretDirectory* secrets, std::function<void(std::string_view)> yaml)
      : secrets_(secrets), yaml_(std::move(yaml)), in_keys_(secrets != nullptr) {}
  ~Receiver() { wipe(line_.data(), line_.size()); }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  void take(std::string_view piece) {
    while (in_keys_ && !piece.empty()) {
      const size_t end = piece.find('\n');
      if (end == std::string_view::npos) return append(piece);
      append(piece.substr(0, end));
      piece.remove_prefix(end + 1);
      if (line_.empty()) {
        in_keys_ = false;
      } else {
        key_line();
      }
    }
    if (piece.empty() || !error_.empty()) return;
    yaml_(piece);
    if (in_comments_) comments(piece);
  }

  [[nodiscard]] const std::string& error() const { return error_; }
  // Of the comments at the top.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  [[nodiscard]] bool complete() const { return !in_keys_; }

 private:
  static constexpr size_t kLineMax = 1024;  // a name, a blank, a key

  void append(std::string_view piece) {
    // Whole at once, so that no copy of a key is left behind where the text grew.
    if (line_.capacity() < kLineMax) line_.reserve(kLineMax);
    if (line_.size() + piece.size() > kLineMax) {
      if (error_.empty()) error_ = "the daemon's answer is not understood; is it of this version?";
      return;
    }
    line_ += piece;
  }

  void key_line() {
    const std::string_view line = line_;
    const size_t blank = line.find(' ');
    if (error_.empty()) {
      if (blank == std::string_view::npos) {
        error_ = "the daemon's answer is not understood; is it of this version?";
      } else if (auto written = secrets_->write(line.substr(0, blank), line.substr(blank + 1));
                 !written) {
        error_ = std::move(written.error());
        if (error_.ends_with(std::strerror(EEXIST))) error_ += "; --force replaces it";
      }
    }
    wipe(line_.data(), line_.size());
    line_.clear();
  }

  void comments(std::string_view piece) {
    for (const char c : piece) {
      if (c != '\n') {
        comment_ += c;
        continue;
      }
      if (!comment_.starts_with('#')) {
        in_comments_ = false;
        return;
      }
      if (comment_.starts_with("# note: ")) notes_.push_back(comment_.substr(2));
      comment_.clear();
    }
  }

  SecretDirectory* secrets_;
  std::function<void(std::string_view)> yaml_;
  bool in_keys_;
  bool in_comments_ = true;
  std::string line_;
  std::string comment_;
  std::string error_;
  std::vector<std::string> notes_;
};

}  // namespace

int export_running(const ExportOptions& options, const Common& common, Environment& environment) {
  std::optional<OutputFile> output;
  if (!options.output.empty()) {
    auto opened = OutputFile::open(options.output, options.force);
    if (!opened) return complain(environment, opened.error());
    output.emplace(std::move(*opened));
  }
  std::optional<SecretDirectory> secrets;
  Ask request{.target = "/v1/export", .headers = {}, .body = {}};
  if (!options.secrets.empty()) {
    const auto place = place_of_secrets(options.secrets, options.output);
    if (!place) return complain(environment, place.error());
    auto opened = SecretDirectory::open(place->path, options.force);
    if (!opened) return complain(environment, opened.error());
    secrets.emplace(std::move(*opened));
    request.method = "POST";
    request.target += "?directory=" + api::percent_encode(place->named);
  }
  Receiver receiver(secrets ? &*secrets : nullptr, [&](std::string_view yaml) {
    output ? output->write(yaml) : void(environment.out << yaml);
  });
  const auto reply =
      ask(common.socket, request, [&](std::string_view piece) { receiver.take(piece); });
  if (!reply) return complain(environment, reply.error());
  if (reply->status != 200) return complain(environment, problem_text(*reply));
  if (!receiver.error().empty()) return complain(environment, receiver.error());
  if (!receiver.complete()) return complain(environment, "the daemon's answer is not complete");
  // The keys first: no configuration whose keys are not on the disk.
  if (secrets) {
    if (auto synced = secrets->sync(); !synced) return complain(environment, synced.error());
  }
  if (output) {
    if (auto finished = output->finish(); !finished) return complain(environment, finished.error());
  }
  if (secrets) secrets->keep();
  for (const std::string& note : receiver.notes()) environment.err << note << "\n";
  return kDone;
}

}  // namespace turnpike::cli

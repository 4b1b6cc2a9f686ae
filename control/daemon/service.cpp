#include "control/daemon/service.h"

#include <systemd/sd-daemon.h>

#include "config/plain_text.h"
#include "dataplane/base/check.h"

namespace turnpike::daemon {
namespace {

std::string status_of(std::string_view text) {
  std::string line = config::plain_text(text.substr(0, kStatusBytesMax), false);
  if (line.size() > kStatusBytesMax) {  // what was no UTF-8 has become longer
    line = config::plain_text(std::string_view(line).substr(0, kStatusBytesMax / 3), false);
  }
  return "STATUS=" + line;
}

void notify(const std::string& message) { sd_notify(0, message.c_str()); }

}  // namespace

std::string outcome_line(const api::FileAnswer& answer, Generation running) {
  if (const auto* done = std::get_if<api::Committed>(&answer)) {
    const std::string generation = std::to_string(done->generation);
    std::string line =
        done->changed ? "Reloaded as generation " + generation
                      : "Reloaded; the file asked for nothing new (generation " + generation + ")";
    if (const size_t warnings = done->warnings.size()) {
      line += ", with " + std::to_string(warnings) + (warnings == 1 ? " warning" : " warnings");
    }
    return line;
  }
  const std::string head = "The last reload was refused and changed nothing (generation " +
                           std::to_string(running) + "): ";
  if (const auto* failure = std::get_if<api::CommitFailure>(&answer)) return head + failure->what;
  const auto* mistakes = std::get_if<api::FileMistakes>(&answer);
  const auto& errors =
      mistakes != nullptr ? mistakes->mistakes : std::get<api::FileConflicts>(answer).at;
  if (errors.empty()) return head + "the state is another one than was asked for";
  const size_t more = errors.size() - 1;
  return head + config::to_string(errors.front()) +
         (more == 0 ? "" : " (and " + std::to_string(more) + " more)");
}

void Service::ready(std::string_view status) { notify("READY=1\n" + status_of(status)); }

void Service::stopping(std::string_view why) { notify("STOPPING=1\n" + status_of(why)); }

void Service::failed(std::string_view why) { notify(status_of(why)); }

void Service::reload_begins(Instant now) {
  ++reloads_;
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.nanoseconds / 1'000) + "\n" +
         status_of("Reloading; forwarding goes on"));
}

void Service::reload_ends(std::string_view status) {
  CHECK(reloads_ > 0);
  if (--reloads_ == 0) {
    ready(status);
  } else {
    notify(status_of(status));
  }
}

}  // namespace turnpike::daemon

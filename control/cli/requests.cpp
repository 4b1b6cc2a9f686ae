#include "control/cli/requests.h"

#include <ostream>

#include "control/api/url.h"
#include "control/cli/answer_text.h"
#include "control/cli/client.h"

namespace turnpike::cli {

int complain(Environment& environment, const std::string& what) {
  environment.err << "turnpike: " << what << "\n";
  return kError;
}

int get(const std::string& target, const Common& common, Environment& environment,
        const Readable& readable) {
  return get(Ask{.target = target}, common, environment, readable);
}

int get(const Ask& request, const Common& common, Environment& environment,
        const Readable& readable) {
  const auto to_out = [&](std::string_view piece) { environment.out << piece; };
  const auto reply =
      common.json ? ask(common.socket, request, to_out) : ask(common.socket, request);
  if (!reply) return complain(environment, reply.error());
  if (reply->status == 409) {
    if (common.json) {
      environment.out << reply->body;
    } else {
      environment.err << refusal_text(*reply, true);
    }
    return kRefused;
  }
  if (reply->status != 200) {
    if (!common.json) return complain(environment, problem_text(*reply));
    environment.out << reply->body;
    return kError;
  }
  if (common.json) return kDone;
  const Result<std::string, std::string> text = readable(reply->body);
  if (!text) return complain(environment, text.error());
  environment.out << *text;
  return kDone;
}

int post(const Change& change, const ChangeOptions& options, const Common& common,
         Environment& environment) {
  Ask request{.method = "POST", .target = change.target, .headers = {}, .body = change.body};
  if (!change.content_type.empty()) request.headers["Content-Type"] = change.content_type;
  char separator = change.target.find('?') == std::string::npos ? '?' : '&';
  const auto parameter = [&](const std::string& key, const std::string& value) {
    request.target += separator + key + "=" + value;
    separator = '&';
  };
  if (options.dry_run) parameter("dry_run", "true");
  if (options.confirm_seconds) parameter("confirm", std::to_string(*options.confirm_seconds));
  if (options.if_generation) {
    request.headers["If-Match"] = "\"" + std::to_string(*options.if_generation) + "\"";
  }
  if (!options.comment.empty()) parameter("comment", api::percent_encode(options.comment));
  const auto reply = ask(common.socket, request);
  if (!reply) return complain(environment, reply.error());
  const int status = reply->status == 200   ? kDone
                     : reply->status == 409 ? kRefused
                     : reply->status == 412 ? kStale
                                            : kError;
  if (common.json) {
    environment.out << reply->body;
  } else if (status == kDone) {
    environment.out << commit_text(*reply);
  } else if (status == kRefused || status == kStale) {
    environment.err << refusal_text(*reply, options.dry_run);
  } else {
    return complain(environment, problem_text(*reply));
  }
  return status;
}

}  // namespace turnpike::cli

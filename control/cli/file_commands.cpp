#include "control/cli/file_commands.h"

#include <filesystem>

#include "control/api/url.h"
#include "control/cli/client.h"
#include "control/cli/diff_text.h"
#include "control/cli/requests.h"

namespace turnpike::cli {

int reload(const ChangeOptions& options, const Common& common, Environment& environment) {
  return post({.target = "/v1/reload", .content_type = {}, .body = {}}, options, common,
              environment);
}

int diff(const std::string& file, const Common& common, Environment& environment) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(file, error);
  if (error) return complain(environment, file + ": " + error.message());
  return get(Ask{.method = "POST",
                 .target = "/v1/diff?file=" + api::percent_encode(path.lexically_normal().string()),
                 .headers = {},
                 .body = {}},
             common, environment,
             [&](const std::string& body) { return diff_text(body, environment); });
}

}  // namespace turnpike::cli

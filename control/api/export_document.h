// What runs as YAML, in slices. Keys are never in it: it names their files.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "control/api/request.h"
#include "control/gateway/running_config.h"

namespace turnpike::api {

// With `directory`, all keys are named as files below it, and the answer begins with them: lines of the name of a
// file in it, a blank and the key in base64; then an empty line, then the YAML.
[[nodiscard]] std::unique_ptr<BodySource> make_export(
    std::shared_ptr<const gateway::RunningConfig> running, std::optional<std::string> directory);

}  // namespace turnpike::api

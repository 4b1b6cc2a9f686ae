// Outcomes of reloads and diffs as answers.
#pragma once

#include "control/api/backend.h"
#include "control/api/request.h"

namespace turnpike::api {

[[nodiscard]] Response answer_of(const FileAnswer& answer, bool dry_run);
[[nodiscard]] Response answer_of(DiffAnswer answer);

}  // namespace turnpike::api

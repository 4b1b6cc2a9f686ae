// History, rollbacks and confirmations as answers.
#pragma once

#include "control/api/backend.h"
#include "control/api/request.h"

namespace turnpike::api {

[[nodiscard]] Response answer_of(HistoryAnswer answer);
[[nodiscard]] Response answer_of(const RollbackAnswer& answer, bool dry_run);
[[nodiscard]] Response answer_of(const ConfirmAnswer& answer);

}  // namespace turnpike::api

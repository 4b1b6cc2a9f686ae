// Outcomes as answers: the JSON of commits, refusals (RFC 7807 problem details) and mistakes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "control/api/backend.h"
#include "control/api/request.h"
#include "control/api/transaction_document.h"

namespace turnpike::api {

[[nodiscard]] Response answer_of(const CommitAnswer& answer, bool dry_run);
[[nodiscard]] Response answer_of(const std::vector<Mistake>& mistakes);
// Of a file; `at` has the place of each conflict.
[[nodiscard]] Response refusal_at(const state::Refusal& refusal,
                                  std::span<const config::ConfigError> at);
[[nodiscard]] Response file_mistakes(std::span<const config::ConfigError> mistakes);
// A problem that is one sentence: 403, 404, 405, 413 and the like.
[[nodiscard]] Response problem(unsigned status, const std::string& detail);

}  // namespace turnpike::api

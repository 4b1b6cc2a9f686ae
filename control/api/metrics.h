// What the gateway counts, in the text format of Prometheus (0.0.4), a family of metrics at a time. Nothing is
// for each peer: there may be a million, and a scrape is to stay small.
#pragma once

#include <memory>

#include "control/api/backend.h"
#include "control/api/request.h"

namespace turnpike::api {

inline constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

// Slices of one family each; `backend` outlives it.
[[nodiscard]] std::unique_ptr<BodySource> make_metrics(const Backend& backend);

}  // namespace turnpike::api

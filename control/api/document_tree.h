// JSON and YAML text into one kind of tree. Included only by the files that read documents.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "control/api/transaction_document.h"
#include "dataplane/base/result.h"

namespace turnpike::api {

// Duplicate keys, anchors, aliases, tags and several documents are mistakes. YAML's plain scalars are read
// by its JSON schema: true, false, null, decimal numbers; everything else is text.
[[nodiscard]] Result<nlohmann::json, Mistake> parse_json_tree(std::string_view text);
[[nodiscard]] Result<nlohmann::json, Mistake> parse_yaml_tree(std::string_view text);

}  // namespace turnpike::api

// The few parts of URLs and media types that the API needs.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace turnpike::api {

// "/v1/owner?tunnel=wg0&prefix=10.0.0.0%2F8" into path and parameters, both decoded; a plus stays a plus,
// since base64 has it. False: a bad escape, no leading slash, or a parameter that stands twice.
[[nodiscard]] bool parse_target(std::string_view target, std::string& path,
                                std::map<std::string, std::string>& query);
// For a value in a query.
[[nodiscard]] std::string percent_encode(std::string_view text);
// "Application/JSON; charset=utf-8" -> "application/json"
[[nodiscard]] std::string media_type(std::string_view field);

}  // namespace turnpike::api

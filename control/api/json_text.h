// JSON written piece by piece, for answers too large to stand in memory as a tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/base/time.h"

namespace turnpike::api {

// With quotes; what is not UTF-8 becomes U+FFFD, so that the answer is JSON whatever the text is. Control characters are
// escaped, those of U+0080 to U+009F too: the answer may go to a terminal.
void append_json_string(std::string& out, std::string_view text);
void append_json_number(std::string& out, uint64_t value);
void append_json_number(std::string& out, double value);  // not finite: null

// Appends `"key":`, with a comma before it unless an object or list has just begun.
void append_json_key(std::string& out, std::string_view key);
void append_json_comma(std::string& out);

// RFC 3339 in UTC, to the second.
[[nodiscard]] std::string rfc3339(WallTime at);

}  // namespace turnpike::api

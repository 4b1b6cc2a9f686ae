// What text a configuration may hold: UTF-8 without control characters.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace turnpike::config {

// Length of the UTF-8 sequence at `text[at]`, 0 when there is none (RFC 3629).
[[nodiscard]] size_t utf8_length(std::string_view text, size_t at);

// Why that is no text of at most `limit` bytes; empty: it is. Does not quote it: it may be a key. Control characters
// make messages and tables lie; with `lines`, a line break and a tab are none.
[[nodiscard]] std::string text_fault(std::string_view text, size_t limit, bool lines);

// The text with U+FFFD for each byte that is no UTF-8, and a blank for each control character.
[[nodiscard]] std::string plain_text(std::string_view text, bool lines);

}  // namespace turnpike::config

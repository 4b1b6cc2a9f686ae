// A small valid configuration that tests change in one place, and helpers to load it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace turnpike::config::test {

// Base64 of 32 bytes that differ in the first four: `number`, big-endian; the rest is 0x5a.
std::string key_text(uint32_t number);

// Eighteen lines; tests rely on their places.
std::string small_config();

// `text` with the first `from` replaced by `to`; `from` must be there.
std::string replaced(std::string text, std::string_view from, std::string_view to);

// Every mistake as its text form; empty when the file is good.
std::vector<std::string> mistakes_of(std::string_view text);
std::vector<std::string> warnings_of(std::string_view text);

}  // namespace turnpike::config::test

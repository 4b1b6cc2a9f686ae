#include "control/api/json_text.h"

#include <charconv>
#include <cmath>
#include <ctime>

namespace turnpike::api {
namespace {

// Bytes of the valid UTF-8 sequence at the start of `text` (RFC 3629: shortest form, no surrogates), or 0.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  out.push_back('"');
  while (!text.empty()) {
    const char c = text.front();
    size_t length = 1;
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) {
      out += "\\u00";
      out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
      out.push_back(kDigits[c & 15]);
    } else {
      length = utf8_length(text);
      if (length == 2 && c == '\xc2' && static_cast<uint8_t>(text[1]) < 0xa0) {
        out += "\\u00";  // U+0080 to U+009F, which some terminals obey
        out.push_back(kDigits[static_cast<uint8_t>(text[1]) >> 4]);
        out.push_back(kDigits[text[1] & 15]);
      } else if (length == 0) {
        out += "\xef\xbf\xbd";
        length = 1;
      } else {
        out += text.substr(0, length);
      }
    }
    text.remove_prefix(length);
  }
  out.push_back('"');
}

void append_json_number(std::string& out, uint64_t value) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

void append_json_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char digits[32];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

void append_json_comma(std::string& out) {
  if (!out.empty() && out.back() != '{' && out.back() != '[' && out.back() != ',') {
    out.push_back(',');
  }
}

void append_json_key(std::string& out, std::string_view key) {
  append_json_comma(out);
  append_json_string(out, key);
  out.push_back(':');
}

std::string rfc3339(WallTime at) {
  const auto seconds = static_cast<std::time_t>(at.nanoseconds / 1'000'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace turnpike::api

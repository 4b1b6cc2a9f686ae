#include "control/api/url.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <span>

#include "dataplane/base/text.h"

namespace turnpike::api {
namespace {

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    uint8_t byte = 0;
    if (!base::from_hex(text.substr(i + 1, 2), std::span(&byte, 1))) return std::nullopt;
    out.push_back(static_cast<char>(byte));
    i += 2;
  }
  return out;
}

}  // namespace

bool parse_target(std::string_view target, std::string& path,
                  std::map<std::string, std::string>& query) {
  const size_t question = target.find('?');
  const auto decoded = percent_decode(target.substr(0, question));
  if (!decoded || !decoded->starts_with('/')) return false;
  path = *decoded;
  std::string_view rest = question == target.npos ? "" : target.substr(question + 1);
  while (!rest.empty()) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == rest.npos ? "" : rest.substr(end + 1);
    const size_t equals = pair.find('=');
    const auto key = percent_decode(pair.substr(0, equals));
    const auto value = percent_decode(equals == pair.npos ? "" : pair.substr(equals + 1));
    if (!key || key->empty() || !value || !query.emplace(*key, *value).second) return false;
  }
  return true;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_' || c == '~') {
      out.push_back(c);
    } else {
      const auto byte = static_cast<uint8_t>(c);
      out += "%" + base::to_hex(std::span(&byte, 1));
    }
  }
  return out;
}

std::string media_type(std::string_view field) {
  std::string type(field.substr(0, field.find(';')));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return std::tolower(c); });
  return type;
}

}  // namespace turnpike::api

#include "config/report.h"

#include <algorithm>
#include <tuple>

#include "config/load.h"

namespace turnpike::config {
namespace {

void collect(std::vector<ConfigError>& list, size_t& more, const std::string& file, Location at,
             std::string path, std::string message) {
  if (list.size() >= kMaxReported) {
    ++more;
    return;
  }
  list.push_back({file, at.line, at.column, std::move(path), std::move(message)});
}

std::vector<ConfigError> in_order(std::vector<ConfigError> list, size_t more, const char* what) {
  std::sort(list.begin(), list.end(), [](const ConfigError& a, const ConfigError& b) {
    return std::tie(a.line, a.column, a.path, a.message) <
           std::tie(b.line, b.column, b.path, b.message);
  });
  if (more > 0) {
    const ConfigError& last = list.back();
    list.push_back({last.file, last.line, last.column, "",
                    cat({std::to_string(more), " further ", what, " not shown"})});
  }
  return list;
}

}  // namespace

std::string to_string(const ConfigError& error) {
  std::string text = error.file;
  if (error.line != 0) {
    text += cat({":", std::to_string(error.line), ":", std::to_string(error.column)});
  }
  text += ": ";
  if (!error.path.empty()) text += cat({error.path, ": "});
  return text + error.message;
}

std::string Path::text() const {
  if (parent_ == nullptr) return {};
  std::string text = parent_->text();
  if (name_.empty()) return text + cat({"[", std::to_string(index_), "]"});
  if (!text.empty()) text.push_back('.');
  return text.append(name_);
}

void Report::mistake(Location at, const Path& path, std::string message) {
  collect(mistakes_, more_mistakes_, file_, at, path.text(), std::move(message));
}

void Report::mistake_at(Location at, std::string path, std::string message) {
  collect(mistakes_, more_mistakes_, file_, at, std::move(path), std::move(message));
}

void Report::warning(Location at, const Path& path, std::string message) {
  collect(warnings_, more_warnings_, file_, at, path.text(), std::move(message));
}

std::vector<ConfigError> Report::take_mistakes() {
  return in_order(std::move(mistakes_), more_mistakes_, "mistakes are");
}

std::vector<ConfigError> Report::take_warnings() {
  return in_order(std::move(warnings_), more_warnings_, "warnings are");
}

std::string cat(std::initializer_list<std::string_view> pieces) {
  std::string text;
  for (const std::string_view piece : pieces) text.append(piece);
  return text;
}

std::string quote(std::string_view text, size_t shown) {
  std::string out = "'";
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // Not in the middle of a UTF-8 sequence.
    if (i >= shown && (byte & 0xc0) != 0x80) {
      out += "...";
      break;
    }
    // Terminals act on these, some of them on U+0080 to U+009F too: 0xc2 and what is below 0xa0.
    const auto next = [&](size_t at) {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
    };
    const bool first = byte == 0xc2 && (next(i + 1) & 0xe0) == 0x80;
    const bool second = (byte & 0xe0) == 0x80 && i > 0 && next(i - 1) == 0xc2;
    if (byte < 0x20 || byte == 0x7f || first || second) {
      constexpr char kDigits[] = "0123456789abcdef";
      out += "\\x";
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    } else {
      out.push_back(text[i]);
    }
  }
  out.push_back('\'');
  return out;
}

std::string place_text(Location at) {
  return cat({"line ", std::to_string(at.line), ", column ", std::to_string(at.column)});
}

}  // namespace turnpike::config

#include "config/plain_text.h"

namespace turnpike::config {
namespace {

// Of the character that begins at `text[at]`.
bool is_control(std::string_view text, size_t at, bool lines) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (lines && (byte == '\n' || byte == '\t')) return false;
  if (byte < 0x20 || byte == 0x7f) return true;
  // U+0080 to U+009F
  return byte == 0xc2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0;
}

}  // namespace

size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies above U+10FFFF.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) ||
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90)) {
    return 0;
  }
  return length;
}

std::string text_fault(std::string_view text, size_t limit, bool lines) {
  if (text.size() > limit) {
    return "is " + std::to_string(text.size()) + " bytes long; at most " + std::to_string(limit) +
           " are allowed";
  }
  // Without a copy: a file may have millions of texts.
  for (size_t i = 0; i < text.size();) {
    if (is_control(text, i, lines)) {
      return "has a control character in it; printable text is expected";
    }
    const size_t length = utf8_length(text, i);
    if (length == 0) return "is no UTF-8; printable text is expected";
    i += length;
  }
  return {};
}

std::string plain_text(std::string_view text, bool lines) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (is_control(text, i, lines)) {
      out += ' ';
    } else {
      out += text.substr(i, length);
    }
    i += length == 0 ? 1 : length;
  }
  return out;
}

}  // namespace turnpike::config

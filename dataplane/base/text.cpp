#include "dataplane/base/text.h"

#include <algorithm>

namespace turnpike::base {
namespace {

// Arithmetic instead of tables and branches: the digits of a key leave no trace in cache or timing.
// Each returns the value, or -1 for a character outside the alphabet.
int hex_value(uint8_t c) noexcept {
  const int digit = static_cast<int>(c) - '0';
  const int letter = (static_cast<int>(c) | 0x20) - 'a';
  const int is_digit = ((digit | (9 - digit)) >> 31) ^ -1;  // all ones when 0 <= digit <= 9
  const int is_letter = ((letter | (5 - letter)) >> 31) ^ -1;  // all ones when 0 <= letter <= 5
  return (is_digit & digit) | (is_letter & (letter + 10)) | ((is_digit | is_letter) ^ -1);
}

int in_range(int c, int low, int high) noexcept { return (((c - low) | (high - c)) >> 31) ^ -1; }

int base64_value(uint8_t character) noexcept {
  const int c = character;
  const int upper = in_range(c, 'A', 'Z');
  const int lower = in_range(c, 'a', 'z');
  const int digit = in_range(c, '0', '9');
  const int plus = in_range(c, '+', '+');
  const int slash = in_range(c, '/', '/');
  return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) | (plus & 62) |
         (slash & 63) | ((upper | lower | digit | plus | slash) ^ -1);
}

char base64_digit(unsigned value) noexcept {
  const int v = static_cast<int>(value);
  const int upper = in_range(v, 0, 25);
  const int lower = in_range(v, 26, 51);
  const int digit = in_range(v, 52, 61);
  const int plus = in_range(v, 62, 62);
  const int slash = in_range(v, 63, 63);
  return static_cast<char>((upper & (v + 'A')) | (lower & (v - 26 + 'a')) |
                           (digit & (v - 52 + '0')) | (plus & '+') | (slash & '/'));
}

constexpr size_t kKeyBytes = 32;
constexpr size_t kKeyBase64Characters = 44;

}  // namespace

std::string to_hex(std::span<const uint8_t> bytes) {
  const auto digit = [](unsigned v) {
    // 'a' - 10 is 39 above '0'; added only when v is above 9.
    return static_cast<char>('0' + v + (((9 - static_cast<int>(v)) >> 31) & 39));
  };
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text.push_back(digit(byte >> 4));
    text.push_back(digit(byte & 15));
  }
  return text;
}

bool from_hex(std::string_view text, std::span<uint8_t> out) {
  if (text.size() != out.size() * 2) return false;
  int bad = 0;
  for (const char c : text) bad |= hex_value(static_cast<uint8_t>(c));
  if (bad < 0) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<uint8_t>(hex_value(static_cast<uint8_t>(text[2 * i])) << 4 |
                                  hex_value(static_cast<uint8_t>(text[2 * i + 1])));
  }
  return true;
}

std::string key_to_base64(std::span<const uint8_t, 32> key) {
  std::string text;
  text.reserve(kKeyBase64Characters);
  for (size_t i = 0; i < kKeyBytes; i += 3) {
    const unsigned b0 = key[i];
    const unsigned b1 = i + 1 < kKeyBytes ? key[i + 1] : 0;
    const unsigned b2 = i + 2 < kKeyBytes ? key[i + 2] : 0;
    text.push_back(base64_digit(b0 >> 2));
    text.push_back(base64_digit((b0 & 3) << 4 | b1 >> 4));
    text.push_back(base64_digit((b1 & 15) << 2 | b2 >> 6));
    text.push_back(i + 2 < kKeyBytes ? base64_digit(b2 & 63) : '=');
  }
  return text;
}

std::optional<std::array<uint8_t, 32>> key_from_base64(std::string_view text) {
  if (text.size() != kKeyBase64Characters || text.back() != '=') return std::nullopt;
  std::array<uint8_t, kKeyBytes + 1> out{};
  int bad = 0;
  for (size_t group = 0; group < kKeyBase64Characters / 4; ++group) {
    int v[4];
    for (size_t i = 0; i < 4; ++i) {
      const size_t at = 4 * group + i;
      v[i] = at + 1 == kKeyBase64Characters ? 0 : base64_value(static_cast<uint8_t>(text[at]));
      bad |= v[i];
    }
    const auto word = static_cast<uint32_t>((v[0] & 63) << 18 | (v[1] & 63) << 12 |
                                            (v[2] & 63) << 6 | (v[3] & 63));
    out[3 * group] = static_cast<uint8_t>(word >> 16);
    out[3 * group + 1] = static_cast<uint8_t>(word >> 8);
    out[3 * group + 2] = static_cast<uint8_t>(word);
  }
  // The last group carries 16 bits of key in 18: the two stray bits must be zero.
  if (bad < 0 || out[kKeyBytes] != 0) return std::nullopt;
  std::array<uint8_t, kKeyBytes> key;
  std::copy_n(out.begin(), kKeyBytes, key.begin());
  return key;
}

}  // namespace turnpike::base

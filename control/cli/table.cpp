#include "control/cli/table.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

#include "config/plain_text.h"

namespace turnpike::cli {
namespace {

constexpr std::string_view kGap = "  ";
constexpr std::string_view kEllipsis = "\xe2\x80\xa6";

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::string cut(const std::string& text, size_t width) {
  if (display_width(text) <= width) return text;
  size_t characters = 0;
  size_t end = 0;
  while (end < text.size()) {
    if (!is_continuation(text[end]) && characters++ == width - 1) break;
    ++end;
  }
  return text.substr(0, end) + std::string(kEllipsis);
}

}  // namespace

size_t display_width(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return !is_continuation(c); }));
}

void Table::add(std::vector<std::string> row) {
  // Comments and descriptions hold what their writer liked; a terminal shall not act on it.
  for (std::string& cell : row) cell = config::plain_text(cell, false);
  rows_.push_back(std::move(row));
}

std::string Table::text(size_t width, bool bold) const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    size_t widest = display_width(columns_[c].title);
    for (const auto& row : rows_) widest = std::max(widest, display_width(row[c]));
    widths.push_back(widest);
  }
  size_t total = kGap.size() * (columns_.size() - 1);
  for (const size_t w : widths) total += w;
  // The widest column that may shrink gives a character, until all fits or nobody can give.
  while (width != 0 && total > width) {
    size_t* widest = nullptr;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const size_t least = std::max(columns_[c].shrinks_to, display_width(columns_[c].title));
      if (columns_[c].shrinks_to == 0 || widths[c] <= least) continue;
      if (widest == nullptr || widths[c] > *widest) widest = &widths[c];
    }
    if (widest == nullptr) break;
    --*widest;
    --total;
  }
  std::string out;
  const auto line = [&](const auto& cell_of) {
    std::string made;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string cell = cut(cell_of(c), widths[c]);
      const std::string padding(widths[c] - display_width(cell), ' ');
      if (c > 0) made += kGap;
      made += columns_[c].right ? padding + cell : cell + padding;
    }
    made.erase(made.find_last_not_of(' ') + 1);
    return made;
  };
  const std::string titles = line([&](size_t c) { return columns_[c].title; });
  out += bold ? "\x1b[1m" + titles + "\x1b[0m\n" : titles + "\n";
  for (const auto& row : rows_) out += line([&](size_t c) { return row[c]; }) + "\n";
  return out;
}

std::string human_bytes(uint64_t bytes) {
  static constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string human_age(uint64_t seconds) {
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 120 * 60) return std::to_string(seconds / 60) + " min";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86'400) + " d";
}

}  // namespace turnpike::cli

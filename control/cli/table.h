// Text in columns that fits a terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace turnpike::cli {

struct Column {
  std::string title;
  bool right = false;      // numbers
  size_t shrinks_to = 0;   // characters that must stay when space is short; 0: it never shrinks
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns.
  void add(std::vector<std::string> row);
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
  // One line for each row, whatever the cells hold: control characters become blanks. Lines of at most `width` characters where the columns can shrink that far; 0: as wide as it is. What is
  // cut off ends in an ellipsis. With `bold`, the titles are.
  [[nodiscard]] std::string text(size_t width, bool bold) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters of UTF-8 text, each counted as one column.
[[nodiscard]] size_t display_width(const std::string& text);

// "0 B", "1.4 MiB"
[[nodiscard]] std::string human_bytes(uint64_t bytes);
// "12 s", "3 min", "2 h", "5 d"
[[nodiscard]] std::string human_age(uint64_t seconds);

}  // namespace turnpike::cli

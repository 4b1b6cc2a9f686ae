// Collects mistakes and warnings with their place and path.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.h"

namespace turnpike::config {

// A path such as tunnels[0].mtu as links on the stack; text is made only for a mistake. A link must
// not outlive its parent, nor the key its text.
class Path {
 public:
  Path() = default;
  [[nodiscard]] Path key(std::string_view name) const { return {this, name, 0}; }
  [[nodiscard]] Path item(size_t index) const { return {this, {}, index}; }
  [[nodiscard]] std::string text() const;

 private:
  Path(const Path* parent, std::string_view name, size_t index)
      : parent_(parent), name_(name), index_(index) {}
  const Path* parent_ = nullptr;  // null: the document
  std::string_view name_;  // empty: an item
  size_t index_ = 0;
};

class Report {
 public:
  explicit Report(std::string file) : file_(std::move(file)) {}
  void mistake(Location at, const Path& path, std::string message);
  void mistake_at(Location at, std::string path, std::string message);
  void warning(Location at, const Path& path, std::string message);
  [[nodiscard]] bool clean() const { return mistakes_.empty(); }
  [[nodiscard]] const std::string& file() const { return file_; }
  // In order of place; at most kMaxReported and one entry that counts the rest.
  [[nodiscard]] std::vector<ConfigError> take_mistakes();
  [[nodiscard]] std::vector<ConfigError> take_warnings();

 private:
  std::string file_;
  std::vector<ConfigError> mistakes_;
  std::vector<ConfigError> warnings_;
  size_t more_mistakes_ = 0;
  size_t more_warnings_ = 0;
};

// Joins pieces of a message.
[[nodiscard]] std::string cat(std::initializer_list<std::string_view> pieces);
// `text` in quotes for a message: shortened to about `shown` bytes, control characters made
// visible.
[[nodiscard]] std::string quote(std::string_view text, size_t shown = 60);
// "line 3, column 7"
[[nodiscard]] std::string place_text(Location at);

}  // namespace turnpike::config

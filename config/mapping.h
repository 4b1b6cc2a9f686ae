// Reads one mapping by the key table: types, ranges, unknown and missing keys. What cannot be read
// is reported and left as it was.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"
#include "config/report.h"
#include "config/schema.h"

namespace turnpike::config {

class MappingReader {
 public:
  // Reports unknown and missing keys. `node` and `path` must outlive the reader.
  MappingReader(Node& node, Section section, const Path& path, Report& report);

  // False: no mapping at all, which is reported.
  [[nodiscard]] bool usable() const { return usable_; }
  // The file has the key, whatever its value.
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  [[nodiscard]] Location at(std::string_view name) const;
  [[nodiscard]] Places places() const;
  [[nodiscard]] Path path(std::string_view name) const { return path_.key(name); }

  template <std::unsigned_integral T>
  void integer(std::string_view name, T& into) {
    if (const auto value = integer_of(name)) into = static_cast<T>(*value);
  }
  void boolean(std::string_view name, bool& into);
  // Position in the table's choices.
  template <typename Enum>
  void choice(std::string_view name, Enum& into) {
    if (const auto index = choice_of(name)) into = static_cast<Enum>(*index);
  }
  // A set: at least one, none twice.
  void integers(std::string_view name, std::vector<uint32_t>& into);
  void text(std::string_view name, std::string& into);
  // The node of a good text, null otherwise.
  [[nodiscard]] Node* text_node(std::string_view name);
  // The sequence under `name`, null when absent or wrong. Items are not looked at.
  [[nodiscard]] Node* sequence(std::string_view name);
  // The node of a section, null when absent.
  [[nodiscard]] Node* mapping(std::string_view name);
  // Whether an item of a sequence of texts is one.
  [[nodiscard]] bool good_item(const Node& item, const Key& key, const Path& path);

 private:
  [[nodiscard]] Node* find(std::string_view name) const;
  [[nodiscard]] const Key& key_of(std::string_view name, KeyKind kind) const;
  [[nodiscard]] std::optional<uint64_t> integer_of(std::string_view name);
  [[nodiscard]] std::optional<size_t> choice_of(std::string_view name);

  Node& node_;
  Section section_;
  const Path& path_;
  Report& report_;
  bool usable_ = false;
};

}  // namespace turnpike::config

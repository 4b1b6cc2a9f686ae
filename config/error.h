// Where something stands in a configuration file, and what is wrong there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace turnpike::config {

// A place in the file, counted from 1; columns count bytes. Line 0: the file as a whole.
struct Location {
  uint32_t line = 0;
  uint32_t column = 0;
  // Where a value stands is no part of what it says: two files that differ in layout alone give
  // equal configurations.
  friend bool operator==(const Location&, const Location&) { return true; }
};

// A mistake, or a warning.
struct ConfigError {
  std::string file;
  uint32_t line = 0;  // 0: the file as a whole (it cannot be opened, for example)
  uint32_t column = 0;
  std::string path;     // tunnels[0].peers[2].allowed_ips[0]; empty for the whole document
  std::string message;  // what is wrong, and what would be right; never holds a secret
};

// FILE:LINE:COLUMN: PATH: MESSAGE
[[nodiscard]] std::string to_string(const ConfigError& error);

// Where the keys of one mapping stand.
class Places {
 public:
  Places() = default;
  explicit Places(Location mapping) : mapping_(mapping) {}
  // `key` must live for ever; the loader passes names of its own key table.
  void add(std::string_view key, Location at) { keys_.emplace_back(key, at); }
  // The place of the key's value; of the mapping itself when the file does not have the key.
  [[nodiscard]] Location of(std::string_view key) const {
    for (const auto& [name, at] : keys_) {
      if (name == key) return at;
    }
    return mapping_;
  }
  [[nodiscard]] Location mapping() const { return mapping_; }
  friend bool operator==(const Places&, const Places&) { return true; }

 private:
  Location mapping_;
  std::vector<std::pair<std::string_view, Location>> keys_;
};

}  // namespace turnpike::config

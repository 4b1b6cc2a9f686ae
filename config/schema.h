// The one table of every key that a configuration file may have: the loader reads by it, the JSON
// Schema for editors is tested against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace turnpike::config {

// IFNAMSIZ - 1: wg(8) knows a tunnel as an interface.
inline constexpr size_t kMaxTunnelNameBytes = 15;

enum class Section : uint8_t { Root, Dataplane, Port, Route, Tunnel, Peer, Control };

enum class KeyKind : uint8_t {
  Integer,
  Boolean,
  Text,
  Choice,
  Integers,  // sequences
  Texts,
  Mapping,
  Mappings,
};

struct Key {
  std::string_view name;
  KeyKind kind;
  bool required = false;
  uint64_t minimum = 0;  // Integer and Integers; maximum for the bytes of Text and Texts too
  uint64_t maximum = 0;
  std::span<const std::string_view> choices{};
  Section section = Section::Root;  // of Mapping and Mappings
  // Of Text: the rule where it has one of its own, which run time asks, too. Why a text breaks it; empty: it does not.
  std::string (*fault)(std::string_view text) = nullptr;
};

[[nodiscard]] std::span<const Key> keys_of(Section section) noexcept;
[[nodiscard]] const Key* find_key(Section section, std::string_view name) noexcept;

// The known key that `name` was probably meant to be; empty when none is near.
[[nodiscard]] std::string_view nearest_key(Section section, std::string_view name);

}  // namespace turnpike::config

// Bytes as hexadecimal and base64 text, as WireGuard's tools write keys.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace turnpike::base {

[[nodiscard]] std::string to_hex(std::span<const uint8_t> bytes);
// Exactly `out.size()` bytes from twice as many digits of either case; false, `out` untouched, otherwise.
// Runs in constant time for a given length, since keys go through it.
[[nodiscard]] bool from_hex(std::string_view text, std::span<uint8_t> out);

// A key of 32 bytes as 44 base64 characters with one '=' (RFC 4648), as wg(8) writes it.
[[nodiscard]] std::string key_to_base64(std::span<const uint8_t, 32> key);
// Refuses other lengths, other alphabets and stray bits in the last digit. Constant time as above.
[[nodiscard]] std::optional<std::array<uint8_t, 32>> key_from_base64(std::string_view text);

}  // namespace turnpike::base

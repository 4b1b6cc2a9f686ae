// IP addresses, prefixes and endpoints as values, and their text forms.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/base/bytes.h"

namespace turnpike {

enum class Family : uint8_t { None = 0, V4 = 4, V6 = 6 };

// An IPv4 or IPv6 address in network byte order. IPv4 uses the first four bytes, the others are zero,
// so that equality and hashing look at all sixteen.
struct IpAddress {
  Family family = Family::None;
  std::array<uint8_t, 16> bytes{};

  static IpAddress v4(uint32_t host_order) noexcept;
  static IpAddress v4_bytes(const uint8_t* four) noexcept;
  static IpAddress v6_bytes(const uint8_t* sixteen) noexcept;

  [[nodiscard]] bool is_v4() const noexcept { return family == Family::V4; }
  [[nodiscard]] bool is_v6() const noexcept { return family == Family::V6; }
  [[nodiscard]] bool is_none() const noexcept { return family == Family::None; }
  [[nodiscard]] unsigned width_bits() const noexcept { return is_v4() ? 32 : 128; }
  [[nodiscard]] uint32_t v4_host_order() const noexcept { return load_be32(bytes.data()); }
  [[nodiscard]] size_t size_bytes() const noexcept { return is_v4() ? 4 : 16; }

  // Of the kind that can be neither a source nor a destination of unicast on a wire: unspecified,
  // multicast, limited broadcast (RFC 1122 3.2.1.3, RFC 4291 2.5.2 and 2.7).
  [[nodiscard]] bool is_unspecified() const noexcept;
  [[nodiscard]] bool is_multicast() const noexcept;
  [[nodiscard]] bool is_broadcast() const noexcept;
  [[nodiscard]] bool is_loopback() const noexcept;
  [[nodiscard]] bool is_link_local() const noexcept;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

// A prefix with its host bits zero. Compared by family, address, length.
struct Prefix {
  IpAddress address;
  uint8_t length = 0;

  // Masks the host bits away. `length` must fit the family.
  static Prefix masked(const IpAddress& address, unsigned length) noexcept;
  [[nodiscard]] bool contains(const IpAddress& other) const noexcept;
  [[nodiscard]] bool contains(const Prefix& other) const noexcept;

  friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

// An interface's address with the length of its subnet: host bits stay.
struct InterfaceAddress {
  IpAddress address;
  uint8_t length = 0;
  [[nodiscard]] Prefix subnet() const noexcept { return Prefix::masked(address, length); }
  friend auto operator<=>(const InterfaceAddress&, const InterfaceAddress&) = default;
};

// An address and a UDP port (host order).
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  [[nodiscard]] bool is_none() const noexcept { return address.is_none(); }
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  [[nodiscard]] bool is_group() const noexcept { return (bytes[0] & 1) != 0; }
  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

// Text. Parsing is strict: dotted quads without leading zeros, RFC 4291 for IPv6 without zone.
[[nodiscard]] std::optional<IpAddress> parse_ip(std::string_view text);
[[nodiscard]] std::string to_string(const IpAddress& address);
[[nodiscard]] std::string to_string(const Prefix& prefix);  // always with /length
[[nodiscard]] std::string to_string(const InterfaceAddress& address);
[[nodiscard]] std::string to_string(
    const Endpoint& endpoint);  // 192.0.2.1:51820, [2001:db8::1]:51820
[[nodiscard]] std::string to_string(const MacAddress& mac);

// "ADDRESS/LENGTH", or an address alone (a host prefix). Keeps host bits; Prefix::masked() drops them.
[[nodiscard]] std::optional<InterfaceAddress> parse_interface_address(std::string_view text);
// The same, but nothing when host bits are set.
[[nodiscard]] std::optional<Prefix> parse_prefix(std::string_view text);
// "192.0.2.1:51820" or "[2001:db8::1]:51820"; port 1 to 65535.
[[nodiscard]] std::optional<Endpoint> parse_endpoint(std::string_view text);

}  // namespace turnpike

template <>
struct std::hash<turnpike::IpAddress> {
  size_t operator()(const turnpike::IpAddress& a) const noexcept;
};
template <>
struct std::hash<turnpike::Prefix> {
  size_t operator()(const turnpike::Prefix& p) const noexcept;
};

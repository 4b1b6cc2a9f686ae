#include "dataplane/base/address.h"

#include <arpa/inet.h>

#include <charconv>

#include "dataplane/base/check.h"

namespace turnpike {

IpAddress IpAddress::v4(uint32_t host_order) noexcept {
  IpAddress a;
  a.family = Family::V4;
  store_be32(a.bytes.data(), host_order);
  return a;
}

IpAddress IpAddress::v4_bytes(const uint8_t* four) noexcept {
  IpAddress a;
  a.family = Family::V4;
  std::memcpy(a.bytes.data(), four, 4);
  return a;
}

IpAddress IpAddress::v6_bytes(const uint8_t* sixteen) noexcept {
  IpAddress a;
  a.family = Family::V6;
  std::memcpy(a.bytes.data(), sixteen, 16);
  return a;
}

bool IpAddress::is_unspecified() const noexcept {
  return !is_none() && bytes == std::array<uint8_t, 16>{};
}

bool IpAddress::is_multicast() const noexcept {
  return is_v4() ? (bytes[0] & 0xf0) == 0xe0 : is_v6() && bytes[0] == 0xff;
}

bool IpAddress::is_broadcast() const noexcept { return is_v4() && v4_host_order() == 0xffffffff; }

bool IpAddress::is_loopback() const noexcept {
  if (is_v4()) return bytes[0] == 127;
  std::array<uint8_t, 16> loopback{};
  loopback[15] = 1;
  return is_v6() && bytes == loopback;
}

bool IpAddress::is_link_local() const noexcept {
  if (is_v4()) return bytes[0] == 169 && bytes[1] == 254;
  return is_v6() && bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

Prefix Prefix::masked(const IpAddress& address, unsigned length) noexcept {
  DCHECK(length <= address.width_bits());
  Prefix p{.address = address, .length = static_cast<uint8_t>(length)};
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned first_bit = i * 8;
    if (first_bit >= length) {
      p.address.bytes[i] = 0;
    } else if (length - first_bit < 8) {
      p.address.bytes[i] &= static_cast<uint8_t>(0xff00 >> (length - first_bit));
    }
  }
  return p;
}

bool Prefix::contains(const IpAddress& other) const noexcept {
  return other.family == address.family && masked(other, length).address == address;
}

bool Prefix::contains(const Prefix& other) const noexcept {
  return other.length >= length && contains(other.address);
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  // inet_pton needs a terminated string; nothing valid is longer than this.
  char buffer[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof(buffer)) return std::nullopt;
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  IpAddress a;
  if (inet_pton(AF_INET, buffer, a.bytes.data()) == 1) {
    a.family = Family::V4;
    return a;
  }
  if (inet_pton(AF_INET6, buffer, a.bytes.data()) == 1) {
    a.family = Family::V6;
    return a;
  }
  return std::nullopt;
}

std::string to_string(const IpAddress& address) {
  if (address.is_none()) return "none";
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(address.is_v4() ? AF_INET : AF_INET6, address.bytes.data(), buffer, sizeof(buffer));
  return buffer;
}

std::string to_string(const Prefix& prefix) {
  return to_string(prefix.address) + "/" + std::to_string(prefix.length);
}

std::string to_string(const InterfaceAddress& address) {
  return to_string(address.address) + "/" + std::to_string(address.length);
}

std::string to_string(const Endpoint& endpoint) {
  const std::string address = to_string(endpoint.address);
  return (endpoint.address.is_v6() ? "[" + address + "]" : address) + ":" +
         std::to_string(endpoint.port);
}

std::string to_string(const MacAddress& mac) {
  char buffer[18];
  std::snprintf(buffer, sizeof(buffer), "%02x:%02x:%02x:%02x:%02x:%02x", mac.bytes[0], mac.bytes[1],
                mac.bytes[2], mac.bytes[3], mac.bytes[4], mac.bytes[5]);
  return buffer;
}

namespace {

// Decimal digits only, no sign, no leading zero.
template <typename T>
std::optional<T> parse_decimal(std::string_view text) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<InterfaceAddress> parse_interface_address(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) return std::nullopt;
  unsigned length = address->width_bits();
  if (slash != std::string_view::npos) {
    const auto parsed = parse_decimal<unsigned>(text.substr(slash + 1));
    if (!parsed || *parsed > length) return std::nullopt;
    length = *parsed;
  }
  return InterfaceAddress{.address = *address, .length = static_cast<uint8_t>(length)};
}

std::optional<Prefix> parse_prefix(std::string_view text) {
  const auto parsed = parse_interface_address(text);
  if (!parsed || parsed->subnet().address != parsed->address) return std::nullopt;
  return parsed->subnet();
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = parse_ip(host);
  const auto port = parse_decimal<uint16_t>(text.substr(colon + 1));
  if (!address || !port || *port == 0 || address->is_v6() != bracketed) return std::nullopt;
  return Endpoint{.address = *address, .port = *port};
}

}  // namespace turnpike

// Keys of hash tables on the control side only; a fixed 64-bit mix (splitmix64's constants).
static size_t mix(uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

size_t std::hash<turnpike::IpAddress>::operator()(const turnpike::IpAddress& a) const noexcept {
  const uint64_t high = turnpike::load_le64(a.bytes.data());
  const uint64_t low = turnpike::load_le64(a.bytes.data() + 8);
  return mix(high + mix(low + static_cast<uint64_t>(a.family)));
}

size_t std::hash<turnpike::Prefix>::operator()(const turnpike::Prefix& p) const noexcept {
  return mix(std::hash<turnpike::IpAddress>{}(p.address) + p.length);
}

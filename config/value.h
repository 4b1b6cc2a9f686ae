// Text into addresses, prefixes, endpoints and keys, with a message that says what would be right.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "config/node.h"
#include "config/report.h"
#include "dataplane/base/address.h"
#include "dataplane/base/keys.h"

namespace turnpike::config {

[[nodiscard]] std::optional<IpAddress> read_address(const Node& node, const Path& path,
                                                    Report& report);
// Host bits stay.
[[nodiscard]] std::optional<InterfaceAddress> read_own_address(const Node& node, const Path& path,
                                                               Report& report);
[[nodiscard]] std::optional<Prefix> read_prefix(const Node& node, const Path& path, Report& report);
[[nodiscard]] std::optional<Endpoint> read_endpoint(const Node& node, const Path& path,
                                                    Report& report);

struct KeyBytes {
  std::array<uint8_t, kKeyBytes> bytes{};
  KeyBytes() = default;
  KeyBytes(const KeyBytes&) = default;
  KeyBytes& operator=(const KeyBytes&) = default;
  ~KeyBytes() { wipe(bytes.data(), bytes.size()); }
};

// Never quotes the text: it may be a secret. An all-zero key is refused.
[[nodiscard]] std::optional<KeyBytes> read_key(std::string_view text, Location at, const Path& path,
                                               Report& report);
// From a regular file that holds the base64 text and white space around it. `name` is relative to
// `base`. Warns when others may read the file.
[[nodiscard]] std::optional<KeyBytes> read_key_file(const std::filesystem::path& base,
                                                    const Node& name, const Path& path,
                                                    Report& report);

// Whether `text` could be meant as a key: 44 characters of base64.
[[nodiscard]] bool shaped_like_key(std::string_view text);
// Why a port or a tunnel cannot be called that; empty: it can. Its length is another matter.
[[nodiscard]] std::string plain_name_fault(std::string_view name);
// What may be said of a peer, in a file and at run time alike, so that what runs can be written to a file.
inline constexpr size_t kMaxPeerNameBytes = 128;
inline constexpr size_t kMaxDescriptionBytes = 4'096;
// Why a peer cannot be called that; empty: it can. A name must not be taken for a key or an option.
[[nodiscard]] std::string peer_name_fault(std::string_view name);
// Why that cannot describe a peer; empty: it can.
[[nodiscard]] std::string description_fault(std::string_view description);

}  // namespace turnpike::config

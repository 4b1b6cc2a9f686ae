// Reads a YAML configuration into the validated value, or says everything that is wrong with it.
//   Threads:  any; nothing is shared.
//   Bounds:   kMaxFileBytes of text, kMaxDepth levels, kMaxReported mistakes (the last entry counts
//   the
//             rest). Of a syntax error only the first is reported; of content all, in order of
//             place.
//   Secrets:  buffers of the loader that held keys are wiped. A key that stands in the YAML text
//   itself also
//             passes through buffers of the YAML library, which nobody can wipe: use *_file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "config/check.h"
#include "config/config.h"
#include "dataplane/base/result.h"

namespace turnpike::config {

inline constexpr size_t kMaxFileBytes = size_t{1} << 30;
inline constexpr size_t kMaxDepth = 16;
inline constexpr size_t kMaxReported = 1'000;

// Paths in the file are relative to its directory. `public_key_of` as in check().
[[nodiscard]] Result<Config, std::vector<ConfigError>> load_config(
    const std::filesystem::path& file, PublicKeyOf public_key_of = nullptr);

// The same from memory: `file` is the name in messages, paths are relative to `base`.
[[nodiscard]] Result<Config, std::vector<ConfigError>> parse_config(
    std::string_view text, const std::string& file, const std::filesystem::path& base,
    PublicKeyOf public_key_of = nullptr);

}  // namespace turnpike::config

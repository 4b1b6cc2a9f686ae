// Keys as files that nobody else can read, for commands that write configurations.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "config/exporter.h"
#include "dataplane/base/result.h"

namespace turnpike::cli {

// How the files of secrets are called below `directory`: TUNNEL.key, and TUNNEL-KEY.psk with the first digits of
// the peer's public key, since names may hold anything.
[[nodiscard]] config::SecretFiles secret_names(const std::string& directory);

// Makes `directory` (0700) where it is missing and each file anew (0600): none is written over. The error is one
// line; files that were made before it stay.
[[nodiscard]] Result<size_t, std::string> write_secrets(const config::Config& config,
                                                        const std::string& directory);

}  // namespace turnpike::cli

// What the commands do, once their arguments are understood. Each gives the exit status.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/cli/environment.h"

namespace turnpike::cli {

struct Common {
  std::string socket;
  bool json = false;
};

// Of every command that changes something.
struct ChangeOptions {
  bool dry_run = false;
  std::optional<uint64_t> if_generation;
  std::optional<uint64_t> confirm_seconds;
  std::string comment;
};

// Attributes given to `peer add` and `peer set`; what is absent stays.
struct PeerArguments {
  std::string tunnel;
  std::string peer;
  std::optional<std::string> public_key;
  std::optional<std::string> name;
  std::optional<std::string> description;
  std::optional<std::string> preshared_key_file;  // "-": standard input; empty: none
  std::optional<std::string> endpoint;            // empty: none
  std::optional<uint32_t> persistent_keepalive;
  std::optional<bool> enabled;
  std::vector<std::string> prefixes;
};

struct OwnerArguments {  // of `ips`
  std::string op;
  std::string tunnel;
  std::string peer;  // or `from`
  std::string to;
  std::vector<std::string> prefixes;
};

int check(const std::string& file, bool json, Environment& environment);
int show(const std::string& section, const std::string& tunnel, const Common& common,
         Environment& environment);
int owner(const std::string& tunnel, const std::string& target, const Common& common,
          Environment& environment);
int change_peer(const std::string& op, const PeerArguments& arguments, const ChangeOptions& options,
                const Common& common, Environment& environment);
int change_owner(const OwnerArguments& arguments, const ChangeOptions& options,
                 const Common& common, Environment& environment);
int apply_document(const std::string& file, const ChangeOptions& options, const Common& common,
                   Environment& environment);

// "90", "90s", "5m", "1h" in seconds; nothing for anything else, for zero and for more than a day.
[[nodiscard]] std::optional<uint64_t> parse_duration(std::string_view text);

}  // namespace turnpike::cli

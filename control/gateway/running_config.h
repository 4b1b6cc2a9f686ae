// What runs, as the configuration that would start it: the ports, tunnels, peers and prefixes of now, edits at run
// time among them, with what is read at start. Pure; config::Exporter makes text of it.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "control/gateway/topology.h"
#include "control/state/state.h"

namespace turnpike::gateway {

struct RunningConfig {
  static constexpr size_t kNamedMax = 20;

  Generation generation = 0;
  // Prefixes are in order; the paths in it are absolute (where the working directory is gone, a note says so). `secret_files` has those keys that are what the file
  // applied last named a file for.
  config::Config config;
  // What a configuration cannot say, or only otherwise: a sentence each, at most kNamedMax and one that counts
  // the rest.
  std::vector<std::string> notes;
  // Keys that `secret_files` does not have: they stood in the text, or were set at run time.
  size_t keys_without_file = 0;
  std::vector<std::string> named_without_file;  // whose they are; the first kNamedMax
};

// `started`: what the daemon was started with. `applied`: the file applied last, for its names of key files.
//   Threads: any, while neither state nor topology change.
//   Cost:    that of all there is; memory, too.
[[nodiscard]] RunningConfig running_config(const state::State& state, const Topology& topology,
                                           const config::Config& started,
                                           const config::Config& applied);

}  // namespace turnpike::gateway

// What a configuration file asks for, as a transaction: the difference between the file applied last and
// the new one (design, 7). A line that nobody changed asks for nothing. The first start is the difference
// to an empty file.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "control/state/refusal.h"
#include "control/state/transaction.h"

namespace turnpike::gateway {

struct FileTransaction {
  state::Transaction transaction;
  std::vector<config::Location>
      at;  // where each edit stands in the new file; line 0: in the old one only
  std::string file;
};

// Of tunnels, peers and prefixes; ports, routes and addresses are the topology's.
[[nodiscard]] FileTransaction difference(const config::Config& before, const config::Config& after);

// A refusal of such a transaction as mistakes of the file: FILE:LINE:COLUMN and what to do.
[[nodiscard]] std::vector<config::ConfigError> errors_of(const state::Refusal& refusal,
                                                         const FileTransaction& transaction,
                                                         const config::Config& after);

}  // namespace turnpike::gateway

// What a configuration file asks for, as a transaction: the difference between the file applied last and
// the new one (design, 7). A line that nobody changed asks for nothing. The first start is the difference
// to an empty file.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "control/state/refusal.h"
#include "control/state/transaction.h"

namespace turnpike::gateway {

struct FileTransaction {
  state::Transaction transaction;
  // Of each edit: where it stands in the new file; line 0: in the old one only.
  std::vector<config::Location> at;
  std::string file;
  // Tunnels that are set, as the old file has them: what it did not say may have been set at run time.
  std::map<std::string, std::shared_ptr<const state::Tunnel>> tunnels_before;

  void add(state::Edit edit, config::Location where) {
    transaction.edits.push_back(std::move(edit));
    at.push_back(where);
  }
};

// Of tunnels, peers and prefixes; ports, routes and addresses are the topology's.
[[nodiscard]] FileTransaction difference(const config::Config& before, const config::Config& after);

// A refusal of such a transaction as mistakes of the file: FILE:LINE:COLUMN and what to do.
[[nodiscard]] std::vector<config::ConfigError> errors_of(const state::Refusal& refusal,
                                                         const FileTransaction& transaction,
                                                         const config::Config& after);

}  // namespace turnpike::gateway

// Which keys of a file are read at start only and differ from what the daemon was started with: a reload of
// such a file is refused (design, 7).
#pragma once

#include <vector>

#include "config/config.h"

namespace turnpike::gateway {

// One entry for each key, with its place in `after`. All of `dataplane` and `control`; of ports their names,
// devices and MTUs, whatever their order.
[[nodiscard]] std::vector<config::ConfigError> restart_keys(const config::Config& started,
                                                            const config::Config& after);

// The ports in the order of `started`, in which the workers know them. Only where restart_keys() is empty.
void order_ports(const config::Config& started, config::Config& after);

}  // namespace turnpike::gateway

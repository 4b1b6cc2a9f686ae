// The answer to `show`, in slices: a million peers are never in memory at once, and no slice works long.
// Peers that come or go while it is sent may or may not be in it; every other peer is, once, with
// attributes and prefixes of one moment. `generation` is that of the first slice.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "control/api/backend.h"
#include "control/api/request.h"

namespace turnpike::api {

struct ShowFilter {
  bool tunnels = true;
  bool peers = true;
  bool ports = true;
  bool workers = true;
  bool drops = true;
  std::optional<std::string> tunnel;  // only this one, in `tunnels` and `peers`
  std::optional<PeerId> peer;         // only this one
};

// The sections by their names in the command line; nothing for another name.
[[nodiscard]] std::optional<ShowFilter> show_section(std::string_view name);

[[nodiscard]] std::unique_ptr<BodySource> make_show(const Backend& backend, ShowFilter filter);

}  // namespace turnpike::api

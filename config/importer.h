// Reads the file of wg-quick(8) or wg(8) into a tunnel, and says what it leaves out. Pure;
// export_config() makes the YAML text of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/check.h"
#include "config/config.h"
#include "dataplane/base/result.h"

namespace turnpike::config {

struct ImportOptions {
  std::string tunnel_name = "wg0";
  PublicKeyOf public_key_of = nullptr;  // as in check()
  uint16_t listen_port = 51820;  // where the file has none
  // A wg file does not know them; their devices and addresses are the operator's to fill in. Until then, where none are
  // given here, they have addresses for documentation in subnets that the file has no address in, so that it loads.
  Port outside{.name = "outside", .device = "net_af_packet0,iface=wan0"};
  Port inside{.name = "inside", .device = "net_af_packet1,iface=lan0"};
};

struct Imported {
  Config config;  // the ports of the options and one tunnel
  std::vector<ConfigError> notes;  // what was left out or changed, in order of place
};

// Every mistake in one go, or, where there is none, what wg(8) takes and no configuration may hold. Keys are found as
// wg(8) finds them: in either case, blanks anywhere.
[[nodiscard]] Result<Imported, std::vector<ConfigError>> import_wg(std::string_view text,
                                                                   const std::string& file,
                                                                   const ImportOptions& options);

}  // namespace turnpike::config

#include "fixtures.h"

#include <array>

#include "dataplane/base/bytes.h"
#include "dataplane/base/check.h"
#include "dataplane/base/text.h"

namespace turnpike::config::test {

std::string key_text(uint32_t number) {
  std::array<uint8_t, 32> key;
  key.fill(0x5a);
  store_be32(key.data(), number);
  return base::key_to_base64(key);
}

std::string small_config() {
  return "ports:\n"                                             // 1
         "  - name: outside\n"                                  // 2
         "    device: net_af_packet0,iface=wan0\n"              // 3
         "    addresses: [192.0.2.1/24, \"2001:db8::1/64\"]\n"  // 4
         "  - name: inside\n"                                   // 5
         "    device: net_af_packet1,iface=lan0\n"              // 6
         "tunnels:\n"                                           // 7
         "  - name: wg0\n"                                      // 8
         "    private_key: " +
         key_text(1) +
         "\n"                        // 9
         "    listen_port: 51820\n"  // 10
         "    outside: outside\n"    // 11
         "    inside: inside\n"      // 12
         "    peers:\n"              // 13
         "      - name: alice\n"     // 14
         "        public_key: " +
         key_text(2) +
         "\n"                                                       // 15
         "        allowed_ips: [10.8.0.2/32, \"fd00:8::2/128\"]\n"  // 16
         "      - public_key: " +
         key_text(3) +
         "\n"                                     // 17
         "        allowed_ips: [10.8.0.3/32]\n";  // 18
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::vector<std::string> mistakes_of(std::string_view text) {
  std::vector<std::string> out;
  const auto loaded = parse_config(text, "gw.yaml", "");
  if (loaded) return out;
  for (const ConfigError& error : loaded.error()) out.push_back(to_string(error));
  return out;
}

std::vector<std::string> warnings_of(std::string_view text) {
  const auto loaded = parse_config(text, "gw.yaml", "");
  CHECK(loaded.has_value());
  std::vector<std::string> out;
  for (const ConfigError& warning : loaded->warnings) out.push_back(to_string(warning));
  return out;
}

}  // namespace turnpike::config::test

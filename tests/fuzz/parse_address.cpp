// What is read as an address, prefix or endpoint is written in a form that is read as the same
// value.
#include <string_view>

#include "dataplane/base/address.h"
#include "dataplane/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto ip = parse_ip(text)) CHECK(parse_ip(to_string(*ip)) == ip);
  const auto address = parse_interface_address(text);
  if (address) {
    CHECK(parse_interface_address(to_string(*address)) == address);
    CHECK(address->length <= address->address.width_bits());
    CHECK(address->subnet().contains(address->address));
  }
  if (const auto prefix = parse_prefix(text)) {
    CHECK(parse_prefix(to_string(*prefix)) == prefix);
    CHECK(address && address->subnet() == *prefix);
  }
  if (const auto endpoint = parse_endpoint(text)) {
    CHECK(parse_endpoint(to_string(*endpoint)) == endpoint);
    CHECK(endpoint->port != 0);
  }
  return 0;
}

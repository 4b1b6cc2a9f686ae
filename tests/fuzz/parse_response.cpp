// What is read as a response is written back as the same bytes, none left out.
#include <algorithm>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike::wireguard;
  const turnpike::Bytes datagram(data, size);
  const auto message = parse_response(datagram);
  CHECK(message.has_value() == (peek_type(datagram) == MessageType::Response));
  if (message) CHECK(std::ranges::equal(write_response(*message), datagram));
  return 0;
}

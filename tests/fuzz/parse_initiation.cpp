// What is read as an initiation is written back as the same bytes, none left out.
#include <algorithm>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike::wireguard;
  const turnpike::Bytes datagram(data, size);
  const auto message = parse_initiation(datagram);
  CHECK(message.has_value() == (peek_type(datagram) == MessageType::Initiation));
  if (message) CHECK(std::ranges::equal(write_initiation(*message), datagram));
  return 0;
}

// What is read as a cookie reply is written back as the same bytes, none left out.
#include <algorithm>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike::wireguard;
  const turnpike::Bytes datagram(data, size);
  const auto message = parse_cookie_reply(datagram);
  CHECK(message.has_value() == (peek_type(datagram) == MessageType::CookieReply));
  if (message) CHECK(std::ranges::equal(write_cookie_reply(*message), datagram));
  return 0;
}

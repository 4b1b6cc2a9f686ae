// What is read as a data message's header is written back as the same bytes.
#include <algorithm>

#include "dataplane/base/check.h"
#include "dataplane/wireguard/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike::wireguard;
  const turnpike::Bytes datagram(data, size);
  const auto header = parse_data(datagram);
  CHECK(header.has_value() == (peek_type(datagram) == MessageType::Data));
  if (header) {
    CHECK(size >= kDataOverheadBytes);
    std::array<uint8_t, kDataHeaderBytes> written;
    write_data_header(written, *header);
    CHECK(std::ranges::equal(written, datagram.first(kDataHeaderBytes)));
  }
  return 0;
}

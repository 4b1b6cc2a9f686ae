// Whatever a worker says could not be delivered: an error about it is whole, bounded and never answered itself; its
// fragments fit and have all of its bytes.
#include "control/session/fragments.h"
#include "control/session/icmp_errors.h"
#include "dataplane/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turnpike;
  using namespace turnpike::session;
  const Bytes packet(data, size);
  if (may_be_answered(packet)) {
    const bool v4 = packet[0] >> 4 == 4;
    const IpAddress from = *parse_ip(v4 ? "10.0.0.1" : "fd00::1");
    const IcmpError error = *icmp_error_for(DropReason::PacketTooBig, from.family, 1420);
    for (const size_t longest : {size_t{576}, size_t{1'500}}) {
      const Packet answer = make_icmp_error(error, from, packet, longest, 1);
      const auto view = parse_ip_packet(answer);
      CHECK(view && answer.size() <= longest && view->source == from);
      CHECK(!may_be_answered(answer));
    }
  }
  const size_t mtu = 68 + (size > 1 ? data[size - 1] : 0);
  size_t bytes = 0;
  size_t count = 0;
  const bool fragmented = for_each_fragment(packet, mtu, [&](Bytes fragment) {
    const size_t header = size_t{fragment[0] & 0xfu} * 4;
    CHECK(fragment.size() <= mtu && header >= kIpv4HeaderBytes && fragment.size() >= header);
    CHECK(internet_checksum(fragment.first(header)) == 0);
    bytes += fragment.size() - header;
    ++count;
  });
  CHECK(fragmented == (count != 0));
  if (fragmented) CHECK(bytes == load_be16(&packet[2]) - size_t{packet[0] & 0xfu} * 4);
  return 0;
}

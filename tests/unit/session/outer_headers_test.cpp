// The outer headers of handshake messages, as the kernel's are.
#include <gtest/gtest.h>

#include "world.h"

namespace turnpike::session::testing {
namespace {

TEST(OuterHeaders, HandshakesGoBeforeOtherTrafficAndMayBeFragmented) {
  for (const bool v6 : {false, true}) {
    World world(3, {.v6 = v6});
    size_t seen = 0;
    world.filter = [&](bool, const EthernetView& ethernet) {
      const auto packet = parse_ip_packet(ethernet.payload);
      if (!packet || packet->protocol != kProtocolUdp) return true;
      ++seen;
      EXPECT_EQ(packet->traffic_class, 0x88);  // AF41, and no ECN
      EXPECT_EQ(packet->hop_limit, 64);
      if (!v6) {
        EXPECT_EQ(load_be16(&ethernet.payload[6]), 0);  // neither DF nor a fragment
      }
      EXPECT_NE(load_be16(&packet->payload[6]), 0);  // UDP's sum is always there
      return true;
    };
    world.send(world.a, "first");
    world.run_for(1s);
    EXPECT_EQ(world.at_b, std::vector<std::string>{"first"});
    EXPECT_EQ(seen, 2u);
  }
}

}  // namespace
}  // namespace turnpike::session::testing

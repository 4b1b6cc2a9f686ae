#include "dataplane/base/address.h"

#include <gtest/gtest.h>

namespace turnpike {
namespace {

TEST(ParseIp, AcceptsWhatRfc4291AndDottedQuadsAllowAndPrintsItCanonically) {
  EXPECT_EQ(to_string(*parse_ip("192.0.2.1")), "192.0.2.1");
  EXPECT_EQ(to_string(*parse_ip("2001:DB8:0:0::1")), "2001:db8::1");
  for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "::g",
                          "fe80::1%eth0", "1:2:3:4:5:6:7:8:9"}) {
    EXPECT_FALSE(parse_ip(bad)) << bad;
  }
  EXPECT_FALSE(parse_ip(std::string_view("1.2.3.4\0x", 9)));
}

TEST(ParsePrefix, RefusesHostBitsThatParseInterfaceAddressKeeps) {
  EXPECT_EQ(to_string(*parse_prefix("10.0.0.0/8")), "10.0.0.0/8");
  EXPECT_FALSE(parse_prefix("10.0.0.1/8"));
  EXPECT_EQ(to_string(parse_interface_address("10.0.0.1/8")->subnet()), "10.0.0.0/8");
  EXPECT_EQ(to_string(*parse_prefix("10.0.0.1")), "10.0.0.1/32");
  EXPECT_EQ(to_string(*parse_prefix("::/0")), "::/0");
  for (const char* bad :
       {"10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/-0", "/8"}) {
    EXPECT_FALSE(parse_interface_address(bad)) << bad;
  }
}

TEST(Prefix, MasksAndContainsAtEveryLength) {
  const IpAddress ones = *parse_ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  for (unsigned length = 0; length <= 128; ++length) {
    const Prefix p = Prefix::masked(ones, length);
    EXPECT_TRUE(p.contains(ones));
    for (unsigned bit = 0; bit < 128; ++bit) {
      const bool set = (p.address.bytes[bit / 8] >> (7 - bit % 8) & 1) != 0;
      EXPECT_EQ(set, bit < length) << length << " " << bit;
    }
    if (length > 0) {
      EXPECT_FALSE(p.contains(Prefix::masked(ones, length - 1)));
    }
  }
  EXPECT_FALSE(parse_prefix("::/0")->contains(*parse_ip("10.0.0.1")));
}

TEST(ParseEndpoint, WantsBracketsForIpv6OnlyAndAPort) {
  EXPECT_EQ(to_string(*parse_endpoint("198.51.100.7:51820")), "198.51.100.7:51820");
  EXPECT_EQ(to_string(*parse_endpoint("[2001:db8::1]:1")), "[2001:db8::1]:1");
  for (const char* bad : {"198.51.100.7", "198.51.100.7:0", "198.51.100.7:65536", "2001:db8::1:1",
                          "[198.51.100.7]:1", "host:1", ":1", "[2001:db8::1]", "1.2.3.4:01"}) {
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
  }
}

TEST(IpAddress, KnowsTheKindsThatAreNoUnicast) {
  EXPECT_TRUE(parse_ip("224.0.0.1")->is_multicast());
  EXPECT_TRUE(parse_ip("ff02::1")->is_multicast());
  EXPECT_TRUE(parse_ip("255.255.255.255")->is_broadcast());
  EXPECT_TRUE(parse_ip("::")->is_unspecified());
  EXPECT_TRUE(parse_ip("::1")->is_loopback());
  EXPECT_TRUE(parse_ip("fe80::1")->is_link_local());
  EXPECT_FALSE(parse_ip("10.1.2.3")->is_multicast());
}

}  // namespace
}  // namespace turnpike

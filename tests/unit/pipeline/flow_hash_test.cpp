#include "dataplane/pipeline/flow_hash.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "dataplane/pipeline/headers.h"
#include "tests/unit/pipeline/bytes_of.h"

namespace turnpike::pipeline {
namespace {

using test::Blob;
using test::ip;

constexpr MacAddress kMac{{2, 0, 0, 0, 0, 1}};
constexpr uint32_t kSeed = 0x5eed;

Blob udp(const char* from, const char* to, uint16_t source_port, uint16_t destination_port) {
  return test::make_frame(
      kMac, kMac, test::make_udp(ip(from), ip(to), source_port, destination_port, Blob(20)));
}
uint32_t hash_of(const Blob& frame, uint32_t seed = kSeed) {
  return flow_hash(frame.data(), frame.size(), seed);
}

TEST(FlowHash, IsTheSameBothWaysOfAFlow) {
  EXPECT_EQ(hash_of(udp("192.0.2.1", "198.51.100.7", 51820, 4242)),
            hash_of(udp("198.51.100.7", "192.0.2.1", 4242, 51820)));
  EXPECT_EQ(hash_of(udp("2001:db8::1", "2001:db8:9::7", 51820, 4242)),
            hash_of(udp("2001:db8:9::7", "2001:db8::1", 4242, 51820)));
}

TEST(FlowHash, DependsOnAddressesPortsProtocolAndSeed) {
  const Blob frame = udp("192.0.2.1", "198.51.100.7", 51820, 4242);
  EXPECT_NE(hash_of(frame), hash_of(udp("192.0.2.2", "198.51.100.7", 51820, 4242)));
  EXPECT_NE(hash_of(frame), hash_of(udp("192.0.2.1", "198.51.100.8", 51820, 4242)));
  EXPECT_NE(hash_of(frame), hash_of(udp("192.0.2.1", "198.51.100.7", 51821, 4242)));
  EXPECT_NE(hash_of(frame), hash_of(frame, kSeed + 1));
  Blob tcp = frame;
  tcp[kEthernetBytes + 9] = 6;
  EXPECT_NE(hash_of(frame), hash_of(tcp));
}

// Whoever chooses both ports, or both addresses, cannot choose flows that fall together whatever the seed is.
TEST(FlowHash, TellsPairsOfOneSumAndOneDifferenceApart) {
  EXPECT_NE(hash_of(udp("192.0.2.1", "198.51.100.7", 0x00ff, 0xff00)),
            hash_of(udp("192.0.2.1", "198.51.100.7", 0x0fff, 0xf000)));
  EXPECT_NE(hash_of(udp("10.0.0.1", "10.0.0.2", 1, 2)), hash_of(udp("10.0.0.0", "10.0.0.3", 1, 2)));
}

// The later ones have no ports, and must not leave the first one behind.
TEST(FlowHash, KeepsAllFragmentsOfADatagramTogether) {
  Blob first = udp("192.0.2.1", "198.51.100.7", 51820, 4242);
  first[kEthernetBytes + 6] = 0x20;  // more fragments
  Blob later = udp("192.0.2.1", "198.51.100.7", 0x1234, 0x5678);
  later[kEthernetBytes + 7] = 0x10;  // an offset
  EXPECT_EQ(hash_of(first), hash_of(later));
}

TEST(FlowHash, IsNullOfWhatIsNoIp) {
  Blob arp(60);
  arp[12] = 0x08;
  arp[13] = 0x06;
  EXPECT_EQ(hash_of(arp), 0u);
  EXPECT_EQ(worker_of(0, 64), 0u);
  EXPECT_EQ(worker_of(0xffff'ffff, 64), 63u);
}

// In exact buffers, so that the address sanitizer sees a read beyond.
TEST(FlowHash, ReadsNothingBehindAFrameOfAnyLength) {
  for (const char* to : {"198.51.100.7", "2001:db8:9::7"}) {
    const bool v6 = std::string_view(to).find(':') != std::string_view::npos;
    const Blob whole = udp(v6 ? "2001:db8::1" : "192.0.2.1", to, 1, 2);
    for (size_t length = 0; length <= whole.size(); ++length) {
      const std::vector<uint8_t> exact(whole.begin(), whole.begin() + static_cast<long>(length));
      (void)flow_hash(exact.data(), exact.size(), kSeed);
    }
  }
  // A header that says it is longer than the frame.
  Blob lies = udp("192.0.2.1", "198.51.100.7", 1, 2);
  lies.resize(kEthernetBytes + kIpv4Bytes + 4);
  lies[kEthernetBytes] = 0x4f;
  const std::vector<uint8_t> exact(lies.begin(), lies.end());
  (void)flow_hash(exact.data(), exact.size(), kSeed);
}

// Clients of one subnet to one gateway, whose addresses and ports differ in few bits.
TEST(FlowHash, SpreadsNeighbouringFlowsEvenly) {
  for (const size_t workers : {2u, 3u, 8u}) {
    std::map<size_t, int> flows;
    constexpr int kFlows = 8'000;
    for (int i = 0; i < kFlows; ++i) {
      const std::string client = "10.0." + std::to_string(i / 250) + '.' + std::to_string(i % 250);
      ++flows[worker_of(hash_of(udp(client.c_str(), "192.0.2.1", 51820, 51820)), workers)];
    }
    for (size_t worker = 0; worker < workers; ++worker) {
      const double share = flows[worker] * static_cast<double>(workers) / kFlows;
      EXPECT_NEAR(share, 1.0, 0.12) << worker << " of " << workers;
    }
  }
}

}  // namespace
}  // namespace turnpike::pipeline

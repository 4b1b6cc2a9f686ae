#include "dataplane/publish/peer_slots.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/support/sim_threads.h"

namespace turnpike::publish {
namespace {

// All fields come from `n`, and no byte repeats its neighbour.
PeerEndpoint endpoint_of(uint32_t n) {
  PeerEndpoint endpoint;
  const auto fill = [n](IpAddress& address, uint32_t salt) {
    address.family = Family::V6;
    for (uint32_t i = 0; i < 4; ++i)
      store_be32(&address.bytes[4 * i], (n + salt) * 2'654'435'761u + i);
  };
  fill(endpoint.remote.address, 1);
  fill(endpoint.local, 2);
  endpoint.remote.port = static_cast<uint16_t>(n);
  endpoint.first_hop = n;
  return endpoint;
}

bool operator==(const PeerEndpoint& a, const PeerEndpoint& b) {
  return a.remote == b.remote && a.local == b.local && a.first_hop == b.first_hop;
}

TEST(PeerSend, EndpointComesBackAsItWasSet) {
  const auto send = std::make_unique<PeerSend>();
  for (uint32_t n : {0u, 1u, 77u, 0x7fff'fffeu}) {
    send->set_endpoint(endpoint_of(n));
    EXPECT_TRUE(send->endpoint() == endpoint_of(n));
  }
  PeerEndpoint v4{.remote = {IpAddress::v4(0xc000'0201), 51'820},
                  .local = IpAddress::v4(0xc000'0202),
                  .first_hop = kNoNeighbour};
  send->set_endpoint(v4);
  EXPECT_TRUE(send->endpoint() == v4);
}

TEST(PeerSend, LocalAddressThatIsNotKnownStaysNone) {
  const auto send = std::make_unique<PeerSend>();
  send->set_endpoint({.remote = {IpAddress::v4(0xc000'0201), 51'820}});
  EXPECT_TRUE(send->endpoint().local.is_none());
  EXPECT_EQ(send->endpoint().first_hop, kNoNeighbour);
}

TEST(PeerSlots, ZeroedMemoryIsAPeerWithoutKeyEndpointOrNeighbour) {
  SystemPages pages;
  PeerSlots slots(pages, 1'000);
  ASSERT_TRUE(slots.valid());
  for (const PeerIndex index : {0u, 999u}) {
    const PeerSlot& slot = slots[index];
    EXPECT_EQ(slot.send.current.load(), nullptr);
    EXPECT_EQ(slot.send.incarnation.load(), 0u);
    EXPECT_TRUE(slot.send.endpoint().remote.is_none());
    EXPECT_EQ(slot.send.endpoint().first_hop, kNoNeighbour);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&slot) % kCacheLine, 0u);
  }
}

TEST(PeerSlots, NoMemoryLeavesThemInvalid) {
  SystemPages pages(4'096);
  PeerSlots slots(pages, kMaxPeers);
  EXPECT_FALSE(slots.valid());
}

TEST(PeerSend, ReadersNeverSeeAMixtureOfTwoEndpoints) {
  constexpr uint32_t kChanges = 2'000;  // that each reader must have seen, so that they did race
  const auto send = std::make_unique<PeerSend>();
  send->set_endpoint(endpoint_of(0));
  std::atomic<int> reading{2};
  const auto read = [&] {
    uint32_t last = 0;
    for (uint32_t changes = 0; changes < kChanges && !testing::Test::HasFailure();) {
      const PeerEndpoint seen = send->endpoint();
      EXPECT_TRUE(seen == endpoint_of(seen.first_hop));
      EXPECT_GE(seen.first_hop, last);  // and never goes back
      if (seen.first_hop == last)
        std::this_thread::yield();
      else
        ++changes;
      last = seen.first_hop;
    }
    --reading;
  };
  uint32_t written = 0;
  sim::run_together(read, read, [&] {
    while (reading.load() > 0) {
      send->set_endpoint(endpoint_of(++written));
      if (written % 64 == 0) std::this_thread::yield();
    }
  });
  EXPECT_TRUE(send->endpoint() == endpoint_of(written));
}

}  // namespace
}  // namespace turnpike::publish

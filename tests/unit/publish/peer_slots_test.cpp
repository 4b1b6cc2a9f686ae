#include "dataplane/publish/peer_slots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <utility>

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

TEST(PeerSlots, EndpointComesBackAsItWasSet) {
  SystemPages pages;
  PeerSlots slots(pages, 4, 1);
  for (uint32_t n : {0u, 1u, 77u, 0x7fff'fffeu}) {
    slots.set_endpoint(1, endpoint_of(n));
    EXPECT_TRUE(slots.endpoint(1) == endpoint_of(n));
  }
  PeerEndpoint v4{.remote = {IpAddress::v4(0xc000'0201), 51'820},
                  .local = IpAddress::v4(0xc000'0202),
                  .first_hop = kNoNeighbour};
  slots.set_endpoint(1, v4);
  EXPECT_TRUE(slots.endpoint(1) == v4);
}

TEST(PeerSlots, LocalAddressThatIsNotKnownStaysNone) {
  SystemPages pages;
  PeerSlots slots(pages, 4, 1);
  slots.set_endpoint(1, {.remote = {IpAddress::v4(0xc000'0201), 51'820}});
  EXPECT_TRUE(slots.endpoint(1).local.is_none());
  EXPECT_EQ(slots.endpoint(1).first_hop, kNoNeighbour);
}

PacketEnds ends_of(const PeerEndpoint& endpoint) {
  return {.family = endpoint.remote.address.family,
          .remote_port = endpoint.remote.port,
          .remote = {load_le64(&endpoint.remote.address.bytes[0]),
                     load_le64(&endpoint.remote.address.bytes[8])},
          .local = {load_le64(&endpoint.local.bytes[0]), load_le64(&endpoint.local.bytes[8])}};
}

TEST(PeerSlots, EveryBitOfTheTwoEndsTellsWhetherAPeerIsThere) {
  SystemPages pages;
  PeerSlots slots(pages, 4, 77);
  const PeerEndpoint v4{.remote = {IpAddress::v4(0xc000'0201), 51'820},
                        .local = IpAddress::v4(0xc000'0202)};
  for (const PeerEndpoint& endpoint : {endpoint_of(5), v4}) {
    const PacketEnds ends = ends_of(endpoint);
    EXPECT_FALSE(slots.is_at({.index = 1}, ends));
    slots.set_endpoint(1, endpoint);
    EXPECT_TRUE(slots.is_at({.index = 1}, ends));
    EXPECT_FALSE(slots.is_at({.index = 2}, ends));
    const auto expect_elsewhere = [&](auto change) {
      PacketEnds other = ends;
      change(other);
      EXPECT_FALSE(slots.is_at({.index = 1}, other));
    };
    for (size_t bit = 0; bit < 128; ++bit) {
      const uint64_t mask = uint64_t{1} << (bit % 64);
      expect_elsewhere([&](PacketEnds& other) { other.remote[bit / 64] ^= mask; });
      expect_elsewhere([&](PacketEnds& other) { other.local[bit / 64] ^= mask; });
    }
    for (unsigned bit = 0; bit < 16; ++bit) {
      expect_elsewhere([&](PacketEnds& other) {
        other.remote_port = static_cast<uint16_t>(other.remote_port ^ 1u << bit);
      });
    }
    expect_elsewhere([&](PacketEnds& other) {
      other.family = other.family == Family::V4 ? Family::V6 : Family::V4;
    });
    expect_elsewhere([&](PacketEnds& other) { std::swap(other.remote, other.local); });
  }
  // The first hop is none of what a packet shows.
  PeerEndpoint elsewhere = v4;
  elsewhere.first_hop = 9;
  slots.set_endpoint(1, elsewhere);
  EXPECT_TRUE(slots.is_at({.index = 1}, ends_of(v4)));
  slots.set_endpoint(1, {});
  EXPECT_FALSE(slots.is_at({.index = 1}, ends_of(v4)));
}

TEST(PeerSlots, PrintsOfTwoProcessesDiffer) {
  const EndpointWords words = EndpointWords::of(endpoint_of(5));
  EXPECT_EQ(Printer(1).of(words, 3), Printer(1).of(words, 3));
  EXPECT_NE(Printer(1).of(words, 3), Printer(2).of(words, 3));
}

TEST(PeerSlots, ZeroedMemoryIsAPeerWithoutKeyEndpointOrNeighbour) {
  SystemPages pages;
  PeerSlots slots(pages, 1'000, 1);
  ASSERT_TRUE(slots.valid());
  for (const PeerIndex index : {0u, 999u}) {
    const PeerSlot& slot = slots[index];
    EXPECT_EQ(slot.send.current.load(), nullptr);
    EXPECT_EQ(slots.incarnation(index), 0u);
    EXPECT_TRUE(slots.endpoint(index).remote.is_none());
    EXPECT_EQ(slots.endpoint(index).first_hop, kNoNeighbour);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&slot) % kCacheLine, 0u);
  }
}

TEST(PeerSlots, NoMemoryLeavesThemInvalid) {
  SystemPages pages(4'096);
  PeerSlots slots(pages, kMaxPeers, 1);
  EXPECT_FALSE(slots.valid());
}

TEST(PeerSlots, ReadersNeverSeeAMixtureOfTwoEndpoints) {
  constexpr uint32_t kChanges = 2'000;  // that each reader must have seen, so that they did race
  SystemPages pages;
  PeerSlots slots(pages, 4, 1);
  slots.set_endpoint(1, endpoint_of(0));
  std::atomic<int> reading{2};
  const auto read = [&] {
    uint32_t last = 0;
    for (uint32_t changes = 0; changes < kChanges && !testing::Test::HasFailure();) {
      const PeerEndpoint seen = slots.endpoint(1);
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
      slots.set_endpoint(1, endpoint_of(++written));
      if (written % 64 == 0) std::this_thread::yield();
    }
  });
  EXPECT_TRUE(slots.endpoint(1) == endpoint_of(written));
}

TEST(PeerSlots, APeerIsWhereItIsUnderItsOwnIncarnationOnly) {
  SystemPages pages;
  PeerSlots slots(pages, 4, 77);
  const PacketEnds here = ends_of(endpoint_of(5)), there = ends_of(endpoint_of(6));
  slots.set_endpoint(1, endpoint_of(5));
  EXPECT_FALSE(slots.is_at({.index = 1, .incarnation = 7}, here));
  slots.set_incarnation(1, 7);
  EXPECT_EQ(slots.incarnation(1), 7u);
  EXPECT_TRUE(slots.is_at({.index = 1, .incarnation = 7}, here));
  slots.set_endpoint(1, endpoint_of(6));
  EXPECT_FALSE(slots.is_at({.index = 1, .incarnation = 7}, here));
  EXPECT_TRUE(slots.is_at({.index = 1, .incarnation = 7}, there));
  EXPECT_TRUE(slots.try_follow(1, endpoint_of(5)));
  EXPECT_TRUE(slots.is_at({.index = 1, .incarnation = 7}, here));
  for (unsigned bit = 0; bit < 32; ++bit) {
    EXPECT_FALSE(slots.is_at({.index = 1, .incarnation = 7 ^ 1u << bit}, here));
  }
  slots.set_incarnation(1, 8);
  EXPECT_FALSE(slots.is_at({.index = 1, .incarnation = 7}, here));
  EXPECT_TRUE(slots.is_at({.index = 1, .incarnation = 8}, here));
  EXPECT_TRUE(slots.endpoint(1) == endpoint_of(5));
}

TEST(LockedSum, ExcludesTheOthersAndKeepsItsSum) {
  LockedSum sum;
  uint64_t counter = 0;
  const auto count = [&] {
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t before = sum.lock();
      ++counter;
      sum.unlock(before + 3);
    }
  };
  sim::run_together(count, count, count, [&] {
    uint64_t last = 0;
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t now = sum.value();
      EXPECT_GE(now, last) << "seen while it is held, too";
      last = now;
    }
  });
  EXPECT_EQ(counter, 60'000u);
  EXPECT_EQ(sum.value(), 180'000u);
}

TEST(LockedSum, AResetLeavesTheLockToWhoHasIt) {
  LockedSum sum;
  sum.unlock(sum.lock() + 5);
  EXPECT_EQ(sum.lock(), 5u);
  sum.reset();
  EXPECT_EQ(sum.value(), 0u);
  std::atomic<bool> entered{false};
  std::thread other([&] {
    const uint64_t before = sum.lock();
    entered.store(true);
    sum.unlock(before + 1);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(entered.load());
  sum.unlock(0);
  other.join();
  EXPECT_EQ(sum.value(), 1u);
  sum.reset();
  EXPECT_EQ(sum.lock(), 0u);
}

TEST(Printer, OfASourceDiffersWhateverDiffersOfIt) {
  const Printer printer(5);
  std::set<uint64_t> seen;
  for (uint32_t bit = 0; bit <= 32; ++bit) {
    const uint32_t change = bit == 32 ? 0 : 1u << bit;
    seen.insert(printer.of_source(0x0a00'0001 ^ change, 7, 9, 3));
    seen.insert(printer.of_source(0x0a00'0001, 7 ^ change, 9, 3));
    seen.insert(printer.of_source(0x0a00'0001, 7, 9 ^ change, 3));
    seen.insert(printer.of_source(0x0a00'0001, 7, 9, 3 ^ change));
  }
  EXPECT_EQ(seen.size(), 4u * 32 + 1);
  for (uint32_t bit = 0; bit <= 64; ++bit) {
    const uint64_t change = bit == 64 ? 0 : uint64_t{1} << bit;
    seen.insert(printer.of_source({1 ^ change, 2}, {3, 4}, 5));
    seen.insert(printer.of_source({1, 2 ^ change}, {3, 4}, 5));
    seen.insert(printer.of_source({1, 2}, {3 ^ change, 4}, 5));
    seen.insert(printer.of_source({1, 2}, {3, 4 ^ change}, 5));
    seen.insert(printer.of_source({1, 2}, {3, 4}, 5 ^ static_cast<uint32_t>(change)));
  }
  EXPECT_EQ(seen.size(), 4u * 32 + 1 + 4 * 64 + 32 + 1);
  EXPECT_NE(Printer(6).of_source(0x0a00'0001, 7, 9, 3), printer.of_source(0x0a00'0001, 7, 9, 3));
}

// Whoever was last: what receiving looks at is what sending goes by.
TEST(PeerSlots, APeerIsWhereItsLastWriterPutItHoweverManyWrite) {
  SystemPages pages;
  PeerSlots slots(pages, 4, 77);
  for (uint32_t round = 0; round < 200; ++round) {
    const auto write = [&](uint32_t from, bool session) {
      for (uint32_t n = from; n < from + 50; ++n) {
        if (session) {
          slots.set_endpoint(1, endpoint_of(n));
          slots.set_incarnation(1, n);
        } else {
          (void)slots.try_follow(1, endpoint_of(n));
        }
      }
    };
    sim::run_together([&] { write(1'000, true); }, [&] { write(2'000, false); },
                      [&] { write(3'000, false); });
    ASSERT_TRUE(
        slots.is_at({.index = 1, .incarnation = slots.incarnation(1)}, ends_of(slots.endpoint(1))))
        << round;
  }
}

}  // namespace
}  // namespace turnpike::publish

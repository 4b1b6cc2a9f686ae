#include "dataplane/publish/neighbours.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>

#include "tests/support/sim_random.h"
#include "tests/support/sim_seeds.h"
#include "tests/support/sim_threads.h"

namespace turnpike::publish {
namespace {

using Key = std::pair<PortIndex, IpAddress>;

MacAddress mac_of(uint32_t n) {
  MacAddress mac{{0x02, 0, 0, 0, 0, 0}};
  store_be32(&mac.bytes[2], n);
  return mac;
}

TEST(NeighbourTable, FindsWhatWasInsertedAndKeepsOneEntryForEachAddress) {
  Epoch epoch;
  NeighbourTable table(epoch, 42);
  const IpAddress address = IpAddress::v4(0x0a00'0001);
  EXPECT_EQ(table.find(0, address), kNoNeighbour);
  const NeighbourIndex index = table.insert(0, address);
  ASSERT_NE(index, kNoNeighbour);
  EXPECT_EQ(table.insert(0, address), index);
  EXPECT_EQ(table.find(0, address), index);
  EXPECT_EQ(table.find(1, address), kNoNeighbour);  // another port is another neighbour
  EXPECT_EQ(table.size(), 1u);
}

TEST(NeighbourTable, MacIsUnknownUntilItIsSetAndAfterItIsCleared) {
  Epoch epoch;
  NeighbourTable table(epoch, 42);
  const NeighbourIndex index = table.insert(3, IpAddress::v4(0x0a00'0001));
  MacAddress mac;
  EXPECT_FALSE(table[index].mac(mac));
  const MacAddress all_zero{};  // a MAC of zeros is still "known"
  for (const MacAddress& set :
       {mac_of(0x1234'5678), all_zero, MacAddress{{255, 255, 255, 255, 255, 254}}}) {
    table.set_mac(index, set);
    ASSERT_TRUE(table[index].mac(mac));
    EXPECT_EQ(mac, set);
  }
  table.clear_mac(index);
  EXPECT_FALSE(table[index].mac(mac));
}

TEST(NeighbourTable, RemovedEntryIsUsedAgainOnlyAfterItsEpoch) {
  Epoch epoch;
  EpochReader& reader = epoch.add_reader();
  NeighbourTable table(epoch, 42);
  for (uint32_t i = 0; i < kMaxNeighbours; ++i) {
    ASSERT_NE(table.insert(0, IpAddress::v4(i)), kNoNeighbour);
  }
  EXPECT_EQ(table.insert(0, IpAddress::v4(kMaxNeighbours)), kNoNeighbour);
  reader.online();
  const NeighbourIndex gone = table.find(0, IpAddress::v4(7));
  table.remove(gone);
  EXPECT_EQ(table.size(), kMaxNeighbours - 1);
  EXPECT_EQ(table.find(0, IpAddress::v4(7)), kNoNeighbour);
  EXPECT_EQ(table.insert(0, IpAddress::v4(kMaxNeighbours)), kNoNeighbour);
  reader.begin();
  EXPECT_EQ(table.insert(0, IpAddress::v4(kMaxNeighbours)), gone);
  MacAddress mac;
  EXPECT_FALSE(table[gone].mac(mac));
}

TEST(NeighbourTable, AgreesWithAMapOnRandomSteps) {
  for (const uint64_t seed : sim::seeds(6)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    sim::Random random(seed);
    Epoch epoch;
    NeighbourTable table(epoch, random.next());
    std::map<Key, uint32_t> model;  // the number in the MAC, 0: unknown
    const auto random_key = [&random] {
      uint8_t bytes[16] = {0xfe, 0x80};
      bytes[15] = static_cast<uint8_t>(random.below(200));
      const IpAddress address = random.chance(0.5)
                                    ? IpAddress::v4(static_cast<uint32_t>(random.below(200)))
                                    : IpAddress::v6_bytes(bytes);
      return Key(static_cast<PortIndex>(random.below(2)), address);
    };
    for (uint32_t step = 1; step <= 5'000; ++step) {
      const Key key = random_key();
      const auto known = model.find(key);
      const NeighbourIndex index = table.find(key.first, key.second);
      ASSERT_EQ(index != kNoNeighbour, known != model.end());
      MacAddress mac;
      if (known == model.end()) {
        ASSERT_NE(table.insert(key.first, key.second), kNoNeighbour);
        model[key] = 0;
      } else if (random.chance(0.4)) {
        table.set_mac(index, mac_of(step));
        known->second = step;
      } else if (random.chance(0.5)) {
        table.remove(index);
        model.erase(known);
        if (random.chance(0.1)) table.collect();
      } else {
        ASSERT_EQ(table[index].mac(mac), known->second != 0);
        if (known->second != 0) {
          ASSERT_EQ(mac, mac_of(known->second));
        }
      }
      ASSERT_EQ(table.size(), model.size());
    }
    std::set<NeighbourIndex> distinct;
    for (const auto& [key, number] : model) distinct.insert(table.find(key.first, key.second));
    EXPECT_EQ(distinct.size(), model.size());
    EXPECT_EQ(distinct.count(kNoNeighbour), 0u);
  }
}

// A MAC always belongs to its address, also while entries come, go and are used again; an address that
// stays is always found.
TEST(NeighbourTable, ReaderFindsWhoStaysAndNeverAStrangersMac) {
  constexpr uint32_t kSteps = 20'000;
  constexpr uint32_t kComing = 400;
  Epoch epoch;
  EpochReader& reader = epoch.add_reader();
  NeighbourTable table(epoch, 42);
  // Enough entries stay that chains have several members.
  constexpr uint32_t kStaying = 6'000;
  for (uint32_t i = 0; i < kStaying; ++i) {
    const uint32_t address = 0x0a00'0000 + i;
    table.set_mac(table.insert(0, IpAddress::v4(address)), mac_of(address));
  }
  std::atomic<bool> done{false};
  const auto session = [&] {
    sim::Random random(7);
    for (uint32_t step = 0; step < kSteps; ++step) {
      const auto address = static_cast<uint32_t>(0x0b00'0000 + random.below(kComing));
      const NeighbourIndex index = table.find(0, IpAddress::v4(address));
      if (index == kNoNeighbour) {
        const NeighbourIndex fresh = table.insert(0, IpAddress::v4(address));
        if (fresh == kNoNeighbour)
          std::this_thread::yield();  // all wait for the reader
        else
          table.set_mac(fresh, mac_of(address));
      } else {
        table.remove(index);
      }
      if (step % 64 == 0) table.collect();
    }
    done.store(true, std::memory_order_relaxed);
  };
  const auto worker = [&] {
    sim::Random random(8);
    MacAddress mac;
    reader.online();
    while (!done.load(std::memory_order_relaxed)) {
      reader.begin();
      for (int i = 0; i < 32; ++i) {
        const auto stays = static_cast<uint32_t>(0x0a00'0000 + random.below(kStaying));
        const NeighbourIndex found = table.find(0, IpAddress::v4(stays));
        ASSERT_NE(found, kNoNeighbour);
        ASSERT_TRUE(table[found].mac(mac));
        ASSERT_EQ(mac, mac_of(stays));
        const auto comes = static_cast<uint32_t>(0x0b00'0000 + random.below(kComing));
        const NeighbourIndex perhaps = table.find(0, IpAddress::v4(comes));
        if (perhaps == kNoNeighbour) continue;
        ASSERT_EQ(table[perhaps].address, IpAddress::v4(comes));
        table[perhaps].last_used.store(1, std::memory_order_relaxed);
        if (table[perhaps].mac(mac)) {
          ASSERT_EQ(mac, mac_of(comes));
        }
      }
    }
    reader.offline();
  };
  sim::run_together(session, worker);
}

}  // namespace
}  // namespace turnpike::publish

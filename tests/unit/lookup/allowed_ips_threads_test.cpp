// A writer that publishes as fast as it can beside readers; for ThreadSanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "dataplane/lookup/allowed_ips_kernel.h"
#include "dataplane/publish/epoch.h"
#include "dataplane/publish/retirement.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::lookup {
namespace {

using publish::Epoch;
using publish::EpochReader;
using publish::Retirement;

// Each generation owns all prefixes: whoever sees two owners in one burst saw a mixture. Reader 1 reads the last of
// `replicas` copies.
template <typename Root, typename Key>
void publish_beside_readers(test::Mix mix, Key (*key_of)(const IpAddress&), size_t replicas) {
  constexpr size_t kPrefixes = 1'000;
  constexpr PeerIndex kGenerations = 100;
  constexpr int kReaders = 2;
  const std::vector<Prefix> prefixes = test::prefix_mix(mix, kPrefixes + 64, 11);
  Epoch epoch;
  std::array<SystemPages, 2> pages;
  const std::array<RoomSource*, 2> each{&pages[0], &pages[1]};
  Writer<Root> writer(ReplicaPages(std::span<RoomSource* const>(each).first(replicas)));
  Retirement<Garbage> retired(epoch);
  std::array<std::atomic<const void*>, kReaders> published{};
  std::atomic<bool> done{false};
  std::atomic<uint64_t> bursts{0};
  std::atomic<uint64_t> mixtures{0};
  const auto publish = [&](const std::vector<Edit>& edits) {
    ASSERT_TRUE(writer.prepare(edits));
    const Garbage garbage = writer.commit();
    // Pairs with the acquire of the readers.
    for (size_t r = 0; r < kReaders; ++r) {
      const auto replica = static_cast<ReplicaIndex>(r % replicas);
      published[r].store(writer.head(replica).node, std::memory_order_release);
    }
    retired.add(garbage);
    retired.collect([&](Garbage g) { writer.reclaim(g); });
  };
  const auto everything = [&](PeerIndex generation) {
    std::vector<Edit> edits;
    for (size_t i = 0; i < kPrefixes; ++i) edits.push_back({prefixes[i], generation});
    // Others come and go, so that nodes take shape and vanish meanwhile.
    for (size_t i = kPrefixes; i < prefixes.size(); ++i) {
      edits.push_back({prefixes[i], (i + generation) % 3 == 0 ? kNoPeer : generation});
    }
    return edits;
  };
  publish(everything(0));
  std::vector<std::thread> readers;
  for (int r = 0; r < kReaders; ++r) {
    EpochReader& reader = epoch.add_reader();
    readers.emplace_back([&, r] {
      test::Random random(static_cast<uint64_t>(r));
      PeerIndex last = 0;
      reader.online();
      while (!done.load(std::memory_order_relaxed)) {
        reader.begin();
        const Root root{published[static_cast<size_t>(r)].load(std::memory_order_acquire)};
        std::array<Key, kBurstMax> keys;
        std::array<PeerIndex, kBurstMax> peers;
        for (Key& key : keys)
          key = key_of(test::address_in(prefixes[random() % kPrefixes], random));
        // ThreadSanitizer sees every load of the portable kernel, and few of the others'.
        const Kernel& kernel = r == 0 || replicas > 1 ? kPortableKernel : best_kernel();
        if constexpr (std::is_same_v<Root, RootV4>) {
          kernel.v4(root.node, keys.data(), keys.size(), peers.data());
        } else {
          kernel.v6(root.node, &keys.data()->high, keys.size(), peers.data());
        }
        bool whole = peers[0] >= last && peers[0] <= kGenerations;
        for (const PeerIndex peer : peers) whole = whole && peer == peers[0];
        if (!whole) mixtures.fetch_add(1);
        last = peers[0];
        bursts.fetch_add(1);
      }
      reader.offline();
    });
  }
  // As many generations as planned, and then until every reader has had its turn.
  PeerIndex generation = 1;
  for (; generation <= kGenerations; ++generation) publish(everything(generation));
  while (bursts.load() < 100) std::this_thread::yield();
  done.store(true);
  for (std::thread& t : readers) t.join();
  EXPECT_EQ(mixtures.load(), 0u);
  EXPECT_EQ(retired.collect([&](Garbage g) { writer.reclaim(g); }), 0u);
  std::vector<Edit> removals;
  for (const Prefix& p : prefixes) removals.push_back({p, kNoPeer});
  ASSERT_TRUE(writer.prepare(removals));
  writer.reclaim(writer.commit());
  EXPECT_EQ(writer.used_bytes(), 0u);
  for (const SystemPages& source : pages) EXPECT_EQ(source.used_bytes(), 0u);
}

TEST(AllowedIpsThreads, ABatchOfAThousandIpv4PrefixesIsSeenAllOrNothing) {
  publish_beside_readers<RootV4, uint32_t>(test::Mix::Spread, test::key_v4, 1);
}
TEST(AllowedIpsThreads, ABatchOfAThousandIpv6PrefixesIsSeenAllOrNothing) {
  publish_beside_readers<RootV6, Ipv6Key>(test::Mix::V6, test::key_v6, 1);
}
TEST(AllowedIpsThreads, ACopyForAnotherNodeIsSeenAllOrNothing) {
  publish_beside_readers<RootV4, uint32_t>(test::Mix::Spread, test::key_v4, 2);
  publish_beside_readers<RootV6, Ipv6Key>(test::Mix::V6, test::key_v6, 2);
}

}  // namespace
}  // namespace turnpike::lookup

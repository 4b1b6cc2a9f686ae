// Where the memory of tables lies on the machine that this runs on. With one node there is little to see; numa_test.py
// runs it in a guest that has two.
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <set>
#include <thread>

#include "control/daemon/numa.h"
#include "dataplane/base/numa.h"
#include "dataplane/base/ready_pages.h"
#include "dataplane/lookup/allowed_ips_node.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::daemon {
namespace {

// Of the page at `address`; -1 where there is none or the kernel does not say.
int node_of(const void* address) {
  int node = -1;
  const long done =
      syscall(SYS_get_mempolicy, &node, nullptr, 0, address, MPOL_F_NODE | MPOL_F_ADDR);
  return done == 0 ? node : -1;
}

constexpr size_t kPageBytes = 4'096;
constexpr size_t kSeenBytes = 4 * kHugePageBytes;

// A page that never was may be the kernel's page of zeros, wherever that lies. What is free in a table reads as well.
[[gnu::no_sanitize_address]] bool was_written(const uint8_t* page) {
  for (size_t i = 0; i < kPageBytes; ++i) {
    if (page[i] != 0) return true;
  }
  return false;
}

TEST(Nodes, EachWorkerReadsATableThatLiesOnItsNode) {
  const NumaNodes nodes;
  std::vector<uint32_t> cpus;
  for (uint32_t cpu = 0; cpu < std::thread::hardware_concurrency(); ++cpu) {
    if (nodes.of_cpu(cpu)) cpus.push_back(cpu);
  }
  const Placement placement = place_tables(cpus, nodes, can_place_memory);
  std::vector<std::unique_ptr<ReadyPages>> sources;
  std::vector<RoomSource*> each;
  for (const Placement::Copy& copy : placement.copies) {
    sources.push_back(std::make_unique<ReadyPages>(
        SystemPages::Options{.numa_node = copy.placed ? static_cast<int>(*copy.node) : -1}));
    each.push_back(sources.back().get());
  }
  {
    lookup::WriterV4 writer((ReplicaPages(each)));
    // Many enough for large regions, which the helper of ReadyPages touches.
    const auto prefixes = test::prefix_mix(test::Mix::Spread, 100'000, 5);
    std::vector<lookup::Edit> edits;
    for (const Prefix& p : prefixes) edits.push_back({p, static_cast<PeerIndex>(edits.size())});
    for (size_t at = 0; at < edits.size(); at += 1'000) {
      ASSERT_TRUE(writer.prepare(std::span(edits).subspan(at, 1'000)));
      writer.reclaim(writer.commit());
    }
    std::set<NumaNode> seen;
    size_t pages = 0;
    for (const Placement::Worker& worker : placement.workers) {
      const Placement::Copy& copy = placement.copies[worker.replica];
      const auto& root = *static_cast<const lookup::RootLine*>(writer.head(worker.replica).node);
      std::vector<uint32_t> keys;
      std::array<PeerIndex, kBurstMax> owners{};
      for (size_t i = 0; i < kBurstMax; ++i) {
        keys.push_back(test::key_v4(prefixes[prefixes.size() - 1 - i].address));
      }
      lookup::lookup_burst(writer.head(worker.replica), keys, owners);
      EXPECT_TRUE(std::ranges::find(owners, kNoPeer) == owners.end());
      for (size_t offset = 0; offset < kSeenBytes; offset += kPageBytes) {
        const uint8_t* page = root.base + offset;
        const int node = node_of(page);
        if (node < 0 || !was_written(page)) continue;
        ++pages;
        if (copy.node) {
          EXPECT_EQ(static_cast<NumaNode>(node), *copy.node) << "at " << offset;
        }
        if (copy.placed && can_place_memory(static_cast<int>(*worker.node))) {
          EXPECT_EQ(copy.node, worker.node);
        }
      }
      if (worker.node) seen.insert(*worker.node);
    }
    for (const std::string& warning : placement.warnings) std::printf("%s\n", warning.c_str());
    std::printf("%zu nodes, %zu copies, %zu pages seen\n", seen.size(), placement.copies.size(),
                pages);
    EXPECT_TRUE(pages >= 100 || !can_place_memory(0));
  }
  for (const auto& source : sources) EXPECT_EQ(source->counts().ready, 0u);
}

}  // namespace
}  // namespace turnpike::daemon

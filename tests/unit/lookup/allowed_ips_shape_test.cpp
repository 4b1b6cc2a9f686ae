// How many steps a look-up takes: a table's shape should not depend on the order in which its prefixes came.
#include <gtest/gtest.h>

#include <array>
#include <unordered_set>

#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/lookup/allowed_ips_leaf.h"
#include "tests/support/one_bit_trie.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::lookup {
namespace {

// Of one address on its way to a leaf, to owners, to a skip that crosses /64, or to where nothing is.
size_t steps(const RootV6& root, uint64_t key) {
  const auto& line = *static_cast<const RootLine*>(root.node);
  size_t count = 0;
  for (Ref ref = line.top.below(); ref != 0; ++count) {
    const uint8_t* here = at(line.base, line_of(ref));
    if (kind_of(ref) == Kind::Node) {
      const unsigned stride = stride_of(ref);
      ref = reinterpret_cast<const Slot*>(here)[take(key, stride)].below();
      key = rest(key, stride);
    } else if (kind_of(ref) == Kind::Skip) {
      const auto& skip = *reinterpret_cast<const Skip*>(here);
      if (skip.crosses != 0 || high_bits(key ^ skip.bits, skip.length) != 0) return count;
      ref = skip.slot.below();
      key = rest(key, skip.length);
    } else {
      return count;
    }
  }
  return count;
}

size_t steps_of_all(const RootV6& root, const std::vector<Prefix>& prefixes) {
  size_t sum = 0;
  for (const Prefix& p : prefixes) sum += steps(root, test::key_v6(p.address).high);
  return sum;
}

void commit(WriterV6& writer, std::span<const Edit> edits) {
  ASSERT_TRUE(writer.prepare(edits));
  writer.reclaim(writer.commit());
}

std::vector<Edit> edits_of(const std::vector<Prefix>& prefixes) {
  std::vector<Edit> edits;
  for (const Prefix& p : prefixes) edits.push_back({p, static_cast<PeerIndex>(edits.size())});
  return edits;
}

TEST(AllowedIpsShape, ATableGrownEditByEditIsNoDeeperThanOneBuiltAtOnce) {
  const std::vector<Prefix> prefixes = test::prefix_mix(test::Mix::V6, 100'000, 20261122);
  const std::vector<Edit> edits = edits_of(prefixes);
  SystemPages pages;
  WriterV6 grown(pages), built(pages);
  for (const Edit& e : edits) commit(grown, {&e, 1});
  commit(built, edits);
  EXPECT_LE(steps_of_all(grown.head(), prefixes) * 100, steps_of_all(built.head(), prefixes) * 102);
}

// Two nets whose first bits agree, so that a node that grows leaves a short skip before them, and prefixes that end
// inside the node behind it.
TEST(AllowedIpsShape, AShortSkipThatJoinsTheNodeBehindItKeepsEveryPrefix) {
  test::Random random(7);
  const std::array<uint64_t, 5> nets = {0x2100'0000, 0x2110'0000, 0x2120'0000, 0x2130'0000,
                                        0x2d00'0000};
  std::vector<Prefix> prefixes;
  std::unordered_set<Prefix> seen;
  const auto add = [&](uint64_t high, unsigned length) {
    const Prefix p = Prefix::masked(test::address_v6(high, 0), length);
    if (seen.insert(p).second) prefixes.push_back(p);
  };
  for (size_t i = 0; i < 20'000; ++i) {
    const uint64_t net = nets[random() % nets.size()];
    add(net << 32 | (random() & 0xffff'ffff), 48);
    if (i == 50) add(nets[0] << 32, 9);
    if (i == 60) add(nets[0] << 32, 11);
    if (i == 70) add(nets[2] << 32, 11);
  }
  const std::vector<Edit> edits = edits_of(prefixes);
  SystemPages pages;
  {
    WriterV6 grown(pages), built(pages);
    test::OneBitTrie naive;
    for (const Edit& e : edits) {
      commit(grown, {&e, 1});
      naive.set(e.prefix, e.peer);
    }
    commit(built, edits);
    EXPECT_LE(steps_of_all(grown.head(), prefixes) * 100,
              steps_of_all(built.head(), prefixes) * 102);
    for (size_t i = 0; i < 100'000; ++i) {
      // Near the nets as well as in them.
      const uint64_t high = (nets[i % nets.size()] ^ (i % 3 == 0 ? random() & 0x00ff'ffff : 0))
                            << 32;
      const Ipv6Key key{.high = high | (random() & 0xffff'ffff), .low = random()};
      PeerIndex found = kNoPeer;
      lookup_burst(grown.head(), {&key, 1}, {&found, 1});
      ASSERT_EQ(found, naive.longest(key));
    }
    for (const Edit& e : edits) ASSERT_EQ(grown.find(e.prefix), e.peer);
    for (const Edit& e : edits) {
      const Edit removal{e.prefix, kNoPeer};
      commit(grown, {&removal, 1});
    }
    EXPECT_EQ(grown.used_bytes(), 0u);
  }
  EXPECT_EQ(pages.used_bytes(), 0u);
}

}  // namespace
}  // namespace turnpike::lookup

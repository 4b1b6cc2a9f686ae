// The allowed-IPs trie at the size where nodes grow, split and join, against a one-bit trie.
#include <gtest/gtest.h>

#include <type_traits>

#include "tests/support/one_bit_trie.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::lookup {
namespace {

using test::Mix;

template <typename Root>
class Checker {
 public:
  explicit Checker(Root root) : root_(root) {}
  ~Checker() { flush(); }
  void expect(const IpAddress& address, PeerIndex peer) {
    if constexpr (std::is_same_v<Root, RootV4>) {
      keys_.push_back(test::key_v4(address));
    } else {
      keys_.push_back(test::key_v6(address));
    }
    expected_.push_back(peer);
    if (keys_.size() == kBurstMax) flush();
  }

 private:
  void flush() {
    std::vector<PeerIndex> peers(keys_.size());
    lookup_burst(root_, keys_, peers);
    ASSERT_EQ(peers, expected_);
    keys_.clear();
    expected_.clear();
  }
  Root root_;
  std::vector<std::conditional_t<std::is_same_v<Root, RootV4>, uint32_t, Ipv6Key>> keys_;
  std::vector<PeerIndex> expected_;
};

template <typename Root>
void check_lookups(Root root, const test::OneBitTrie& oracle, const std::vector<Prefix>& prefixes,
                   test::Random& random, size_t count) {
  Checker checker(root);
  for (size_t i = 0; i < count; ++i) {
    IpAddress a = test::address_in(prefixes[random() % prefixes.size()], random);
    if (random() % 4 == 0)
      a.bytes[random() % a.size_bytes()] ^= static_cast<uint8_t>(1u << random() % 8);
    checker.expect(a, oracle.longest(a));
  }
}

template <typename Root>
void grow_and_shrink(Mix mix, size_t count, bool one_by_one) {
  const uint64_t seed = 7 + static_cast<uint64_t>(mix);
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  test::Random random(seed);
  std::vector<Prefix> prefixes = test::prefix_mix(mix, count, seed);
  SystemPages pages;
  Writer<Root> writer(pages);
  test::OneBitTrie oracle;
  const auto commit = [&](std::span<const Edit> edits) {
    for (const Edit& e : edits) {
      if (e.peer == kNoPeer) {
        oracle.remove(e.prefix);
      } else {
        oracle.set(e.prefix, e.peer);
      }
    }
    const size_t step = one_by_one ? 1 : edits.size();
    for (size_t i = 0; i < edits.size(); i += step) {
      ASSERT_TRUE(writer.prepare(edits.subspan(i, step)));
      writer.reclaim(writer.commit());
    }
  };
  const size_t part = (count + 3) / 4;
  for (size_t from = 0; from < count; from += part) {
    std::vector<Edit> edits;
    for (size_t i = from; i < std::min(count, from + part); ++i) {
      edits.push_back({prefixes[i], static_cast<PeerIndex>(i)});
    }
    ASSERT_NO_FATAL_FAILURE(commit(edits));
    ASSERT_EQ(writer.size(), std::min(count, from + part));
    ASSERT_NO_FATAL_FAILURE(check_lookups(writer.head(), oracle, prefixes, random, 20'000));
  }
  size_t walked = 0;
  Prefix last;
  writer.walk([&](const Prefix& p, PeerIndex peer) {
    EXPECT_LT(last, p);
    EXPECT_EQ(prefixes[peer], p);
    last = p;
    ++walked;
    return !testing::Test::HasFailure();
  });
  EXPECT_EQ(walked, count);
  std::shuffle(prefixes.begin(), prefixes.end(), random);
  for (size_t from = 0; from < count; from += part) {
    std::vector<Edit> edits;
    for (size_t i = from; i < std::min(count, from + part); ++i)
      edits.push_back({prefixes[i], kNoPeer});
    ASSERT_NO_FATAL_FAILURE(commit(edits));
    ASSERT_NO_FATAL_FAILURE(check_lookups(writer.head(), oracle, prefixes, random, 20'000));
  }
  EXPECT_EQ(writer.size(), 0u);
  EXPECT_EQ(writer.used_bytes(), 0u);
  EXPECT_EQ(writer.reserved_bytes(), 0u);
}

// Counts what is out, so that a test can see that all came back.
class CountedPages final : public RoomSource {
 public:
  void* allocate(size_t bytes) noexcept override {
    out += bytes;
    return pages_.allocate(bytes);
  }
  void release(void* pages, size_t bytes) noexcept override {
    out -= bytes;
    pages_.release(pages, bytes);
  }
  void* reserve(size_t bytes) noexcept override {
    ++rooms;
    return pages_.reserve(bytes);
  }
  bool back(void* part, size_t bytes) noexcept override {
    out += bytes;
    return pages_.back(part, bytes);
  }
  void unback(void* part, size_t bytes) noexcept override {
    out -= bytes;
    pages_.unback(part, bytes);
  }
  void give_up(void* room, size_t bytes) noexcept override {
    --rooms;
    pages_.give_up(room, bytes);
  }
  size_t out = 0, rooms = 0;

 private:
  SystemPages pages_;
};

TEST(TrieMix, AFullTableGivesAllMemoryBackWhenItIsDestroyed) {
  CountedPages pages;
  {
    Writer<RootV4> writer(pages);
    std::vector<Edit> edits;
    for (const Prefix& p : test::prefix_mix(Mix::Spread, 300'000, 3)) edits.push_back({p, 1});
    ASSERT_TRUE(writer.prepare(edits));
    writer.reclaim(writer.commit());
    EXPECT_EQ(pages.out, writer.reserved_bytes());
    EXPECT_GT(pages.out, writer.used_bytes());
  }
  EXPECT_EQ(pages.out, 0u);
  EXPECT_EQ(pages.rooms, 0u);
}

TEST(TrieMix, SpreadIpv4GrownOneByOneAndTakenApart) {
  grow_and_shrink<RootV4>(Mix::Spread, 60'000, true);
}
TEST(TrieMix, SpreadIpv4InLargeBatches) { grow_and_shrink<RootV4>(Mix::Spread, 150'000, false); }
TEST(TrieMix, DenseIpv4GrownOneByOneAndTakenApart) {
  grow_and_shrink<RootV4>(Mix::Dense, 60'000, true);
}
TEST(TrieMix, DenseIpv4InLargeBatches) { grow_and_shrink<RootV4>(Mix::Dense, 150'000, false); }
TEST(TrieMix, Ipv6GrownOneByOneAndTakenApart) { grow_and_shrink<RootV6>(Mix::V6, 60'000, true); }
TEST(TrieMix, Ipv6InLargeBatches) { grow_and_shrink<RootV6>(Mix::V6, 150'000, false); }

}  // namespace
}  // namespace turnpike::lookup

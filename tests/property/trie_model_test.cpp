// Random edits of the allowed-IPs trie against a linear scan; a failure is shrunk to a short one.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "dataplane/lookup/allowed_ips_kernel.h"
#include "dataplane/lookup/allowed_ips_node.h"
#include "tests/support/prefix_mix.h"

namespace turnpike::lookup {

// Few bits of freedom, so that prefixes nest, touch and meet again: the address repeats two of four patterns,
// one up to `turn`, the other behind it.
struct Step {
  uint8_t first, second, turn, length, flip, peer;
  bool removes, ends_batch;
};

static Prefix prefix_of(const Step& s, Family family) {
  static constexpr uint8_t kPatterns[] = {0x00, 0xff, 0x55, 0x0a};
  const unsigned width = family == Family::V4 ? 32 : 128;
  IpAddress a{.family = family, .bytes = {}};
  const auto bit_of = [](uint8_t pattern, unsigned i) {
    return kPatterns[pattern % 4] >> (7 - i % 8) & 1;
  };
  for (unsigned i = 0; i < width; ++i) {
    unsigned bit = bit_of(i < s.turn % width ? s.first : s.second, i);
    if (i == s.flip % width) bit ^= 1;
    a.bytes[i / 8] |= static_cast<uint8_t>(bit << (7 - i % 8));
  }
  // A part of the lengths where the trie has its seams.
  constexpr uint8_t kSeams[] = {0, 1, 8, 9, 16, 18, 24, 26, 31, 32, 33, 41, 63, 64, 65, 127, 128};
  const unsigned length = s.length >= 200 ? kSeams[s.length % sizeof(kSeams)] : s.length;
  return Prefix::masked(a, length % (width + 1));
}

inline std::ostream& operator<<(std::ostream& out, const Step& s) {
  return out << to_string(prefix_of(s, Family::V6)) << " (IPv4 "
             << to_string(prefix_of(s, Family::V4)) << ")"
             << (s.removes ? " removed" : " to " + std::to_string(s.peer))
             << (s.ends_batch ? "; " : ", ");
}

namespace {

// Addresses that come alone, as another kernel.
const Kernel kOneByOne{
    .name = "one by one",
    .runs_here = nullptr,
    .v4 =
        [](const void* node, const uint32_t* addresses, size_t count, PeerIndex* peers) noexcept {
          for (size_t i = 0; i < count; ++i) peers[i] = walk_one_v4(node, addresses[i]);
        },
    .v6 =
        [](const void* node, const uint64_t* halves, size_t count, PeerIndex* peers) noexcept {
          for (size_t i = 0; i < count; ++i) {
            peers[i] = walk_one_v6(node, halves[2 * i], halves[2 * i + 1]);
          }
        }};

// In bursts of at most `burst` addresses.
template <typename Root>
void look_up_all(Root root, const std::vector<IpAddress>& addresses, size_t burst,
                 const test::NaiveTable& naive) {
  std::vector<PeerIndex> expected;
  for (const IpAddress& a : addresses) expected.push_back(naive.longest(a));
  RootLine far;
  if (root.node != nullptr) {
    far = *static_cast<const RootLine*>(root.node);
    // All of a copy lies in that copy.
    RC_ASSERT((at(far.base, far.line) == root.node));
    // Kernels walk a large table in another way; a small one can pass for it.
    far.near = 0;
  }
  const auto check = [&](const Kernel* kernel, const void* node) {
    std::vector<PeerIndex> peers(addresses.size(), 99);
    for (size_t at = 0; at < addresses.size(); at += burst) {
      const size_t n = std::min(burst, addresses.size() - at);
      std::vector<uint32_t> v4;
      std::vector<uint64_t> halves;
      for (size_t i = at; i < at + n; ++i) {
        v4.push_back(test::key_v4(addresses[i]));
        halves.push_back(test::key_v6(addresses[i]).high);
        halves.push_back(test::key_v6(addresses[i]).low);
      }
      if (node == nullptr) {
        std::fill_n(peers.begin() + static_cast<ptrdiff_t>(at), n, kNoPeer);
      } else if (std::is_same_v<Root, RootV4>) {
        kernel->v4(node, v4.data(), n, &peers[at]);
      } else {
        kernel->v6(node, halves.data(), n, &peers[at]);
      }
    }
    if (peers != expected) RC_FAIL(std::string("other owners from kernel ") + kernel->name);
  };
  check(&kOneByOne, root.node);
  for (const Kernel* kernel : kernels()) {
    check(kernel, root.node);
    if (root.node != nullptr) check(kernel, &far);
  }
}

template <typename Root>
void compare(Family family, const std::vector<Step>& steps) {
  std::array<SystemPages, 3> pages;
  const std::array<RoomSource*, 3> each{&pages[0], &pages[1], &pages[2]};
  const size_t replicas = 1 + steps.size() % 3;
  Writer<Root> writer(ReplicaPages(std::span<RoomSource* const>(each).first(replicas)));
  test::NaiveTable naive;
  std::vector<Edit> batch;
  std::vector<IpAddress> addresses;
  const auto commit = [&] {
    RC_ASSERT(writer.prepare(batch));
    for (const Edit& e : batch) naive.apply(e);
    writer.reclaim(writer.commit());
    RC_ASSERT(writer.size() == naive.owners().size());
    // Addresses side by side have their first bits in common, as hosts of a pool do.
    std::vector<IpAddress> in_order = addresses;
    std::ranges::sort(in_order, {}, &IpAddress::bytes);
    for (size_t i = 0; i < replicas; ++i) {
      const Root root = writer.head(static_cast<ReplicaIndex>(i));
      look_up_all(root, addresses, kBurstMax, naive);
      for (const size_t burst : {3, 20}) look_up_all(root, in_order, burst, naive);
    }
    for (const Edit& e : batch) RC_ASSERT(writer.find(e.prefix) == (e.peer));
    batch.clear();
  };
  test::Random random(steps.size());
  for (const Step& s : steps) {
    const Prefix p = prefix_of(s, family);
    // A batch names a prefix once, so that find() can be compared.
    if (std::ranges::any_of(batch, [&](const Edit& e) { return e.prefix == p; })) continue;
    batch.push_back({p, s.removes ? kNoPeer : s.peer});
    addresses.push_back(p.address);
    addresses.push_back(test::address_in(p, random));
    if (s.ends_batch) commit();
  }
  commit();
  auto expected = naive.owners().begin();
  writer.walk([&](const Prefix& p, PeerIndex peer) {
    RC_ASSERT(expected != naive.owners().end() && p == expected->first && peer == expected->second);
    ++expected;
    return true;
  });
  RC_ASSERT(expected == naive.owners().end());
  for (const auto& [prefix, peer] : std::map(naive.owners())) batch.push_back({prefix, kNoPeer});
  std::shuffle(batch.begin(), batch.end(), random);
  for (const Edit& e : std::vector(batch)) {
    batch = {e};
    commit();
  }
  RC_ASSERT(writer.used_bytes() == 0u);
  RC_ASSERT(writer.reserved_bytes() == 0u);
  for (const SystemPages& source : pages) RC_ASSERT(source.used_bytes() == 0u);
}

}  // namespace
}  // namespace turnpike::lookup

template <>
struct rc::Arbitrary<turnpike::lookup::Step> {
  static Gen<turnpike::lookup::Step> arbitrary() {
    using turnpike::lookup::Step;
    // Full range at any size: small tables need long prefixes as much as large ones.
    const auto byte = gen::resize(100, gen::arbitrary<uint8_t>());
    return gen::build<Step>(
        gen::set(&Step::first, byte), gen::set(&Step::second, byte), gen::set(&Step::turn, byte),
        gen::set(&Step::length, byte), gen::set(&Step::flip, byte), gen::set(&Step::peer, byte),
        gen::set(&Step::removes, gen::weightedElement<bool>({{3, false}, {1, true}})),
        gen::set(&Step::ends_batch, gen::weightedElement<bool>({{4, false}, {1, true}})));
  }
};

namespace turnpike::lookup {

namespace {

// RapidCheck prints the seed; RC_PARAMS="seed=... max_success=..." replays and extends.
TEST(TrieModel, Ipv4AgreesWithALinearScan) {
  EXPECT_TRUE(
      rc::check([](const std::vector<Step>& steps) { compare<RootV4>(Family::V4, steps); }));
}
TEST(TrieModel, Ipv6AgreesWithALinearScan) {
  EXPECT_TRUE(
      rc::check([](const std::vector<Step>& steps) { compare<RootV6>(Family::V6, steps); }));
}

}  // namespace
}  // namespace turnpike::lookup

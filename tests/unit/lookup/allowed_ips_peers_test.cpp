// The cases of the self-test that the kernel's allowed-IPs table has, on ours: eight peers, and routes that
// are mutations of each other.
#include <gtest/gtest.h>

#include <string_view>

#include "tests/support/prefix_mix.h"

namespace turnpike::lookup {
namespace {

enum Peer : PeerIndex { A, B, C, D, E, F, G, H };

class EightPeers : public testing::Test {
 protected:
  // Host bits are masked away, an owner is replaced, as wg(8)'s `move` does.
  void give(Peer peer, const char* prefix) {
    edit({parse_interface_address(prefix)->subnet(), peer});
  }
  void edit(const Edit& e) {
    if (e.prefix.address.is_v4()) {
      ASSERT_TRUE(v4_.prepare({&e, 1}));
      v4_.reclaim(v4_.commit());
    } else {
      ASSERT_TRUE(v6_.prepare({&e, 1}));
      v6_.reclaim(v6_.commit());
    }
  }
  PeerIndex owner(const char* address) {
    const IpAddress a = *parse_ip(address);
    PeerIndex peer = 0;
    if (a.is_v4()) {
      const uint32_t key = test::key_v4(a);
      lookup_burst(v4_.head(), {&key, 1}, {&peer, 1});
    } else {
      const Ipv6Key key = test::key_v6(a);
      lookup_burst(v6_.head(), {&key, 1}, {&peer, 1});
    }
    return peer;
  }
  void take_all_from(Peer peer) {
    std::vector<Edit> owned;
    const auto collect = [&](const Prefix& p, PeerIndex of) {
      if (of == peer) owned.push_back({p, kNoPeer});
      return true;
    };
    v4_.walk(collect);
    v6_.walk(collect);
    for (const Edit& e : owned) edit(e);
  }
  std::string list(Peer peer) {
    std::string result;
    const auto collect = [&](const Prefix& p, PeerIndex of) {
      if (of == peer) result += to_string(p) + " ";
      return true;
    };
    v4_.walk(collect);
    v6_.walk(collect);
    return result;
  }

  SystemPages pages_;
  WriterV4 v4_{pages_};
  WriterV6 v6_{pages_};
};

TEST_F(EightPeers, OwnWhatTheTableOfRoutesSays) {
  give(A, "192.168.4.0/24");
  give(B, "192.168.4.4/32");
  give(C, "192.168.0.0/16");
  give(D, "192.95.5.64/27");
  give(C, "192.95.5.65/27");  // the same prefix, once masked: taken from D
  give(D, "2607:5300:6000:6b00::c05f:543/128");
  give(C, "2607:5300:6000:6b00::/64");
  give(E, "0.0.0.0/0");
  give(E, "::/0");
  give(F, "::/0");
  give(G, "2404:6800::/32");
  give(H, "2404:6800:4004:800:dead:beef:dead:beef/64");
  give(A, "2404:6800:4004:800:dead:beef:dead:beef/128");
  give(C, "2444:6800:40e4:800:deae:beef:def:beef/128");
  give(B, "2444:6800:f0e4:800:eeae:beef::/98");
  give(G, "64.15.112.0/20");
  give(H, "64.15.123.211/25");
  give(A, "10.0.0.0/25");
  give(B, "10.0.0.128/25");
  give(A, "10.1.0.0/30");
  give(B, "10.1.0.4/30");
  give(C, "10.1.0.8/29");
  give(D, "10.1.0.16/29");

  const std::pair<const char*, Peer> expected[] = {{"192.168.4.20", A},
                                                   {"192.168.4.0", A},
                                                   {"192.168.4.4", B},
                                                   {"192.168.200.182", C},
                                                   {"192.95.5.68", C},
                                                   {"192.95.5.96", E},
                                                   {"2607:5300:6000:6b00::c05f:543", D},
                                                   {"2607:5300:6000:6b00::c02e:1ee", C},
                                                   {"2607:5300:6000:6b01::", F},
                                                   {"2404:6800:4004:806::1006", G},
                                                   {"2404:6800:4004:806:0:1234:0:5678", G},
                                                   {"2404:67ff:4004:806:0:1234:0:5678", F},
                                                   {"2404:6801:4004:806:0:1234:0:5678", F},
                                                   {"2404:6800:4004:800:0:1234:0:5678", H},
                                                   {"2404:6800:4004:800::", H},
                                                   {"2404:6800:4004:800:1010:1010:1010:1010", H},
                                                   {"2404:6800:4004:800:dead:beef:dead:beef", A},
                                                   {"64.15.116.26", G},
                                                   {"64.15.127.3", G},
                                                   {"64.15.123.1", G},
                                                   {"64.15.123.128", H},
                                                   {"64.15.123.129", H},
                                                   {"10.0.0.52", A},
                                                   {"10.0.0.220", B},
                                                   {"10.1.0.2", A},
                                                   {"10.1.0.6", B},
                                                   {"10.1.0.10", C},
                                                   {"10.1.0.20", D}};
  for (const auto& [address, peer] : expected) EXPECT_EQ(owner(address), peer) << address;
}

TEST_F(EightPeers, LoseEverythingWhenAllIsTakenFromOne) {
  for (const char* p :
       {"1.0.0.0/32", "64.0.0.0/32", "128.0.0.0/32", "192.0.0.0/32", "255.0.0.0/32"}) {
    give(A, p);
  }
  EXPECT_EQ(owner("192.0.0.0"), A);
  take_all_from(A);
  for (const char* a : {"1.0.0.0", "64.0.0.0", "128.0.0.0", "192.0.0.0", "255.0.0.0"}) {
    EXPECT_EQ(owner(a), kNoPeer);
  }
  give(A, "192.168.0.0/16");
  give(A, "192.168.0.0/24");
  EXPECT_EQ(owner("192.168.0.1"), A);
  take_all_from(A);
  EXPECT_EQ(owner("192.168.0.1"), kNoPeer);
  EXPECT_EQ(v4_.used_bytes(), 0u);
}

TEST_F(EightPeers, NestAsDeepAsAnAddressIsLong) {
  // From the host upwards, then the widest first: a chain of every length in both orders.
  for (const bool upwards : {true, false}) {
    for (int i = 0; i <= 128; ++i) {
      edit({Prefix::masked(*parse_ip("fe80::1"), static_cast<unsigned>(upwards ? 128 - i : i)), A});
    }
    EXPECT_EQ(v6_.size(), 129u);
    EXPECT_EQ(owner("fe80::1"), A);
    EXPECT_EQ(owner("::"), A);
    take_all_from(A);
    EXPECT_EQ(v6_.used_bytes(), 0u);
  }
}

TEST_F(EightPeers, AreListedMaskedAndInOrder) {
  give(A, "192.95.5.93/27");
  give(A, "2607:5300:6000:6b00::c05f:543/128");
  give(A, "10.1.0.20/29");
  give(A, "2607:5300:6d8a:6bf8:dab1:f1df:c05f:1523/83");
  give(A, "2607:5300:6d8a:6bf8:dab1:f1df:c05f:1523/21");
  EXPECT_EQ(list(A),
            "10.1.0.16/29 192.95.5.64/27 2607:5000::/21 2607:5300:6000:6b00::c05f:543/128 "
            "2607:5300:6d8a:6bf8:dab1:e000::/83 ");
}

// Routes, and for each some that differ in a few bits around its length, so that they branch everywhere.
template <typename Root>
void mutate(Family family, uint64_t seed) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  test::Random random(seed);
  SystemPages pages;
  Writer<Root> writer(pages);
  test::NaiveTable naive;
  const unsigned width = family == Family::V4 ? 32 : 128;
  const auto give = [&](const IpAddress& a, unsigned length) {
    const Edit e{Prefix::masked(a, length), static_cast<PeerIndex>(random() % 2'000)};
    naive.apply(e);
    ASSERT_TRUE(writer.prepare({&e, 1}));
    writer.reclaim(writer.commit());
  };
  const auto any = [&] {
    IpAddress a{.family = family, .bytes = {}};
    for (unsigned i = 0; i < width / 8; ++i) a.bytes[i] = static_cast<uint8_t>(random());
    return a;
  };
  std::vector<IpAddress> addresses;
  for (int i = 0; i < 40; ++i) {
    const IpAddress route = any();
    const auto length = static_cast<unsigned>(random() % width + 1);
    give(route, length);
    for (int k = 0; k < 10; ++k) {
      IpAddress mutated = route;
      const auto from = static_cast<unsigned>(random() % width);
      for (unsigned bit = from; bit < width; ++bit) {
        if (random() % 2 == 0) mutated.bytes[bit / 8] ^= static_cast<uint8_t>(0x80 >> bit % 8);
      }
      give(mutated, static_cast<unsigned>(random() % (width + 1)));
      addresses.push_back(mutated);
    }
    addresses.push_back(route);
  }
  for (int i = 0; i < 2'000; ++i) addresses.push_back(any());
  for (const IpAddress& a : addresses) {
    PeerIndex peer = 0;
    if constexpr (std::is_same_v<Root, RootV4>) {
      const uint32_t key = test::key_v4(a);
      lookup_burst(writer.head(), {&key, 1}, {&peer, 1});
    } else {
      const Ipv6Key key = test::key_v6(a);
      lookup_burst(writer.head(), {&key, 1}, {&peer, 1});
    }
    ASSERT_EQ(peer, naive.longest(a)) << to_string(a);
  }
}

TEST(AllowedIpsMutations, BranchEverywhereAndStayRight) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    ASSERT_NO_FATAL_FAILURE(mutate<RootV4>(Family::V4, seed));
    ASSERT_NO_FATAL_FAILURE(mutate<RootV6>(Family::V6, seed));
  }
}

}  // namespace
}  // namespace turnpike::lookup

// Seeded mixes of prefixes for tests and benchmarks, and a naive table to compare with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <unordered_set>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/lookup/allowed_ips.h"

namespace turnpike::test {

using Random = std::mt19937_64;

inline uint32_t key_v4(const IpAddress& a) noexcept { return a.v4_host_order(); }
inline lookup::Ipv6Key key_v6(const IpAddress& a) noexcept {
  return {.high = load_be64(a.bytes.data()), .low = load_be64(a.bytes.data() + 8)};
}
inline IpAddress address_v6(uint64_t high, uint64_t low) noexcept {
  IpAddress a{.family = Family::V6, .bytes = {}};
  store_be64(a.bytes.data(), high);
  store_be64(a.bytes.data() + 8, low);
  return a;
}

// A linear scan: slow, and hard to get wrong.
class NaiveTable {
 public:
  void apply(const lookup::Edit& e) {
    if (e.peer == kNoPeer) {
      owners_.erase(e.prefix);
    } else {
      owners_[e.prefix] = e.peer;
    }
  }
  [[nodiscard]] PeerIndex longest(const IpAddress& address) const {
    PeerIndex best = kNoPeer;
    int length = -1;
    for (const auto& [prefix, peer] : owners_) {
      if (prefix.length > length && prefix.contains(address)) {
        best = peer;
        length = prefix.length;
      }
    }
    return best;
  }
  [[nodiscard]] const std::map<Prefix, PeerIndex>& owners() const noexcept { return owners_; }

 private:
  std::map<Prefix, PeerIndex> owners_;  // by address, then length: the order of a walk
};

// Random bits that fall into few places, so that prefixes nest, touch and collide often.
inline IpAddress clustered_address(Random& random, Family family) {
  IpAddress a{.family = family, .bytes = {}};
  const size_t size = family == Family::V4 ? 4 : 16;
  for (size_t i = 0; i < size; ++i) {
    switch (random() % 4) {
      case 0:
        a.bytes[i] = 0;
        break;
      case 1:
        a.bytes[i] = 0xff;
        break;
      case 2:
        a.bytes[i] = static_cast<uint8_t>(random() % 4);
        break;
      default:
        a.bytes[i] = static_cast<uint8_t>(random());
        break;
    }
  }
  return a;
}

enum class Mix { Spread, Dense, V6 };

// `count` distinct prefixes in random order. Spread: IPv4, /32 60 %, /24 30 %, /16 to /30 10 %, uniform in
// 1.0.0.0 to 223.255.255.255. Dense: the same, but the /32 are packed in a pool at 10.0.0.0. V6: /128 50 %
// (70 % of them packed in shared /64 pools of about 1000 hosts, the others alone with a random interface
// identifier), /64 25 %, /56 15 %, /48 10 %, in 16 /32s and a unique local /32.
inline std::vector<Prefix> prefix_mix(Mix mix, size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<Prefix> result;
  result.reserve(count);
  const auto share = [count](size_t percent) { return count * percent / 100; };
  std::unordered_set<Prefix> seen;
  seen.reserve(count);
  const auto add = [&](const IpAddress& a, unsigned length) {
    const Prefix p = Prefix::masked(a, length);
    if (result.size() < count && seen.insert(p).second) result.push_back(p);
  };
  if (mix != Mix::V6) {
    const auto uniform = [&] {
      return IpAddress::v4(
          static_cast<uint32_t>(0x01000000 + random() % (0xe0000000 - 0x01000000)));
    };
    if (mix == Mix::Dense) {
      for (uint32_t i = 0; i < share(60); ++i) add(IpAddress::v4(0x0a000000 + i), 32);
    } else {
      while (result.size() < share(60)) add(uniform(), 32);
    }
    while (result.size() < share(90)) add(uniform(), 24);
    while (result.size() < count) add(uniform(), static_cast<unsigned>(16 + random() % 15));
  } else {
    std::vector<uint64_t> nets;
    for (int i = 0; i < 16; ++i) nets.push_back(0x2000'0000 | (random() & 0x1fff'ffff));
    nets.push_back(0xfd00'0000 | (random() & 0x00ff'ffff));
    const auto high = [&] { return nets[random() % nets.size()] << 32 | (random() & 0xffff'ffff); };
    while (result.size() < share(35)) {
      const uint64_t pool = high();
      for (uint64_t host = 0; host < 1000 && result.size() < share(35); ++host) {
        add(address_v6(pool, host + 1), 128);
      }
    }
    while (result.size() < share(50)) add(address_v6(high(), random()), 128);
    while (result.size() < share(75)) add(address_v6(high(), 0), 64);
    while (result.size() < share(90)) add(address_v6(high(), 0), 56);
    while (result.size() < count) add(address_v6(high(), 0), 48);
  }
  std::shuffle(result.begin(), result.end(), random);
  return result;
}

// A random address inside a prefix.
inline IpAddress address_in(const Prefix& p, Random& random) {
  IpAddress a = p.address;
  for (unsigned i = 0; i < p.address.size_bytes(); ++i) {
    const unsigned fixed = p.length > i * 8 ? std::min<unsigned>(8, p.length - i * 8) : 0;
    a.bytes[i] |= static_cast<uint8_t>(random() & (0xffu >> fixed));
  }
  return a;
}

}  // namespace turnpike::test

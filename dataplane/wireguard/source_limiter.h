// How many handshake messages one source may have worked on: a token bucket for each address, IPv6 by its /64,
// 20 a second and 5 at once (the kernel's ratelimiter.c).
//   Threads: an object belongs to its thread (the session thread).
//   Bounds:  kSets x kWays sources at a time, no allocation after the constructor. A source that has been quiet
//            for kForgetAfter has a full bucket again, and its place is free. When all places of a set are taken
//            the newcomer is refused. Which set is a keyed hash: strangers cannot choose whom they push out.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "dataplane/base/address.h"
#include "dataplane/base/random.h"
#include "dataplane/base/time.h"
#include "dataplane/crypto/siphash.h"

namespace turnpike::wireguard {

class SourceLimiter {
 public:
  static constexpr Duration kCost = Duration(1s) / 20;
  static constexpr Duration kDepth = 5 * kCost;
  static constexpr Duration kForgetAfter = kDepth;
  static constexpr size_t kSets = 8'192;
  static constexpr size_t kWays = 8;

  explicit SourceLimiter(RandomSource& random);

  // Takes a token of the source's bucket; false: there is none, or no place for another source.
  [[nodiscard]] bool allow(const IpAddress& source, Instant now) noexcept;

 private:
  struct Entry {
    std::array<uint8_t, 16>
        source{};  // IPv6: the /64; IPv4: the address, and a mark that it is one
    Instant full_at;  // when its bucket is full again; never: a free place
  };
  using Set = std::array<Entry, kWays>;

  crypto::SipHashKey key_;
  std::unique_ptr<std::array<Set, kSets>> sets_;
};

}  // namespace turnpike::wireguard

// ICMP errors to who sent a packet that cannot go on: RFC 792, RFC 1191 and RFC 1812, 4.3, for IPv4; RFC 4443
// for IPv6.
//   Threads: pure functions, any thread; a limiter belongs to one.
//   Bounds:  an error is at most kMaxErrorBytesV4 or V6 long, whatever it is about.
#pragma once

#include <optional>
#include <vector>

#include "control/session/frames.h"
#include "control/session/icmp.h"
#include "dataplane/base/random.h"
#include "dataplane/crypto/siphash.h"
#include "dataplane/publish/drop_reason.h"

namespace turnpike::session {

inline constexpr size_t kMaxErrorBytesV4 = 576;  // RFC 1812, 4.3.2.3
inline constexpr size_t kMaxErrorBytesV6 = 1'280;  // RFC 4443, 2.4 (c)

struct IcmpError {
  uint8_t type = 0;
  uint8_t code = 0;
  uint32_t parameter = 0;  // the word after the checksum: the MTU, where there is one
  friend bool operator==(const IcmpError&, const IcmpError&) = default;
};

// What is said about a packet of this family that ended so; nothing where silence is right. As the kernel does,
// whoever has no peer, no endpoint or no neighbour for an address calls the host unreachable.
[[nodiscard]] std::optional<IcmpError> icmp_error_for(DropReason reason, Family family,
                                                      uint16_t mtu_bytes) noexcept;

// Whether an error may be sent about the packet: never about an ICMP error or what might be one, nor about any
// but the first fragment, nor where source or destination is no single host (RFC 1812, 4.3.2.7; RFC 4443, 2.4 e).
[[nodiscard]] bool may_be_answered(Bytes packet) noexcept;

// The error to the packet's source, at most `max_bytes` long. may_be_answered() said yes; `from` is of its family.
[[nodiscard]] Packet make_icmp_error(const IcmpError& error, const IpAddress& from, Bytes about,
                                     size_t max_bytes, uint16_t identification);

// How many errors: in all, and to one target, so that who floods does not take them from others. Targets share
// kBuckets buckets by a keyed hash.
class IcmpErrorLimiter {
 public:
  static constexpr uint32_t kPerSecond = 1'000;
  static constexpr uint32_t kAtOnce = 250;
  static constexpr uint32_t kPerTargetPerSecond = 100;
  static constexpr uint32_t kPerTargetAtOnce = 25;
  static constexpr size_t kBuckets = 1'024;

  explicit IcmpErrorLimiter(RandomSource& random);
  [[nodiscard]] bool take(const IpAddress& target, Instant now) noexcept;

 private:
  crypto::SipHashKey key_;
  TokenBucket all_{kPerSecond, kAtOnce};
  std::vector<TokenBucket> targets_{kBuckets, TokenBucket(kPerTargetPerSecond, kPerTargetAtOnce)};
};

}  // namespace turnpike::session

// Protocol constants, from the WireGuard paper (section 6.1) and, where the paper is silent, from the
// Linux kernel's messages.h, named in each case.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/base/time.h"

namespace turnpike::wireguard {

// How long a key lives. Their values are in lifetimes.cpp and are the paper's in every program but one, which tests
// link with lives of some seconds: no configuration reaches them.
extern const Duration kRekeyAfterTime;  // 120 s
extern const Duration kRejectAfterTime;  // 180 s
// The initiator also renews a key while only receiving, once per key, when it is this old (paper, 6.2).
extern const Duration kRekeyAfterTimeReceiving;  // 165 s
extern const Duration kKeyErasureTime;  // 540 s
inline constexpr Duration kPapersRekeyAfterTime = 120s;

inline constexpr Duration kRekeyAttemptTime = 90s;
inline constexpr Duration kRekeyTimeout = 5s;
inline constexpr Duration kRekeyTimeoutJitterMax = 333ms;  // kernel: HZ / 3
inline constexpr Duration kKeepaliveTimeout = 10s;
inline constexpr Duration kNewHandshakeAfterSilence = kKeepaliveTimeout + kRekeyTimeout;
inline constexpr Duration kCookieSecretLifetime = 120s;
inline constexpr Duration kCookieLatency = 5s;  // kernel: COOKIE_SECRET_LATENCY
inline constexpr uint64_t kRekeyAfterMessages = uint64_t{1} << 60;
inline constexpr uint64_t kRejectAfterMessages = ~uint64_t{0} - (uint64_t{1} << 13);
static_assert(kRejectAfterMessages == 18'446'744'073'709'543'423u);  // 2^64 - 2^13 - 1
inline constexpr Duration kInitiationInterval = 20ms;  // kernel: 50 initiations a second and peer

inline constexpr size_t kInitiationBytes = 148;
inline constexpr size_t kResponseBytes = 92;
inline constexpr size_t kCookieReplyBytes = 64;
inline constexpr size_t kDataHeaderBytes = 16;
inline constexpr size_t kDataOverheadBytes =
    kDataHeaderBytes + 16;  // header and tag; a keepalive is just this
inline constexpr size_t kPaddingMultiple = 16;

inline constexpr uint64_t kReplayWindowBits = 8192;  // bitmap; one word of it is always in flux
inline constexpr uint64_t kReplayWindow =
    kReplayWindowBits - 64;  // 8128 (kernel: COUNTER_WINDOW_SIZE)

}  // namespace turnpike::wireguard

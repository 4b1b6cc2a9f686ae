// Lives of keys of some seconds, for a gateway that tests watch through many of them. A gateway that has them says so
// in its version and in its log.
#include "dataplane/wireguard/constants.h"

namespace turnpike::wireguard {
namespace {

constexpr Duration kShort = std::chrono::seconds(SHORT_REKEY_SECONDS);

}  // namespace

// The intervals between handshakes stay, so that only one fits into a shorter life, and no retry.
static_assert(kShort > kRekeyTimeout && kShort < kPapersRekeyAfterTime);
// In the paper's proportions: 180, 165 and 540 of 120.
constinit const Duration kRekeyAfterTime = kShort;
constinit const Duration kRejectAfterTime = kShort * 3 / 2;
constinit const Duration kRekeyAfterTimeReceiving = kShort * 11 / 8;
constinit const Duration kKeyErasureTime = 3 * kRejectAfterTime;

}  // namespace turnpike::wireguard

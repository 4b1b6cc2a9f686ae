// The lives of keys as the paper has them (section 6.1). In a file of their own, so that a program which defines them
// itself is linked without this one.
#include "dataplane/wireguard/constants.h"

namespace turnpike::wireguard {

constinit const Duration kRekeyAfterTime = kPapersRekeyAfterTime;
constinit const Duration kRejectAfterTime = 180s;
constinit const Duration kRekeyAfterTimeReceiving =
    kRejectAfterTime - kKeepaliveTimeout - kRekeyTimeout;
constinit const Duration kKeyErasureTime = 3 * kRejectAfterTime;

}  // namespace turnpike::wireguard

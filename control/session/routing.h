// Where a port sends a packet: the first hop and the source address, from the snapshot's routes.
//   Threads: any that may use the snapshot.
#pragma once

#include <functional>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/publish/snapshot.h"

namespace turnpike::session {

struct Hop {
  publish::NextHopKind kind = publish::NextHopKind::Unroutable;
  IpAddress neighbour;  // OnLink, Via: whose link-layer address is wanted
  IpAddress source;     // ours, to send from; none when the port has no address of this family
  [[nodiscard]] bool reachable() const noexcept { return !neighbour.is_none(); }
};

// Link-local IPv6 addresses need no route: each port has its own one, made from its MAC.
[[nodiscard]] Hop route(const publish::Snapshot& snapshot, PortIndex port,
                        const IpAddress& destination) noexcept;

// One of the gateway's own addresses on the port, its link-local one included.
[[nodiscard]] bool is_local(const publish::Snapshot& snapshot, PortIndex port,
                            const IpAddress& address) noexcept;

// The same for a tunnel's own addresses.
[[nodiscard]] bool is_tunnel_local(const publish::TunnelView& tunnel,
                                   const IpAddress& address) noexcept;

// Own addresses of the port that are the source of some route, each once; its link-local address last,
// where the port has IPv6 at all.
void for_each_local_address(const publish::Snapshot& snapshot, PortIndex port,
                            const std::function<void(const IpAddress&)>& visit);

// Whether two snapshots route alike on a port, as far as this can be told without walking the tables:
// roots are persistent, so an edit elsewhere leaves them where they are.
[[nodiscard]] bool same_routes(const publish::PortView& a, const publish::PortView& b) noexcept;

}  // namespace turnpike::session

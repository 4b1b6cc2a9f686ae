// The routes of one port: a look-up table like the allowed IPs, whose values number next hops. The
// gateway's own addresses stand in it as host prefixes, so that one batched look-up tells what is for us,
// what is on the link, what goes through a router, and what has no route.
//   Threads: immutable once published, part of the snapshot.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/base/address.h"
#include "dataplane/lookup/allowed_ips.h"

namespace turnpike::publish {

enum class NextHopKind : uint8_t {
  Local,  // one of the gateway's own addresses
  OnLink,  // the destination itself is the neighbour
  Via,  // a router
  Unroutable,  // broadcast and network addresses of a subnet
};

struct NextHop {
  NextHopKind kind = NextHopKind::Unroutable;
  IpAddress via;  // Via: the router
  IpAddress source;  // the address to send from when the gateway itself speaks
};

struct RouteTable {
  lookup::RootV4 v4;
  lookup::RootV6 v6;
  std::span<const NextHop> next_hops;  // what the look-up's values number
};

}  // namespace turnpike::publish

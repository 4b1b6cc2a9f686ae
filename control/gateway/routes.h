// Builds the route tables of ports and tunnels, and owns them for as long as a snapshot refers to them.
//   Threads:  built on the control thread, immutable then.
//   Errors:   build() is false when memory is short.
#pragma once

#include <memory>
#include <vector>

#include "control/gateway/topology.h"
#include "dataplane/lookup/allowed_ips.h"
#include "dataplane/publish/route_table.h"

namespace turnpike::gateway {

class Routes {
 public:
  explicit Routes(const ReplicaPages& pages) : v4_(pages), v6_(pages) {}

  // Own addresses, subnets, static routes and the link-local ones of a port, and the addresses of the tunnels
  // whose inside it is: those are ours whoever owns the prefix around them, from either side. Where two say
  // something about the same prefix, own addresses win over subnets and subnets over static routes.
  [[nodiscard]] bool build(const PortTopology& port, const std::vector<IpAddress>& of_tunnels);
  // A tunnel's own addresses; nothing else of its subnets, since peers own those.
  [[nodiscard]] bool build(const TunnelTopology& tunnel);

  [[nodiscard]] publish::RouteTable table(ReplicaIndex replica = 0) const noexcept {
    return {.v4 = v4_.head(replica), .v6 = v6_.head(replica), .next_hops = next_hops_};
  }

 private:
  void add(const Prefix& to, const publish::NextHop& hop);
  void add_own(const IpAddress& address);
  void add_subnet(const InterfaceAddress& own);
  [[nodiscard]] bool finish();

  std::vector<lookup::Edit> edits_v4_, edits_v6_;
  std::vector<publish::NextHop> next_hops_;
  lookup::WriterV4 v4_;
  lookup::WriterV6 v6_;
};

// All route tables of one topology.
struct TopologyRoutes {
  std::vector<std::unique_ptr<Routes>> ports;  // by PortIndex
  std::vector<std::unique_ptr<Routes>> tunnels;  // as in Topology::tunnels
};

// nullptr when memory is short.
[[nodiscard]] std::shared_ptr<const TopologyRoutes> build_routes(const Topology& topology,
                                                                 const ReplicaPages& pages);

}  // namespace turnpike::gateway

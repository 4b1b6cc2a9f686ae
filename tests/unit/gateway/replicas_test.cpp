// Workers on two NUMA nodes: each reads its own copy of every table, of the same generation.
#include "dataplane/lookup/allowed_ips_stamps.h"
#include "tests/unit/gateway/gateway_fixture.h"

namespace turnpike::gateway {
namespace {

class TwoNodes : public GatewayTest {
 protected:
  TwoNodes() : GatewayTest(4, 2) {}
};

// Prefixes of alice that need more memory than a table has at first.
config::Config with_many_prefixes() {
  config::Config config = two_peers();
  for (unsigned i = 0; i < 40'000; ++i) {
    const Prefix prefix = Prefix::masked(IpAddress::v4(0x2000'0000 + i * 0x0001'0203), 32);
    config.tunnels[0].peers[0].allowed_ips.push_back({.prefix = prefix, .at = {}});
  }
  return config;
}

PeerIndex next_hop(const publish::RouteTable& routes, const char* address) {
  const uint32_t key = parse_ip(address)->v4_host_order();
  PeerIndex hop = kNoPeer;
  lookup::lookup_burst(routes.v4, {&key, 1}, {&hop, 1});
  return hop;
}

TEST_F(TwoNodes, EachWorkerHasACopyOfItsOwnAndBothSayTheSame) {
  const publish::Snapshot& first = doors[0]->begin_burst();
  const publish::Snapshot& second = doors[1]->begin_burst();
  EXPECT_NE(&first, &second);
  EXPECT_EQ(session.snapshot, &first);
  EXPECT_EQ(first.generation, state.generation());
  EXPECT_EQ(second.generation, state.generation());
  EXPECT_NE(first.tunnels[0].allowed_v4.node, second.tunnels[0].allowed_v4.node);
  EXPECT_NE(first.tunnels[0].allowed_v6.node, second.tunnels[0].allowed_v6.node);
  EXPECT_NE(first.tunnels[0].local.v4.node, second.tunnels[0].local.v4.node);
  EXPECT_NE(first.ports[0].routes.v4.node, second.ports[0].routes.v4.node);
  for (const publish::Snapshot* snapshot : {&first, &second}) {
    EXPECT_EQ(owner(*snapshot, "10.8.0.2"), index_of("alice"));
    EXPECT_EQ(owner(*snapshot, "10.8.0.3"), index_of("bob"));
    EXPECT_EQ(owner(*snapshot, "10.8.0.4"), kNoPeer);
    const publish::RouteTable& routes = snapshot->ports[0].routes;
    EXPECT_EQ(routes.next_hops[next_hop(routes, "192.0.2.7")].kind, publish::NextHopKind::OnLink);
    EXPECT_EQ(next_hop(snapshot->tunnels[0].local, "10.8.0.2"), kNoPeer);
    EXPECT_NE(next_hop(snapshot->tunnels[0].local, "10.8.0.1"), kNoPeer);
  }
}

// What workers keep of a look-up goes by stamps: in all copies the same, and renewed where a commit changed something.
TEST_F(TwoNodes, ACommitRenewsTheStampsOfWhatItChangesInEachCopy) {
  const auto stamp = [&](size_t worker, const char* address) {
    const publish::TunnelView& tunnel = doors[worker]->begin_burst().tunnels[0];
    const lookup::Stamp found =
        lookup::stamp_of(tunnel.allowed_v4, parse_ip(address)->v4_host_order());
    EXPECT_FALSE(found.is_none());
    return found;
  };
  const lookup::Stamp alice = stamp(0, "10.8.0.2"), elsewhere = stamp(0, "10.9.0.3");
  EXPECT_EQ(stamp(1, "10.8.0.2"), alice);
  config::Config next = two_peers();
  std::swap(next.tunnels[0].peers[0].allowed_ips, next.tunnels[0].peers[1].allowed_ips);
  apply(two_peers(), next);
  settle();
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.2"), index_of("bob"));
  EXPECT_NE(stamp(0, "10.8.0.2"), alice);
  EXPECT_EQ(stamp(1, "10.8.0.2"), stamp(0, "10.8.0.2"));
  EXPECT_EQ(stamp(0, "10.9.0.3"), elsewhere);
  EXPECT_EQ(stamp(1, "10.9.0.3"), elsewhere);
}

// Either of the nodes.
TEST_F(TwoNodes, ACommitThatOneNodeHasNoMemoryForChangesNothing) {
  const auto change = state::plan(state, difference(two_peers(), with_many_prefixes()).transaction);
  ASSERT_TRUE(change);
  const publish::Snapshot* first = &doors[0]->begin_burst();
  const publish::Snapshot* second = &doors[1]->begin_burst();
  for (test::StingyPages& node : tables) {
    node.refused = node.given + 1;  // it gives one region more
    const auto prepared = gateway->prepare(*change);
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error(), "memory for the allowed IPs is short; nothing was changed");
    node.refused = ~size_t{0};
    EXPECT_EQ(&doors[0]->begin_burst(), first);
    EXPECT_EQ(&doors[1]->begin_burst(), second);
    for (const publish::Snapshot* snapshot : {first, second}) {
      EXPECT_EQ(owner(*snapshot, "10.8.0.2"), index_of("alice"));
      EXPECT_EQ(owner(*snapshot, "32.0.0.0"), kNoPeer);
    }
  }
  apply(two_peers(), with_many_prefixes());
  session.done_ticket = session.last_ticket;
  settle();
  for (const auto& door : doors) {
    EXPECT_EQ(owner(door->begin_burst(), "32.0.0.0"), index_of("alice"));
  }
}

TEST_F(TwoNodes, WhatIsRetiredGoesBackOnBothNodes) {
  const std::array<size_t, 2> before{tables[0].out, tables[1].out};
  EXPECT_EQ(before[0], before[1]);
  apply(two_peers(), with_many_prefixes());
  session.done_ticket = session.last_ticket;
  settle();
  EXPECT_GT(tables[0].out, before[0]);
  EXPECT_EQ(tables[1].out, tables[0].out);
  const auto come_round = [&] {
    session.done_ticket = session.last_ticket;
    for (const auto& door : doors) static_cast<void>(door->begin_burst());
    settle();
  };
  come_round();
  config::Config nothing = two_peers();
  nothing.tunnels.clear();
  apply(with_many_prefixes(), nothing);
  for (int i = 0; i < 4; ++i) come_round();
  EXPECT_LT(tables[0].out, before[0]);  // routes of the ports alone
  EXPECT_EQ(tables[1].out, tables[0].out);
  gateway.reset();
  EXPECT_EQ(tables[0].out + tables[1].out, 0u);
}

}  // namespace
}  // namespace turnpike::gateway

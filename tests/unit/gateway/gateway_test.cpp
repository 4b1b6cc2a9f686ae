#include <atomic>
#include <thread>

#include "tests/unit/gateway/gateway_fixture.h"

namespace turnpike::gateway {
namespace {

TEST_F(GatewayTest, PublishesTunnelsRoutesAndPeersOfAFirstFile) {
  EXPECT_EQ(acknowledged, 1);
  const publish::Snapshot& snapshot = doors[0]->begin_burst();
  EXPECT_EQ(&snapshot, session.snapshot);
  EXPECT_EQ(snapshot.generation, state.generation());
  const publish::TunnelView& tunnel = snapshot.tunnels[0];
  EXPECT_TRUE(tunnel.active);
  EXPECT_EQ(tunnel.listen_port, 51820);
  EXPECT_EQ(snapshot.ports[1].inside_count, 1);
  EXPECT_EQ(snapshot.ports[0].outside_count, 1);
  EXPECT_EQ(owner(snapshot, "10.8.0.2"), index_of("alice"));
  EXPECT_EQ(owner(snapshot, "10.8.0.3"), index_of("bob"));
  EXPECT_EQ(owner(snapshot, "10.8.0.4"), kNoPeer);
  EXPECT_EQ(session.count<AddPeer>(), 2u);
  EXPECT_EQ(session.count<SetTunnel>(), 1u);
}

TEST_F(GatewayTest, RoutesTellLocalOnLinkRoutedAndUnroutableApart) {
  const publish::RouteTable& routes = doors[0]->begin_burst().ports[0].routes;
  const auto kind = [&](const char* address) {
    const uint32_t key = parse_ip(address)->v4_host_order();
    PeerIndex hop = kNoPeer;
    lookup::lookup_burst(routes.v4, {&key, 1}, {&hop, 1});
    return routes.next_hops[hop];
  };
  EXPECT_EQ(kind("192.0.2.1").kind, publish::NextHopKind::Local);
  EXPECT_EQ(kind("192.0.2.7").kind, publish::NextHopKind::OnLink);
  EXPECT_EQ(kind("192.0.2.0").kind, publish::NextHopKind::Unroutable);
  EXPECT_EQ(kind("192.0.2.255").kind, publish::NextHopKind::Unroutable);
  EXPECT_EQ(kind("198.51.100.1").kind, publish::NextHopKind::Via);
  EXPECT_EQ(kind("198.51.100.1").via, *parse_ip("192.0.2.254"));
  EXPECT_EQ(kind("198.51.100.1").source, *parse_ip("192.0.2.1"));
}

// A peer may own the network around the tunnel's address, also the address itself: it is ours all the same,
// for packets from the inside as for those of peers.
TEST_F(GatewayTest, AddressesOfATunnelAreOwnOnItsInsidePortAndNoOther) {
  const publish::Snapshot& snapshot = doors[0]->begin_burst();
  const auto kind = [&](size_t port) {
    const publish::RouteTable& routes = snapshot.ports[port].routes;
    const uint32_t key = parse_ip("10.8.0.1")->v4_host_order();
    PeerIndex hop = kNoPeer;
    lookup::lookup_burst(routes.v4, {&key, 1}, {&hop, 1});
    return hop == kNoPeer ? publish::NextHopKind::Unroutable : routes.next_hops[hop].kind;
  };
  EXPECT_EQ(kind(1), publish::NextHopKind::Local);
  EXPECT_NE(kind(0), publish::NextHopKind::Local);
}

TEST_F(GatewayTest, ATunnelThatGoesIsForgottenAfterItsPeers) {
  session.posted.clear();
  config::Config after = two_peers();
  after.tunnels.clear();
  apply(two_peers(), after);
  settle();
  ASSERT_EQ(session.posted.size(), 3u);
  EXPECT_TRUE(std::holds_alternative<RemovePeer>(session.posted[0]));
  EXPECT_TRUE(std::holds_alternative<RemovePeer>(session.posted[1]));
  EXPECT_TRUE(std::holds_alternative<RemoveTunnel>(session.posted[2]));
}

TEST_F(GatewayTest, WorkersSeeANewPeerOnlyWhenTheSessionThreadKnowsIt) {
  config::Config after = two_peers();
  after.tunnels[0].peers.push_back(peer("carol", 3, {"10.8.0.4/32"}));
  apply(two_peers(), after);
  settle();
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.4"), kNoPeer);
  EXPECT_EQ(acknowledged, 1);
  session.done_ticket = session.last_ticket;
  settle();
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.4"), index_of("carol"));
}

TEST_F(GatewayTest, ARemovedPeerLeavesTheWorkersFirstAndItsSlotWaitsForEveryReader) {
  doors[0]->wake();
  (void)doors[0]->begin_burst();  // in the middle of a burst
  const PeerIndex bob = index_of("bob");
  config::Config after = two_peers();
  after.tunnels[0].peers.pop_back();
  apply(two_peers(), after);
  settle();
  EXPECT_EQ(session.count<RemovePeer>(), 0u) << "the worker may still send to the peer";
  EXPECT_EQ(acknowledged, 1);
  (void)doors[0]->begin_burst();
  settle();
  EXPECT_EQ(acknowledged, 2);
  EXPECT_EQ(session.count<RemovePeer>(), 1u);

  // Two more peers fit, a third needs the slot that the session thread still works on.
  config::Config more = after;
  for (uint8_t i = 10; i < 13; ++i) more.tunnels[0].peers.push_back(peer("", i, {}));
  const auto change = state::plan(state, difference(after, more).transaction);
  ASSERT_TRUE(change);
  EXPECT_FALSE(gateway->prepare(*change));
  session.done_ticket = session.last_ticket;
  settle();
  EXPECT_FALSE(gateway->prepare(*change)) << "the worker has not come round since";
  (void)doors[0]->begin_burst();
  settle();
  apply(after, more);
  bool reused = false;
  for (const SessionCommand& command : session.posted) {
    const auto* add = std::get_if<AddPeer>(&command);
    reused |=
        add != nullptr && add->settings.peer.index == bob && add->settings.peer.incarnation > 1;
  }
  EXPECT_TRUE(reused);
}

TEST_F(GatewayTest, RefusesMorePeersThanSlotsAndChangesNothing) {
  config::Config after = two_peers();
  for (uint8_t i = 10; i < 13; ++i) after.tunnels[0].peers.push_back(peer("", i, {}));
  const auto change = state::plan(state, difference(two_peers(), after).transaction);
  ASSERT_TRUE(change);
  const auto prepared = gateway->prepare(*change);
  ASSERT_FALSE(prepared);
  EXPECT_NE(prepared.error().find("4 peer slots"), std::string::npos);
  EXPECT_EQ(gateway->peers().size(), 2u);
}

TEST_F(GatewayTest, AMoveIsOneSnapshotAndTouchesNoSession) {
  const size_t posted = session.posted.size();
  config::Config after = two_peers();
  after.tunnels[0].peers[0].allowed_ips.erase(after.tunnels[0].peers[0].allowed_ips.begin());
  after.tunnels[0].peers[1].allowed_ips.push_back(
      {.prefix = *parse_prefix("10.8.0.2/32"), .at = {}});
  doors[0]->wake();
  const publish::Snapshot& before = doors[0]->begin_burst();
  apply(two_peers(), after);
  EXPECT_EQ(owner(before, "10.8.0.2"), index_of("alice"));
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.2"), index_of("bob"));
  settle();
  EXPECT_EQ(acknowledged, 2);
  EXPECT_EQ(session.posted.size(), posted);
}

TEST_F(GatewayTest, AWorkerThatDoesNotComeRoundIsNamedAfterASecondAndTheCommitStands) {
  doors[1]->wake();
  (void)doors[1]->begin_burst();
  config::Config after = two_peers();
  after.tunnels[0].peers[0].allowed_ips.clear();
  apply(two_peers(), after);
  settle();
  EXPECT_EQ(acknowledged, 1);
  now = now + kVisibleWithin;
  settle();
  EXPECT_EQ(acknowledged, 2);
  EXPECT_FALSE(last.visible);
  EXPECT_EQ(last.late_workers, std::vector<WorkerIndex>{1});
  EXPECT_TRUE(gateway->poll(now)) << "the old snapshot still waits for it";
  (void)doors[1]->begin_burst();
  settle();
  EXPECT_FALSE(gateway->poll(now));
}

// Two commits wait for a worker that comes round while it is asked about them.
TEST_F(GatewayTest, CommitsAreAcknowledgedInTheirOrder) {
  constexpr int kRounds = 300;
  std::atomic<int> begun{0}, reported{0};
  publish::Door& door = *doors[0];
  door.wake();
  (void)door.begin_burst();
  std::thread worker([&] {
    for (int round = 1; round <= kRounds; ++round) {
      while (begun.load() < round) std::this_thread::yield();
      (void)door.begin_burst();
      reported.store(round);
    }
  });
  int in_disorder = 0;
  for (int round = 1; round <= kRounds; ++round) {
    std::vector<int> order;
    for (const int number : {1, 2}) {
      state::Change none{.base = state.generation(), .next_peer_id = state.next_peer_id()};
      EXPECT_TRUE(gateway->prepare(none));
      gateway->seal(state.apply(none));
      gateway->commit(now, [&order, number](const Acknowledgement&) { order.push_back(number); });
    }
    begun.store(round);
    while (order.size() < 2) gateway->poll(now);
    in_disorder += order.front() != 1;
    while (reported.load() < round) std::this_thread::yield();
  }
  worker.join();
  EXPECT_EQ(in_disorder, 0);
}

TEST_F(GatewayTest, ADisabledPeerIsNoneForTheDataPlane) {
  config::Config after = two_peers();
  after.tunnels[0].peers[0].enabled = false;
  apply(two_peers(), after);
  session.done_ticket = session.last_ticket;
  settle();
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.2"), kNoPeer);
  EXPECT_EQ(session.count<RemovePeer>(), 1u);
  session.done_ticket = session.last_ticket;
  settle();
  apply(after, two_peers());
  session.done_ticket = session.last_ticket;
  settle();
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.2"), index_of("alice"));
}

TEST_F(GatewayTest, AnUnchangedFileAsksForNothing) {
  EXPECT_TRUE(difference(two_peers(), two_peers()).transaction.edits.empty());
}

TEST_F(GatewayTest, PeersOfOneFileSwapTheirPrefixesByMoves) {
  config::Config after = two_peers();
  std::swap(after.tunnels[0].peers[0].allowed_ips, after.tunnels[0].peers[1].allowed_ips);
  apply(two_peers(), after);
  settle();
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.2"), index_of("bob"));
  EXPECT_EQ(owner(doors[0]->begin_burst(), "10.8.0.3"), index_of("alice"));
}

TEST_F(GatewayTest, AStagedTopologyComesWithItsCommitAndIsForgottenWithAnAbort) {
  config::Config moved = two_peers();
  moved.ports[1].addresses = {{.value = *parse_interface_address("10.1.0.1/24"), .at = {}}};
  moved.tunnels[0].mtu = 1280;
  const Topology before = gateway->topology();
  const Topology after = topology_of(moved, std::vector<MacAddress>(2));
  EXPECT_NE(before, after);
  state::Change change{
      .base = state.generation(), .next_peer_id = state.next_peer_id(), .topology = true};
  ASSERT_TRUE(gateway->prepare(change));
  ASSERT_TRUE(gateway->stage_topology(after));
  gateway->abort();
  EXPECT_EQ(gateway->topology(), before);
  ASSERT_TRUE(gateway->prepare(change));
  ASSERT_TRUE(gateway->stage_topology(after));
  const Generation generation = state.apply(change);
  gateway->seal(generation);
  gateway->commit(now, {});
  settle();
  const publish::Snapshot& snapshot = doors[0]->begin_burst();
  EXPECT_EQ(snapshot.generation, generation);
  EXPECT_EQ(snapshot.tunnels[0].mtu_bytes, 1280);
  EXPECT_EQ(owner(snapshot, "10.8.0.2"), index_of("alice"));
}

TEST_F(GatewayTest, TheNumberOfARemovedTunnelIsNotGivenAwayBeforeEveryThreadForgotIt) {
  config::Config none = two_peers();
  none.tunnels.clear();
  apply(two_peers(), none);
  const auto change = state::plan(state, difference(none, two_peers()).transaction);
  ASSERT_TRUE(change);
  const auto refused = gateway->prepare(*change);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("still in retirement"), std::string::npos);
  for (int round = 0; round < 3; ++round) {  // workers, then the session thread, then all again
    for (const auto& door : doors) (void)door->begin_burst();
    session.done_ticket = session.last_ticket;
    settle();
  }
  EXPECT_TRUE(gateway->prepare(*change));
  gateway->abort();
}

// Snapshots that workers have left come into use again: nothing of what they said before may be left.
TEST_F(GatewayTest, ATunnelThatWentIsInNoSnapshotThatIsUsedAgain) {
  config::Config none = two_peers();
  none.tunnels.clear();
  const auto come_round = [&] {
    for (int round = 0; round < 3; ++round) {
      for (const auto& door : doors) (void)door->begin_burst();
      session.done_ticket = session.last_ticket;
      settle();
    }
  };
  for (int commit = 0; commit < 6; ++commit) {
    apply(two_peers(), none);
    come_round();
    const publish::Snapshot& without = doors[0]->begin_burst();
    EXPECT_EQ(without.generation, state.generation());
    EXPECT_EQ(without.tunnel_count, 0);
    EXPECT_FALSE(without.tunnels[0].active);
    EXPECT_EQ(without.ports[1].inside_count, 0);
    EXPECT_EQ(without.ports[0].outside_count, 0);
    apply(none, two_peers());
    come_round();
    const publish::Snapshot& with = doors[0]->begin_burst();
    EXPECT_EQ(with.generation, state.generation());
    EXPECT_EQ(with.tunnel_count, 1);
    EXPECT_EQ(with.ports[1].inside_count, 1);
    EXPECT_EQ(owner(with, "10.8.0.2"), index_of("alice"));
  }
}

}  // namespace
}  // namespace turnpike::gateway

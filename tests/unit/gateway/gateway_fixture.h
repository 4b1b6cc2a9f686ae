// A gateway with two workers that the test plays, on one NUMA node or two, and a session thread that does what the test
// says.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "control/gateway/file_transaction.h"
#include "control/gateway/gateway.h"
#include "control/state/plan.h"
#include "control/state/state.h"
#include "tests/support/stingy_pages.h"

namespace turnpike::gateway {

// Carries nothing out until told to.
class FakeSession final : public SessionLink {
 public:
  uint64_t post(std::vector<SessionCommand> commands) override {
    for (SessionCommand& command : commands) posted.push_back(std::move(command));
    return ++last_ticket;
  }
  bool done(uint64_t ticket) override { return ticket <= done_ticket; }
  void publish(const publish::Snapshot* s) override { snapshot = s; }

  template <typename Command>
  [[nodiscard]] size_t count() const {
    size_t n = 0;
    for (const SessionCommand& command : posted) n += std::holds_alternative<Command>(command);
    return n;
  }

  std::vector<SessionCommand> posted;
  uint64_t last_ticket = 0, done_ticket = 0;
  const publish::Snapshot* snapshot = nullptr;
};

inline config::Peer peer(const char* name, uint8_t key, std::vector<const char*> prefixes) {
  config::Peer p;
  p.name = name;
  p.public_key.bytes[0] = key;
  for (const char* prefix : prefixes)
    p.allowed_ips.push_back({.prefix = *parse_prefix(prefix), .at = {}});
  return p;
}

inline config::Config two_peers() {
  config::Config config;
  config.ports.resize(2);
  config.ports[0].name = "outside";
  config.ports[0].addresses = {{.value = *parse_interface_address("192.0.2.1/24"), .at = {}}};
  config.ports[0].routes = {
      {.to = *parse_prefix("0.0.0.0/0"), .via = *parse_ip("192.0.2.254"), .at = {}}};
  config.ports[1].name = "inside";
  config.ports[1].addresses = {{.value = *parse_interface_address("10.0.0.1/24"), .at = {}}};
  config.tunnels.resize(1);
  config::Tunnel& tunnel = config.tunnels[0];
  tunnel.name = "wg0";
  tunnel.private_key.bytes()[0] = 8;
  tunnel.listen_port = 51820;
  tunnel.outside = "outside";
  tunnel.inside = "inside";
  tunnel.addresses = {{.value = *parse_interface_address("10.8.0.1/24"), .at = {}}};
  tunnel.peers = {peer("alice", 1, {"10.8.0.2/32", "fd00:8::2/128"}),
                  peer("bob", 2, {"10.8.0.3/32"})};
  return config;
}

class GatewayTest : public testing::Test {
 protected:
  explicit GatewayTest(uint32_t capacity = 4, size_t replicas = 1) {
    for (size_t i = 0; i < 2; ++i) {
      const auto replica = static_cast<ReplicaIndex>(i % replicas);
      doors.push_back(std::make_unique<publish::Door>(epoch, pages, 2048, replica));
    }
    const std::array<RoomSource*, 2> each{&tables[0], &tables[1]};
    const std::span<RoomSource* const> nodes(each);
    gateway = std::make_unique<Gateway>(Gateway::Parts{.pages = ReplicaPages(nodes.first(replicas)),
                                                       .epoch = epoch,
                                                       .doors = {doors[0].get(), doors[1].get()},
                                                       .session = session,
                                                       .peer_capacity = capacity});
    apply(config::Config{}, two_peers());
    session.done_ticket = session.last_ticket;
    settle();
  }

  // Plans and commits the difference of two files; acknowledged_ counts the acknowledgements.
  void apply(const config::Config& before, const config::Config& after) {
    ASSERT_TRUE(
        gateway->set_topology(topology_of(after, std::vector<MacAddress>(after.ports.size()))));
    const auto change = state::plan(state, difference(before, after).transaction);
    ASSERT_TRUE(change) << state::describe(change.error().conflicts[0]);
    const auto prepared = gateway->prepare(*change);
    ASSERT_TRUE(prepared) << prepared.error();
    const Generation generation = state.apply(*change);
    gateway->seal(generation);
    gateway->commit(now, [this](const Acknowledgement& a) {
      ++acknowledged;
      last = a;
    });
  }
  void settle() {
    for (int i = 0; i < 10; ++i) gateway->poll(now);
  }

  PeerIndex owner(const publish::Snapshot& snapshot, const char* address) {
    const uint32_t key = parse_ip(address)->v4_host_order();
    PeerIndex found = kNoPeer;
    lookup::lookup_burst(snapshot.tunnels[0].allowed_v4, {&key, 1}, {&found, 1});
    return found;
  }
  PeerIndex index_of(const char* name) {
    return gateway->peers().find(state.peer(state.find_peer(0, std::string_view(name))).id).index;
  }

  SystemPages pages;
  std::array<test::StingyPages, 2> tables;  // by ReplicaIndex
  publish::Epoch epoch;
  std::vector<std::unique_ptr<publish::Door>> doors;
  FakeSession session;
  state::State state;
  std::unique_ptr<Gateway> gateway;
  Instant now{1'000'000'000};
  int acknowledged = 0;
  Acknowledgement last;
};

}  // namespace turnpike::gateway

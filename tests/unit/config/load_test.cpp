#include "config/load.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace turnpike::config {
namespace {

using test::key_text;
using test::mistakes_of;
using test::small_config;

TEST(LoadConfig, GivesEveryKeyItsValue) {
  const std::string text =
      "dataplane:\n"
      "  workers: [2, 4]\n"
      "  main_core: 1\n"
      "  session_cores: [3]\n"
      "  hugepages: true\n"
      "  memory: 2048\n"
      "  file_prefix: gw\n"
      "  aead: cryptodev\n"
      "  crypto_device: 0000:03:00.0\n"
      "  crypto_sessions: 64\n"
      "  idle: poll\n"
      "  eal: [--log-level, \"lib.eal:debug\"]\n"
      "ports:\n"
      "  - {name: wan, device: \"0000:01:00.0\", addresses: [192.0.2.1/24], mtu: 9000,\n"
      "     spread: always, routes: [{to: 0.0.0.0/0, via: 192.0.2.254}, {to: '::/0', via: "
      "'fe80::1'}]}\n"
      "  - {name: lan, device: \"0000:01:00.1\", addresses: [10.0.0.1/24]}\n"
      "tunnels:\n"
      "  - name: wg0\n"
      "    private_key: " +
      key_text(1) +
      "\n"
      "    listen_port: 51821\n"
      "    outside: wan\n"
      "    inside: lan\n"
      "    mtu: 1400\n"
      "    addresses: [10.8.0.1/24, 'fd00:8::1/64']\n"
      "    conflicts: move\n"
      "    peer_to_peer: false\n"
      "    peers:\n"
      "      - name: alice smith\n"
      "        description: \"laptop: \\u00e4\"\n"
      "        enabled: false\n"
      "        public_key: " +
      key_text(2) +
      "\n"
      "        preshared_key: " +
      key_text(3) +
      "\n"
      "        endpoint: \"[2001:db8::7]:51820\"\n"
      "        allowed_ips: [10.8.0.2, 10.9.0.0/16]\n"
      "        persistent_keepalive: 25\n"
      "control:\n"
      "  socket: run/control.sock\n"
      "  group: netops\n"
      "  wg_socket_dir: \"\"\n"
      "  metrics: \"[::1]:9000\"\n"
      "  state: /tmp/state.db\n"
      "  durability: off\n";
  const auto loaded = parse_config(text, "gw.yaml", "/etc/turnpike");
  ASSERT_TRUE(loaded.has_value()) << to_string(loaded.error().front());
  const Dataplane& dataplane = loaded->dataplane;
  EXPECT_EQ(dataplane.workers, (std::vector<uint32_t>{2, 4}));
  EXPECT_EQ(dataplane.main_core, 1u);
  EXPECT_EQ(dataplane.session_cores, std::vector<uint32_t>{3});
  EXPECT_TRUE(dataplane.hugepages);
  EXPECT_EQ(dataplane.memory_mib, 2048u);
  EXPECT_EQ(dataplane.file_prefix, "gw");
  EXPECT_EQ(dataplane.aead, AeadChoice::Cryptodev);
  EXPECT_EQ(dataplane.crypto_device, "0000:03:00.0");
  EXPECT_EQ(dataplane.crypto_sessions, 64u);
  EXPECT_EQ(dataplane.idle, IdlePolicy::Poll);
  EXPECT_EQ(dataplane.eal, (std::vector<std::string>{"--log-level", "lib.eal:debug"}));

  ASSERT_EQ(loaded->ports.size(), 2u);
  const Port& wan = loaded->ports[0];
  EXPECT_EQ(wan.name, "wan");
  EXPECT_EQ(wan.device, "0000:01:00.0");
  ASSERT_EQ(wan.addresses.size(), 1u);
  EXPECT_EQ(to_string(wan.addresses[0].value), "192.0.2.1/24");
  EXPECT_EQ(wan.mtu, 9000);
  EXPECT_EQ(wan.spread, SpreadPolicy::Always);
  ASSERT_EQ(wan.routes.size(), 2u);
  EXPECT_EQ(to_string(wan.routes[0].to), "0.0.0.0/0");
  EXPECT_EQ(to_string(wan.routes[0].via), "192.0.2.254");
  EXPECT_EQ(to_string(wan.routes[1].via), "fe80::1");

  ASSERT_EQ(loaded->tunnels.size(), 1u);
  const Tunnel& tunnel = loaded->tunnels[0];
  EXPECT_EQ(tunnel.name, "wg0");
  EXPECT_EQ(tunnel.private_key.bytes()[3], 1);
  EXPECT_EQ(tunnel.listen_port, 51821);
  EXPECT_EQ(tunnel.outside, "wan");
  EXPECT_EQ(tunnel.inside, "lan");
  EXPECT_EQ(tunnel.mtu, 1400);
  ASSERT_EQ(tunnel.addresses.size(), 2u);
  EXPECT_EQ(to_string(tunnel.addresses[1].value), "fd00:8::1/64");
  EXPECT_EQ(tunnel.conflicts, ConflictPolicy::Move);
  EXPECT_FALSE(tunnel.peer_to_peer);
  EXPECT_EQ(tunnel.places.of("listen_port").line, 20u);
  EXPECT_EQ(tunnel.places.of("listen_port").column, 18u);

  ASSERT_EQ(tunnel.peers.size(), 1u);
  const Peer& peer = tunnel.peers[0];
  EXPECT_EQ(peer.name, "alice smith");
  EXPECT_EQ(peer.description, "laptop: \xc3\xa4");
  EXPECT_FALSE(peer.enabled);
  EXPECT_EQ(peer.public_key.bytes[3], 2);
  ASSERT_TRUE(peer.preshared_key.has_value());
  EXPECT_EQ(peer.preshared_key->bytes()[3], 3);
  EXPECT_EQ(to_string(peer.endpoint), "[2001:db8::7]:51820");
  ASSERT_EQ(peer.allowed_ips.size(), 2u);
  EXPECT_EQ(to_string(peer.allowed_ips[0].prefix), "10.8.0.2/32");
  EXPECT_EQ(peer.allowed_ips[1].at.line, 34u);
  EXPECT_EQ(peer.allowed_ips[1].at.column, 33u);
  EXPECT_EQ(peer.persistent_keepalive, 25);
  EXPECT_EQ(peer.at.line, 28u);
  EXPECT_EQ(peer.at.column, 9u);

  const Control& control = loaded->control;
  EXPECT_EQ(control.socket, "/etc/turnpike/run/control.sock");
  EXPECT_EQ(control.group, "netops");
  EXPECT_EQ(control.wg_socket_dir, "");
  ASSERT_TRUE(control.metrics.has_value());
  EXPECT_EQ(to_string(*control.metrics), "[::1]:9000");
  EXPECT_EQ(control.state, "/tmp/state.db");
  EXPECT_EQ(control.durability, Durability::Off);
}

TEST(LoadConfig, FillsInWhatTheFileLeavesOut) {
  const auto loaded = parse_config(small_config(), "gw.yaml", "");
  ASSERT_TRUE(loaded.has_value()) << to_string(loaded.error().front());
  EXPECT_EQ(loaded->dataplane, Dataplane());
  EXPECT_EQ(loaded->control, Control());
  EXPECT_EQ(loaded->ports[0].mtu, 1500);
  EXPECT_EQ(loaded->tunnels[0].mtu, 1420);
  EXPECT_EQ(loaded->tunnels[0].conflicts, ConflictPolicy::Refuse);
  EXPECT_TRUE(loaded->tunnels[0].peer_to_peer);
  EXPECT_TRUE(loaded->tunnels[0].peers[1].name.empty());
  EXPECT_TRUE(loaded->tunnels[0].peers[1].enabled);
  EXPECT_TRUE(loaded->tunnels[0].peers[1].endpoint.is_none());
  EXPECT_FALSE(loaded->tunnels[0].peers[1].preshared_key.has_value());
  EXPECT_TRUE(loaded->warnings.empty());
}

TEST(LoadConfig, ComparesWhatIsSaidAndNotWhereItStands) {
  const auto a = parse_config(small_config(), "a.yaml", "");
  const auto b = parse_config("# moved down\n\n" + small_config(), "b.yaml", "");
  const auto c = parse_config(test::replaced(small_config(), "51820", "51821"), "a.yaml", "");
  ASSERT_TRUE(a && b && c);
  EXPECT_TRUE(*a == *b);
  EXPECT_FALSE(*a == *c);
}

TEST(LoadConfig, NamesAFileThatCannotBeOpened) {
  const auto loaded = load_config("/nonexistent/gw.yaml");
  ASSERT_FALSE(loaded.has_value());
  ASSERT_EQ(loaded.error().size(), 1u);
  EXPECT_EQ(to_string(loaded.error()[0]),
            "/nonexistent/gw.yaml: cannot be opened: No such file or directory");
  const auto directory = load_config("/tmp");
  ASSERT_FALSE(directory.has_value());
  EXPECT_EQ(to_string(directory.error()[0]), "/tmp: is no regular file");
}

}  // namespace
}  // namespace turnpike::config

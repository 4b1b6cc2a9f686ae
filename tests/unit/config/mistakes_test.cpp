// Every mistake that the loader knows, with its exact place, path and text.
#include <gtest/gtest.h>

#include <ostream>
#include <utility>

#include "config/value.h"
#include "fixtures.h"

namespace turnpike::config {
namespace {

using test::key_text;
using test::mistakes_of;
using test::replaced;
using test::small_config;
using ::testing::TestWithParam;

// One change of small_config() and what the loader says about it, after "gw.yaml:".
struct Case {
  const char* name;
  std::string from;
  std::string to;
  std::vector<std::string> expected;
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

class Mistake : public TestWithParam<Case> {};

TEST_P(Mistake, IsNamedWithItsPlace) {
  std::vector<std::string> expected;
  for (const std::string& text : GetParam().expected) expected.push_back("gw.yaml:" + text);
  EXPECT_EQ(mistakes_of(replaced(small_config(), GetParam().from, GetParam().to)), expected);
}

// A line after "inside: inside" (line 12 of the file) of the tunnel.
Case tunnel_line(const char* name, const std::string& line, std::vector<std::string> expected) {
  return {name, "    inside: inside\n", "    inside: inside\n    " + line + "\n",
          std::move(expected)};
}
// A line before "public_key" (line 15) of alice.
Case peer_line(const char* name, const std::string& line, std::vector<std::string> expected) {
  return {name, "        public_key", "        " + line + "\n        public_key",
          std::move(expected)};
}
// A line after the device (line 6) of the port "inside".
Case port_line(const char* name, const std::string& line, std::vector<std::string> expected) {
  return {name, "iface=lan0\n", "iface=lan0\n    " + line + "\n", std::move(expected)};
}
// A section in front of the others.
Case section(const char* name, const std::string& text, std::vector<std::string> expected) {
  return {name, "ports:\n", text + "ports:\n", std::move(expected)};
}

INSTANTIATE_TEST_SUITE_P(
    Form, Mistake,
    testing::Values(
        Case{"misspelt_key",
             "listen_port",
             "listen-prot",
             {"10:5: tunnels[0]: unknown key 'listen-prot'; did you mean 'listen_port'?"}},
        Case{"wg_style_key",
             "allowed_ips: [10.8.0.3",
             "AllowedIPs: [10.8.0.3",
             {"18:9: tunnels[0].peers[1]: unknown key 'AllowedIPs'; did you mean 'allowed_ips'?"}},
        port_line(
            "far_key", "zebra: 1",
            {"7:5: ports[1]: unknown key 'zebra'; known are name, device, addresses, mtu, spread, "
             "routes"}),
        Case{"missing_key",
             "    listen_port: 51820\n",
             "",
             {"8:5: tunnels[0]: required key 'listen_port' is missing"}},
        Case{"missing_section",
             "tunnels:",
             "tunnel:",
             {"7:1: unknown key 'tunnel'; did you mean 'tunnels'?"}},
        tunnel_line("repeated_key", "inside: outside",
                    {"13:5: tunnels[0]: key 'inside' stands twice; it stands first at line 12, "
                     "column 5"}),
        Case{"repeated_list_of_peers",
             "    peers:\n",
             "    peers: []\n    peers:\n",
             {"14:5: tunnels[0]: key 'peers' stands twice; it stands first at line 13, column 5"}},
        Case{"anchor",
             "name: alice",
             "name: &a alice",
             {"14:15: tunnels[0].peers[0].name: an anchor (&) is not allowed; write the value out "
              "where it is needed"}},
        Case{"alias",
             "name: alice",
             "name: &a alice\n        description: *a",
             {"14:15: tunnels[0].peers[0].name: an anchor (&) is not allowed; write the value out "
              "where it is needed",
              "15:22: tunnels[0].peers[0].description: an alias (*) is not allowed; write the "
              "value out"}},
        Case{"tag",
             "name: alice",
             "name: !!str alice",
             {"14:15: tunnels[0].peers[0].name: a tag (!) is not allowed; the key decides the type "
              "of its value"}},
        Case{"complex_key", "ports:\n", "? [a]\n: 1\nports:\n", {"1:3: a key must be a name"}},
        Case{"missing_value",
             " 51820",
             "",
             {"10:5: tunnels[0].listen_port: has no value; a number from 1 to 65535 is expected"}},
        Case{"list_for_a_value",
             "51820",
             "[51820]",
             {"10:18: tunnels[0].listen_port: is a list; a number from 1 to 65535 is expected"}},
        Case{"value_for_a_list",
             "[10.8.0.3/32]",
             "10.8.0.3/32",
             {"18:22: tunnels[0].peers[1].allowed_ips: is a single value; a list is expected, [] "
              "if it is empty"}},
        Case{"value_for_a_peer",
             "      - name: alice",
             "      - bob\n      - name: alice",
             {"14:9: tunnels[0].peers[0]: is a single value; a mapping of keys and values is "
              "expected"}},
        Case{"octal",
             "51820",
             "017",
             {"10:18: tunnels[0].listen_port: '017' could be read as octal; write the number in "
              "decimal, without a leading zero"}},
        Case{"octal_of_yaml_1_2",
             "51820",
             "0o17",
             {"10:18: tunnels[0].listen_port: '0o17' could be read as octal; write the number in "
              "decimal, without a leading zero"}},
        Case{"hexadecimal",
             "51820",
             "0xca6c",
             {"10:18: tunnels[0].listen_port: '0xca6c' is no decimal number; a number from 1 to "
              "65535 is expected"}},
        Case{"number_in_quotes",
             "51820",
             "\"51820\"",
             {"10:18: tunnels[0].listen_port: '51820' is text; a number from 1 to 65535 without "
              "quotes is expected"}},
        tunnel_line("yes_for_true", "peer_to_peer: yes",
                    {"13:19: tunnels[0].peer_to_peer: 'yes' is no boolean; true or false is "
                     "expected"}),
        tunnel_line("true_in_quotes", "peer_to_peer: 'true'",
                    {"13:19: tunnels[0].peer_to_peer: 'true' in quotes is no boolean; true or "
                     "false is expected"}),
        tunnel_line(
            "control_characters_are_not_quoted_as_they_are", "conflicts: \"a\\x1b\\x9b\\xe4\"",
            {"13:16: tunnels[0].conflicts: 'a\\x1b\\xc2\\x9b\xc3\xa4' is unknown; refuse or "
             "move is expected"}),
        tunnel_line("unknown_choice", "conflicts: steal",
                    {"13:16: tunnels[0].conflicts: 'steal' is unknown; refuse or move is "
                     "expected"})));

TEST(Descriptions, AreJudgedInAFileAsTheyAreAtRunTime) {
  std::string umlauts;
  for (int i = 0; i < 4'096; ++i) umlauts += "\xc3\xa4";
  for (const auto& [written, meant] :
       {std::pair(std::string("two\\nlines,\\ta tab"), std::string("two\nlines,\ta tab")),
        std::pair(std::string("a\\x07z"), std::string("a\az")),
        std::pair(std::string("a\\x9bz"), std::string("a\xc2\x9bz")),
        std::pair(std::string("a\\rz"), std::string("a\rz")),
        std::pair(std::string(kMaxDescriptionBytes, 'x'), std::string(kMaxDescriptionBytes, 'x')),
        std::pair(std::string(kMaxDescriptionBytes + 1, 'x'),
                  std::string(kMaxDescriptionBytes + 1, 'x')),
        // 4,096 characters, 8,192 bytes: bytes count.
        std::pair(umlauts, umlauts)}) {
    const std::string fault = description_fault(meant);
    std::vector<std::string> expected;
    if (!fault.empty()) expected = {"gw.yaml:15:22: tunnels[0].peers[0].description: " + fault};
    EXPECT_EQ(mistakes_of(replaced(small_config(), "name: alice",
                                   "name: alice\n        description: \"" + written + "\"")),
              expected);
  }
}

TEST(ArgumentsOfDpdk, ThatMakeItEndAreNamed) {
  const auto mistakes = [](const std::string& list) {
    return mistakes_of("dataplane: {eal: [" + list + "]}\n" + small_config());
  };
  const std::vector<std::string> none;
  for (const std::string word :
       {"-h", "-vh", "--help", "--he", "--log-level=help", "--log=help", "--lo=help"}) {
    EXPECT_EQ(mistakes("'-v', '" + word + "'"),
              std::vector<std::string>{"gw.yaml:1:25: dataplane.eal[1]: '" + word +
                                       "' makes DPDK print something and end; leave it out"});
  }
  EXPECT_EQ(mistakes("--log-level, help"),
            std::vector<std::string>{"gw.yaml:1:32: dataplane.eal[1]: 'help' makes DPDK print "
                                     "something and end; leave it out"});
  EXPECT_EQ(mistakes("--lo, help"),
            std::vector<std::string>{"gw.yaml:1:25: dataplane.eal[1]: 'help' makes DPDK print "
                                     "something and end; leave it out"});
  for (const char* good : {"'-v'", "--log-level, 'lib.eal:debug'", "'--log-level=debug'",
                           "'--huge-dir=/help'", "'--vdev=net_h'", "'-n', '4'", "help"}) {
    EXPECT_EQ(mistakes(good), none) << good;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Range, Mistake,
    testing::Values(
        Case{"port_zero",
             "51820",
             "0",
             {"10:18: tunnels[0].listen_port: '0' is out of range; a number from 1 to 65535 is "
              "right"}},
        Case{"port_above_16_bits",
             "51820",
             "65536",
             {"10:18: tunnels[0].listen_port: '65536' is out of range; a number from 1 to 65535 is "
              "right"}},
        Case{"number_above_64_bits",
             "51820",
             "99999999999999999999",
             {"10:18: tunnels[0].listen_port: '99999999999999999999' is out of range; a number "
              "from 1 to 65535 is right"}},
        Case{"negative_number",
             "51820",
             "-1",
             {"10:18: tunnels[0].listen_port: '-1' is no decimal number; a number from 1 to 65535 "
              "is expected"}},
        tunnel_line("mtu_too_small", "mtu: 575",
                    {"13:10: tunnels[0].mtu: '575' is out of range; a number from 576 to 8920 is "
                     "right"}),
        tunnel_line("mtu_too_small_for_ipv6", "mtu: 1279\n    addresses: ['fd00:8::1/64']",
                    {"13:10: tunnels[0].mtu: 1279 is below 1280, which IPv6 needs; raise it or "
                     "remove the IPv6 addresses"}),
        port_line("port_mtu_too_large", "mtu: 9001",
                  {"7:10: ports[1].mtu: '9001' is out of range; a number from 576 to 9000 is "
                   "right"}),
        peer_line("keepalive_above_16_bits", "persistent_keepalive: 65536",
                  {"15:31: tunnels[0].peers[0].persistent_keepalive: '65536' is out of range; a "
                   "number from 0 to 65535 is right"}),
        section("no_worker", "dataplane: {workers: []}\n",
                {"1:22: dataplane.workers: is empty; at least one is needed"}),
        section("too_many_session_threads",
                "dataplane: {session_cores: [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}\n",
                {"1:28: dataplane.session_cores: has 17 entries; at most 16 session threads are "
                 "possible"}),
        section("cryptodev_without_device", "dataplane: {aead: cryptodev}\n",
                {"1:19: dataplane.aead: is cryptodev, but dataplane.crypto_device is missing; a "
                 "PCI address or a DPDK vdev such as crypto_aesni_mb0 is expected there"}),
        section("worker_twice", "dataplane: {workers: [1, 2, 1]}\n",
                {"1:29: dataplane.workers[2]: 1 stands twice; once is right"}),
        section("no_such_cpu", "dataplane: {main_core: 1024}\n",
                {"1:24: dataplane.main_core: '1024' is out of range; a number from 0 to 1023 is "
                 "right"}),
        section("too_little_memory", "dataplane: {memory: 1}\n",
                {"1:21: dataplane.memory: '1' is out of range; a number from 64 to 1048576 is "
                 "right"}),
        section("file_prefix_with_slash", "dataplane: {file_prefix: a/b}\n",
                {"1:26: dataplane.file_prefix: 'a/b' cannot be part of a file name; letters, "
                 "digits and _ . - are allowed"}),
        section("metrics_without_port", "control: {metrics: 127.0.0.1}\n",
                {"1:20: control.metrics: '127.0.0.1' is no ADDRESS:PORT; 198.51.100.7:51820 or "
                 "[2001:db8::7]:51820 would be (host names are not resolved)"}),
        section("socket_path_too_long", "control: {socket: /" + std::string(107, 's') + "}\n",
                {"1:19: control.socket: the socket's path '/" + std::string(59, 's') +
                 "...' has 108 bytes; at most 107 are possible"}),
        section("empty_state", "control: {state: ''}\n",
                {"1:18: control.state: is empty; the name of a file is expected"})));

INSTANTIATE_TEST_SUITE_P(
    Text, Mistake,
    testing::Values(
        Case{"prefix_length",
             "10.8.0.2/32",
             "10.8.0.2/33",
             {"16:23: tunnels[0].peers[0].allowed_ips[0]: prefix length 33 is above 32"}},
        Case{"ipv6_prefix_length",
             "fd00:8::2/128",
             "fd00:8::2/129",
             {"16:36: tunnels[0].peers[0].allowed_ips[1]: prefix length 129 is above 128"}},
        Case{"no_prefix_length",
             "10.8.0.2/32",
             "10.8.0.2/",
             {"16:23: tunnels[0].peers[0].allowed_ips[0]: '' is no prefix length; a number from 0 "
              "to 32 is expected"}},
        Case{"host_bits",
             "10.8.0.2/32",
             "10.8.0.2/24",
             {"16:23: tunnels[0].peers[0].allowed_ips[0]: '10.8.0.2/24' has bits set behind its "
              "length; 10.8.0.0/24 is the prefix that it lies in"}},
        Case{"no_address",
             "10.8.0.2/32",
             "10.8.0/24",
             {"16:23: tunnels[0].peers[0].allowed_ips[0]: '10.8.0/24' is no IPv4 or IPv6 address "
              "with a prefix length; 10.8.0.2/32 or fd00:8::2/128 would be"}},
        peer_line("host_name_for_endpoint", "endpoint: vpn.example.com:51820",
                  {"15:19: tunnels[0].peers[0].endpoint: 'vpn.example.com:51820' is no "
                   "ADDRESS:PORT; 198.51.100.7:51820 or [2001:db8::7]:51820 would be (host names "
                   "are not resolved)"}),
        peer_line("multicast_endpoint", "endpoint: 224.0.0.1:51820",
                  {"15:19: tunnels[0].peers[0].endpoint: '224.0.0.1:51820' is no address of a "
                   "single host"}),
        Case{"short_key",
             key_text(2),
             "aGVsbG8=",
             {"15:21: tunnels[0].peers[0].public_key: is no key; it has 8 characters, the base64 "
              "of 32 bytes has 44"}},
        Case{"key_with_other_characters",
             key_text(2),
             std::string(43, '_') + "=",
             {"15:21: tunnels[0].peers[0].public_key: is no key; its 44 characters are not the "
              "base64 of 32 bytes"}},
        Case{"zero_key",
             key_text(2),
             std::string(43, 'A') + "=",
             {"15:21: tunnels[0].peers[0].public_key: is the all-zero key, which stands for no "
              "key; leave it out"}},
        Case{"long_private_key",
             key_text(1),
             key_text(1) + "x",
             {"9:18: tunnels[0].private_key: is 45 bytes long; at most 44 are allowed"}},
        Case{"no_private_key",
             "    private_key: " + key_text(1) + "\n",
             "",
             {"8:5: tunnels[0]: neither 'private_key' nor 'private_key_file' is there; one of the "
              "two is required"}},
        Case{"two_preshared_keys",
             "        public_key: ",
             "        preshared_key: " + key_text(9) +
                 "\n        preshared_key_file: alice.psk\n        public_key: ",
             {"16:29: tunnels[0].peers[0].preshared_key_file: 'preshared_key' is given at line "
              "15, column 24 too; one of the two is right"}},
        Case{"name_like_a_key",
             "name: alice",
             "name: " + key_text(7),
             {"14:15: tunnels[0].peers[0].name: is shaped like a key; a name must not be taken for "
              "one"}},
        Case{"empty_name",
             "name: alice",
             "name: ''",
             {"14:15: tunnels[0].peers[0].name: is empty; leave the key out for a peer without "
              "name"}},
        Case{"control_character_in_name",
             "name: alice",
             "name: \"al\\x1bice\"",
             {"14:15: tunnels[0].peers[0].name: has a control character in it; printable text is "
              "expected"}},
        Case{"c1_control_character_in_name",
             "name: alice",
             "name: \"al\\x9bice\"",
             {"14:15: tunnels[0].peers[0].name: has a control character in it; printable text is "
              "expected"}},
        Case{"long_tunnel_name",
             "name: wg0",
             "name: abcdefghijklmnop",
             {"8:11: tunnels[0].name: is 16 bytes long; at most 15 are allowed"}},
        Case{"tunnel_name_with_slash",
             "name: wg0",
             "name: wg/0",
             {"8:11: tunnels[0].name: 'wg/0' is no good name; letters, digits and _ = + . - are "
              "allowed"}},
        Case{"tunnel_name_of_dots",
             "name: wg0",
             "name: ..",
             {"8:11: tunnels[0].name: '..' is no good name; begin it with a letter or a digit"}},
        Case{"empty_device",
             "net_af_packet1,iface=lan0",
             "''",
             {"6:13: ports[1].device: is empty; a PCI address or a DPDK vdev such as "
              "net_af_packet0,iface=eth0 is expected"}}));

const std::string kSecondTunnel =
    "tunnels:\n"       // 7
    "  - name: wg1\n"  // 8
    "    private_key: " +
    key_text(8) +
    "\n"                        // 9
    "    listen_port: 51821\n"  // 10
    "    outside: outside\n"    // 11
    "    inside: inside\n";     // 12

INSTANTIATE_TEST_SUITE_P(
    TwoPlaces, Mistake,
    testing::Values(
        Case{"prefix_of_another_peer",
             "10.8.0.3/32",
             "10.8.0.2",
             {"18:23: tunnels[0].peers[1].allowed_ips[0]: 10.8.0.2/32 is allowed to peer 'alice' "
              "at line 16, column 23 already; one peer only may own it"}},
        Case{"prefix_twice_in_a_peer",
             "[10.8.0.3/32]",
             "[10.8.0.3/32, 10.8.0.3]",
             {"18:36: tunnels[0].peers[1].allowed_ips[1]: 10.8.0.3/32 stands twice, first at line "
              "18, column 23"}},
        Case{"public_key_of_another_peer",
             key_text(3),
             key_text(2),
             {"17:21: tunnels[0].peers[1].public_key: this key stands at line 15, column 21 "
              "already; a tunnel has one peer for each public key"}},
        Case{"name_of_another_peer",
             "      - public_key: " + key_text(3),
             "      - name: alice\n        public_key: " + key_text(3),
             {"17:15: tunnels[0].peers[1].name: peer name 'alice' stands at line 14, column 15 "
              "already; it must be unique in the tunnel"}},
        Case{"port_name_twice",
             "name: inside",
             "name: outside",
             {"5:11: ports[1].name: port name 'outside' stands at line 2, column 11 already; it "
              "must be unique",
              "12:13: tunnels[0].inside: there is no port 'inside'; a name under 'ports' is "
              "expected"}},
        Case{"device_twice",
             "net_af_packet1,iface=lan0",
             "net_af_packet0,iface=wan0",
             {"6:13: ports[1].device: device 'net_af_packet0,iface=wan0' stands at line 3, column "
              "13 already; it must be unique"}},
        Case{"inside_is_outside",
             "inside: inside",
             "inside: outside",
             {"12:13: tunnels[0].inside: 'outside' is 'outside' too; two different ports are "
              "needed"}},
        Case{"outside_without_address",
             "    addresses: [192.0.2.1/24, \"2001:db8::1/64\"]\n",
             "",
             {"10:14: tunnels[0].outside: port 'outside' has no address, so that no peer could "
              "reach the tunnel; give it one"}},
        Case{"tunnel_name_twice",
             "tunnels:\n",
             replaced(kSecondTunnel, "wg1", "wg0"),
             {"13:11: tunnels[1].name: tunnel name 'wg0' stands at line 8, column 11 already; it "
              "must be unique"}},
        Case{"listen_port_twice",
             "tunnels:\n",
             replaced(kSecondTunnel, "51821", "51820"),
             {"15:18: tunnels[1].listen_port: UDP port 51820 of port 'outside' stands at line 10, "
              "column 18 already; it must be unique"}},
        port_line("address_twice", "addresses: [192.0.2.1/32]",
                  {"7:17: ports[1].addresses[0]: address 192.0.2.1 stands at line 4, column 17 "
                   "already; it must be unique"}),
        tunnel_line("address_of_a_port", "addresses: ['2001:db8::1']",
                    {"13:17: tunnels[0].addresses[0]: address 2001:db8::1 stands at line 4, column "
                     "31 already; it must be unique"}),
        port_line("multicast_address", "addresses: [224.0.0.1/24]",
                  {"7:17: ports[1].addresses[0]: 224.0.0.1 cannot be an interface's own address"}),
        port_line("address_of_the_subnet", "addresses: [10.0.0.0/24]",
                  {"7:17: ports[1].addresses[0]: 10.0.0.0/24 is the address of the subnet itself; "
                   "an address in between is expected"}),
        port_line("broadcast_address", "addresses: [10.0.0.255/24]",
                  {"7:17: ports[1].addresses[0]: 10.0.0.255/24 is the subnet's broadcast address; "
                   "an address in between is expected"}),
        port_line("next_hop_out_of_reach",
                  "addresses: [10.0.0.1/24]\n    routes: [{to: 10.1.0.0/16, via: 10.0.1.1}]",
                  {"8:14: ports[1].routes[0]: via 10.0.1.1 lies in no subnet of the port's "
                   "addresses; a neighbour's address is expected"}),
        port_line("next_hop_of_another_family",
                  "addresses: [10.0.0.1/24]\n    routes: [{to: '::/0', via: 10.0.0.2}]",
                  {"8:14: ports[1].routes[0]: via 10.0.0.2 is not of the family of ::/0; both must "
                   "be IPv4 or IPv6"}),
        port_line("next_hop_is_own_address",
                  "addresses: [10.0.0.1/24]\n    routes: [{to: 0.0.0.0/0, via: 10.0.0.1}]",
                  {"8:14: ports[1].routes[0]: via 10.0.0.1 is the port's own address; a "
                   "neighbour's is expected"}),
        port_line("route_twice",
                  "addresses: [10.0.0.1/24]\n    routes: [{to: 0.0.0.0/0, via: 10.0.0.2}, "
                  "{to: 0.0.0.0/0, via: 10.0.0.3}]",
                  {"8:46: ports[1].routes[1]: a route to 0.0.0.0/0 stands at line 8, column 14 "
                   "already; it must be unique"})));

TEST(MistakesOfAFile, AreAllReportedInOrderOfPlace) {
  std::string text = replaced(small_config(), "51820", "0");
  text = replaced(text, "10.8.0.3/32", "10.8.0.3/40");
  text = replaced(text, "name: alice", "nam: alice");
  text = replaced(text, "iface=wan0\n", "iface=wan0\n    mtu: yes\n");
  const auto mistakes = mistakes_of(text);
  ASSERT_EQ(mistakes.size(), 4u);
  EXPECT_TRUE(mistakes[0].starts_with("gw.yaml:4:10: ports[0].mtu: ")) << mistakes[0];
  EXPECT_TRUE(mistakes[1].starts_with("gw.yaml:11:18: ")) << mistakes[1];
  EXPECT_TRUE(mistakes[2].starts_with("gw.yaml:15:9: ")) << mistakes[2];
  EXPECT_TRUE(mistakes[3].starts_with("gw.yaml:19:23: ")) << mistakes[3];
}

TEST(MistakesOfAFile, AreCountedBeyondALimit) {
  std::string text = small_config();
  for (size_t i = 0; i < kMaxReported + 5; ++i) text += "      - public_key: short\n";
  const auto loaded = parse_config(text, "gw.yaml", "");
  ASSERT_FALSE(loaded.has_value());
  ASSERT_EQ(loaded.error().size(), kMaxReported + 1);
  EXPECT_EQ(loaded.error().back().message, "5 further mistakes are not shown");
}

TEST(MistakesOfAFile, NeverShowASecret) {
  const std::string secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
  for (const std::string& text :
       {replaced(small_config(), key_text(1), secret),
        replaced(small_config(), key_text(1), "{a: " + secret + "}"),
        replaced(small_config(), "        public_key",
                 "        preshared_key: " + secret + "\n        public_key"),
        replaced(small_config(), "private_key", "privat_key"),
        replaced(small_config(), "    private_key: " + key_text(1),
                 "    private_key: " + secret + "\n    privatekey: " + secret)}) {
    const auto mistakes = mistakes_of(text);
    EXPECT_FALSE(mistakes.empty());
    for (const std::string& mistake : mistakes) {
      EXPECT_EQ(mistake.find(secret), std::string::npos) << mistake;
      EXPECT_EQ(mistake.find(key_text(1)), std::string::npos) << mistake;
    }
  }
}

TEST(MistakesOfSyntax, AreNamedWithTheirPlace) {
  const auto only = [](const std::string& text) {
    const auto mistakes = mistakes_of(text);
    return mistakes.size() == 1 ? mistakes[0] : std::to_string(mistakes.size()) + " mistakes";
  };
  EXPECT_EQ(only(""), "gw.yaml:1:1: the file holds no configuration; see the annotated examples");
  EXPECT_EQ(only("# nothing\n"),
            "gw.yaml:1:1: the file holds no configuration; see the annotated examples");
  EXPECT_EQ(only("- a\n"), "gw.yaml:1:1: is a list; a mapping of keys and values is expected");
  EXPECT_EQ(only(small_config() + "---\n"),
            "gw.yaml:19:1: a second document starts here; one file holds one document");
  EXPECT_EQ(only("ports: [1, 2\n"),
            "gw.yaml:1:14: this is not YAML: end of sequence flow not found");
  EXPECT_EQ(only(replaced(small_config(), "    peers:", "\tpeers:")),
            "gw.yaml:13:1: this is not YAML: illegal tab when looking for indentation");
  EXPECT_EQ(only(replaced(small_config(), "name: alice", "name: *nobody")),
            "gw.yaml:14:15: this is not YAML: the referenced anchor is not defined");
  EXPECT_EQ(only(replaced(small_config(), "alice", "al\x04ice")),
            "gw.yaml:14:17: control character '\\x04'; a configuration is plain text");
  EXPECT_EQ(only(replaced(small_config(), "alice", "al\xffice")),
            "gw.yaml:14:17: this is no UTF-8; save the file in that encoding");
  EXPECT_TRUE(only("a: " + std::string(100'000, '[')).ends_with("no key is that deep"));
  EXPECT_EQ(only("a: " + std::string(20, '[') + "1" + std::string(20, ']')),
            "gw.yaml:1:19: nested deeper than 16 levels; no key is that deep");
}

TEST(WhatIsNoMistake, Loads) {
  const auto good = [](const std::string& text) { return mistakes_of(text); };
  const std::vector<std::string> none;
  EXPECT_EQ(good(replaced(small_config(), "    peers:\n", "    peers:   # all of them\n")), none);
  EXPECT_EQ(good(small_config() + "...\n"), none);
  EXPECT_EQ(good("---\n" + small_config()), none);
  EXPECT_EQ(good("\xef\xbb\xbf" + small_config()), none) << "a byte order mark";
  EXPECT_EQ(good(replaced(small_config(), "name: alice", "'name': \"alice\"")), none);
  // A disabled peer holds no claim.
  EXPECT_EQ(good(replaced(small_config(), "[10.8.0.3/32]", "[10.8.0.2]\n        enabled: false")),
            none);
  // Nested prefixes are no conflict.
  EXPECT_EQ(good(replaced(small_config(), "10.8.0.3/32", "10.8.0.0/24")), none);
  // An empty list of tunnels is a gateway that waits for its first.
  EXPECT_EQ(good("ports: [{name: a, device: d}]\ntunnels: []\n"), none);
  // RFC 3021: both addresses of a /31 are hosts.
  EXPECT_EQ(good(replaced(small_config(), "192.0.2.1/24", "192.0.2.0/31")), none);
  // CRLF line ends.
  std::string windows;
  for (const char c : small_config())
    windows += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(good(windows), none);
}

TEST(Warnings, NameWhatIsProbablyNotMeant) {
  EXPECT_EQ(test::warnings_of("dataplane: {workers: [0, 1]}\n" + small_config()),
            std::vector<std::string>{"gw.yaml:1:22: dataplane.workers: CPU 0 is also one of "
                                     "session_cores; a worker runs best on a CPU of its own"});
  EXPECT_EQ(test::warnings_of(replaced(small_config(), "    inside: inside\n",
                                       "    inside: inside\n    mtu: 1500\n")),
            std::vector<std::string>{"gw.yaml:13:10: tunnels[0].mtu: 1500 makes packets that do "
                                     "not fit the MTU of port 'outside'; 1420 fits"});
  EXPECT_EQ(test::warnings_of(replaced(small_config(), "iface=lan0\n",
                                       "iface=lan0\n    addresses: [192.0.3.1/16]\n")),
            std::vector<std::string>{"gw.yaml:7:17: ports[1].addresses: 192.0.0.0/16 overlaps "
                                     "192.0.2.0/24 of port 'outside' at line 4, column 17"});
  EXPECT_EQ(
      test::warnings_of(replaced(
          replaced(small_config(), ", \"2001:db8::1/64\"", ""),
          "      - public_key: " + key_text(3),
          "      - endpoint: \"[2001:db8::7]:51820\"\n        public_key: " + key_text(3))),
      std::vector<std::string>{"gw.yaml:17:9: tunnels[0].peers[1].endpoint: [2001:db8::7]:51820 "
                               "cannot be called: port 'outside' has no IPv6 address"});
}

}  // namespace
}  // namespace turnpike::config

#include "config/importer.h"

#include <gtest/gtest.h>

#include "dataplane/base/text.h"
#include "fixtures.h"

namespace turnpike::config {
namespace {

using test::key_text;

std::vector<std::string> texts(const std::vector<ConfigError>& errors) {
  std::vector<std::string> out;
  for (const ConfigError& error : errors) out.push_back(to_string(error));
  return out;
}

TEST(Importer, ReadsWhatWgQuickReadsAndSaysWhatItLeavesOut) {
  const std::string text =
      "# the office\n"  // 1
      "[Interface]\n"   // 2
      "PrivateKey = " +
      key_text(1) +
      "\n"                                              // 3
      "Address = 10.8.0.1/24, fd00:8::1/64\n"           // 4
      "address=10.8.1.1/24  # another\n"                // 5
      "ListenPort = 51821\n"                            // 6
      "MTU = 1400\r\n"                                  // 7
      "DNS = 1.1.1.1\n"                                 // 8
      "PostUp = iptables -A FORWARD -i %i -j ACCEPT\n"  // 9
      "Table = off\n"                                   // 10
      "\n"                                              // 11
      "[Peer]\n"                                        // 12
      "PublicKey = " +
      key_text(2) +
      "\n"  // 13
      "PresharedKey = " +
      key_text(3) +
      "\n"                                       // 14
      "AllowedIPs = 10.8.0.2/32, 10.9.7.7/16\n"  // 15
      "AllowedIPs = fd00:8::2/128\n"             // 16
      "Endpoint = 198.51.100.7:51820\n"          // 17
      "PersistentKeepalive = 25\n"               // 18
      "[peer]\n"                                 // 19
      "PublicKey = " +
      key_text(4) +
      "\n"                                  // 20
      "Endpoint = vpn.example.com:51820\n"  // 21
      "AllowedIPs = 10.8.0.2\n"             // 22
      "PersistentKeepalive = off";          // 23
  const auto imported = import_wg(text, "wg0.conf", {.tunnel_name = "office"});
  ASSERT_TRUE(imported.has_value()) << to_string(imported.error().front());
  EXPECT_EQ(
      texts(imported->notes),
      (std::vector<std::string>{
          "wg0.conf:8:7: DNS is left out: a gateway resolves no names",
          "wg0.conf:9:10: PostUp is left out: no commands are run",
          "wg0.conf:10:9: Table is left out: routes follow the allowed IPs",
          "wg0.conf:15:14: 10.8.0.2/32 is left out: it stands with another peer at line 22, column "
          "14 too",
          "wg0.conf:15:27: '10.9.7.7/16' has bits set behind its length; 10.9.0.0/16 is taken",
          "wg0.conf:21:12: Endpoint 'vpn.example.com:51820' is left out: it is no ADDRESS:PORT, "
          "and names are not resolved"}));
  ASSERT_EQ(imported->config.tunnels.size(), 1u);
  ASSERT_EQ(imported->config.ports.size(), 2u);
  const Tunnel& tunnel = imported->config.tunnels[0];
  EXPECT_EQ(tunnel.name, "office");
  EXPECT_EQ(tunnel.private_key.bytes()[3], 1);
  EXPECT_EQ(tunnel.listen_port, 51821);
  EXPECT_EQ(tunnel.mtu, 1400);
  EXPECT_EQ(tunnel.outside, imported->config.ports[0].name);
  EXPECT_EQ(tunnel.inside, imported->config.ports[1].name);
  ASSERT_EQ(tunnel.addresses.size(), 3u);
  EXPECT_EQ(to_string(tunnel.addresses[2].value), "10.8.1.1/24");
  ASSERT_EQ(tunnel.peers.size(), 2u);
  const Peer& first = tunnel.peers[0];
  EXPECT_EQ(first.public_key.bytes[3], 2);
  EXPECT_EQ(first.preshared_key->bytes()[3], 3);
  EXPECT_EQ(to_string(first.endpoint), "198.51.100.7:51820");
  EXPECT_EQ(first.persistent_keepalive, 25);
  ASSERT_EQ(first.allowed_ips.size(), 2u);
  EXPECT_EQ(to_string(first.allowed_ips[0].prefix), "10.9.0.0/16");
  EXPECT_EQ(to_string(first.allowed_ips[1].prefix), "fd00:8::2/128");
  const Peer& second = tunnel.peers[1];
  EXPECT_TRUE(second.endpoint.is_none());
  EXPECT_FALSE(second.preshared_key.has_value());
  ASSERT_EQ(second.allowed_ips.size(), 1u);
  EXPECT_EQ(to_string(second.allowed_ips[0].prefix), "10.8.0.2/32");
}

TEST(Importer, NamesEveryMistakeWithItsPlace) {
  const std::string text =
      "stray = 1\n"                              // 1
      "[Interface]\n"                            // 2
      "ListenPort = 0\n"                         // 3
      "nonsense\n"                               // 4
      "  Colour = blue\n"                        // 5
      "[Peer]\n"                                 // 6
      "PublicKey = abc\n"                        // 7
      "AllowedIPs = 10.8.0.2/32, 10.8.0.3/33\n"  // 8
      "[Other]\n"                                // 9
      "[Peer]\n";                                // 10
  const auto imported = import_wg(text, "wg0.conf", {});
  ASSERT_FALSE(imported.has_value());
  EXPECT_EQ(texts(imported.error()),
            (std::vector<std::string>{
                "wg0.conf:1:1: 'stray' stands before [Interface] and [Peer]",
                "wg0.conf:1:1: there is no PrivateKey under [Interface]",
                "wg0.conf:3:14: '0' is no number from 1 to 65535",
                "wg0.conf:4:1: is no KEY = VALUE, [Interface] or [Peer]",
                "wg0.conf:5:12: unknown key 'Colour' of [Interface]",
                "wg0.conf:7:13: is no key; it has 3 characters, the base64 of 32 bytes has 44",
                "wg0.conf:8:27: prefix length 33 is above 32",
                "wg0.conf:9:1: '[Other]' is unknown; [Interface] or [Peer] is expected",
                "wg0.conf:10:1: this [Peer] has no PublicKey"}));
}

TEST(Importer, SaysThatAPeerStandsTwiceAndThatAPortWasChosen) {
  const std::string peer = "[Peer]\nPublicKey = " + key_text(2) + "\n";
  const std::string interface = "[Interface]\nPrivateKey = " + key_text(1) + "\n";
  const auto twice = import_wg(interface + peer + peer, "wg0.conf", {});
  ASSERT_FALSE(twice.has_value());
  EXPECT_EQ(texts(twice.error()),
            std::vector<std::string>{
                "wg0.conf:5:1: this peer stands at line 3, column 1 already; make one of the two"});
  const auto once = import_wg(interface + peer, "wg0.conf", {.listen_port = 4500});
  ASSERT_TRUE(once.has_value());
  EXPECT_EQ(once->config.tunnels[0].listen_port, 4500);
  EXPECT_EQ(texts(once->notes),
            std::vector<std::string>{"wg0.conf:1:1: there is no ListenPort; 4500 is taken"});
}

// The addresses of the ports are our own invention: they must not be in the way.
TEST(Importer, GivesThePortsAddressesWhereTheFileHasNone) {
  const auto ports = [](const std::string& addresses) {
    const auto imported = import_wg("[Interface]\nPrivateKey = " + key_text(1) +
                                        "\nListenPort = 1\nAddress = " + addresses + "\n",
                                    "wg0.conf", {});
    if (!imported) return texts(imported.error());
    std::vector<std::string> out;
    for (const Port& port : imported->config.ports) {
      out.push_back(to_string(port.addresses.at(0).value));
    }
    return out;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(ports("10.8.0.1/24"), (Texts{"192.0.2.1/24", "198.51.100.1/24"}));
  EXPECT_EQ(ports("192.0.2.1/24"), (Texts{"198.51.100.1/24", "203.0.113.1/24"}));
  EXPECT_EQ(ports("198.51.100.1/32, fd00::1/64"), (Texts{"192.0.2.1/24", "203.0.113.1/24"}));
  EXPECT_EQ(ports("192.0.2.7/8, 198.51.100.9/24, 203.0.113.1/24"),
            (Texts{"198.18.0.1/24", "198.18.1.1/24"}));
  EXPECT_EQ(ports("198.51.100.9/0"), (Texts{"192.0.2.1/24", "203.0.113.1/24"}));
}

TEST(Importer, MakesNoConfigurationThatWouldNotLoad) {
  const std::string interface = "[Interface]\nPrivateKey = " + key_text(1) + "\nListenPort = 1\n";
  const auto refused = [&](const std::string& lines, const ImportOptions& options = {}) {
    const auto imported = import_wg(interface + lines, "wg0.conf", options);
    return imported ? "" : to_string(imported.error().front());
  };
  EXPECT_EQ(refused(""), "");
  EXPECT_EQ(
      refused("", {.tunnel_name = "the office"}),
      "wg0.conf: the tunnel's name 'the office' is no good name; letters, digits and _ = + . - "
      "are allowed; --tunnel NAME gives it one");
  EXPECT_EQ(refused("", {.tunnel_name = "sixteen-bytes-it"}),
            "wg0.conf: the tunnel's name 'sixteen-bytes-it' is longer than 15 bytes; --tunnel NAME "
            "gives it one");
  EXPECT_EQ(refused("", {.tunnel_name = "fifteen-bytes-i"}), "");
  EXPECT_NE(refused("", {.tunnel_name = ""}), "");
  EXPECT_NE(refused("", {.tunnel_name = "x\xff"}), "");
  // wg-quick gives an interface any address.
  EXPECT_TRUE(
      refused("Address = 10.8.0.0/24\n").starts_with("wg0.conf:4:11: tunnels[0].addresses[0]: "))
      << refused("Address = 10.8.0.0/24\n");
  EXPECT_NE(refused("Address = 10.8.0.1/24, 10.8.0.1/24\n"), "");
  EXPECT_NE(refused("MTU = 600\nAddress = fd00::1/64\n"), "");
  const auto own = [](const PrivateKey&) noexcept {
    PublicKey key;
    key.bytes = base::key_from_base64(key_text(2)).value();
    return key;
  };
  EXPECT_NE(refused("[Peer]\nPublicKey = " + key_text(2) + "\n", {.public_key_of = own}), "");
}

TEST(Importer, KnowsEveryKeyOfWgAndWgQuick) {
  const std::string text =
      "[interface]\nprivatekey=" + key_text(1) +
      "\nLISTENPORT=7\nFwMark = 0x10\nDNS = 1.1.1.1, example.org\nTable = auto\nPreUp = a\nPostUp "
      "= b = "
      "c\nPreDown = d\nPostDown = e # f\nSaveConfig = true\nMTU = 1400\nAddress = 10.8.0.1\n"
      "[PEER]\npublickey=" +
      key_text(2) +
      "\nPresharedKey = (none)\nAllowedIPs =\nallowedips = 10.0.0.0/8,, ::/0 ,\nEndpoint = "
      "[2001:db8::1]:7\n"
      "PersistentKeepalive = 0\n";
  const auto imported = import_wg(text, "wg0.conf", {});
  ASSERT_TRUE(imported.has_value()) << to_string(imported.error().front());
  std::vector<std::string> left_out;
  for (const ConfigError& note : imported->notes) {
    left_out.push_back(note.message.substr(0, note.message.find(" is left out")));
  }
  EXPECT_EQ(left_out, (std::vector<std::string>{"FwMark", "DNS", "Table", "PreUp", "PostUp",
                                                "PreDown", "PostDown", "SaveConfig"}));
  const Tunnel& tunnel = imported->config.tunnels[0];
  EXPECT_EQ(to_string(tunnel.addresses[0].value), "10.8.0.1/32");
  ASSERT_EQ(tunnel.peers[0].allowed_ips.size(), 2u);
  EXPECT_EQ(to_string(tunnel.peers[0].endpoint), "[2001:db8::1]:7");
}

}  // namespace
}  // namespace turnpike::config

#include "config/exporter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "config/load.h"
#include "dataplane/base/text.h"
#include "fixtures.h"

namespace turnpike::config {
namespace {

namespace fs = std::filesystem;

// Writes what export_config() gives, with every secret in a file of its own, and loads it.
class ExporterTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "turnpike-export-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<Config, std::vector<ConfigError>> round_trip(const Config& config) {
    const SecretFiles files{.private_key =
                                [&](const Tunnel& tunnel) {
                                  return secret(tunnel.name + ".key", tunnel.private_key.bytes());
                                },
                            .preshared_key =
                                [&](const Tunnel& tunnel, const Peer& peer, size_t index) {
                                  return secret(tunnel.name + "-" + std::to_string(index) + ".psk",
                                                peer.preshared_key->bytes());
                                },
                            .missing = {}};
    text_ = export_config(config, files);
    std::ofstream(folder_ / "out.yaml") << text_;
    return load_config(folder_ / "out.yaml");
  }

  std::string secret(const std::string& name, std::span<const uint8_t, 32> key) {
    std::ofstream(folder_ / name) << base::key_to_base64(key) << "\n";
    fs::permissions(folder_ / name, fs::perms::owner_read | fs::perms::owner_write);
    return name;
  }

  fs::path folder_;
  std::string text_;
};

TEST_F(ExporterTest, WritesWhatLoadsToTheSameValue) {
  const std::string text =
      "dataplane: {workers: [2, 4], main_core: 1, session_cores: [3], hugepages: true,\n"
      "  memory: 2048, file_prefix: 'on', aead: cryptodev, crypto_device: 'crypto_x0,a=b',\n"
      "  crypto_sessions: 8, idle: poll, eal: ['--log-level', "
      "'a:b']}\n"
      "ports:\n"
      "  - {name: wan, device: '0000:01:00.0', addresses: [192.0.2.1/24, '2001:db8::1/64'],\n"
      "     mtu: 9000, routes: [{to: 0.0.0.0/0, via: 192.0.2.254}, {to: '::/0', via: 'fe80::1'}]}\n"
      "  - {name: '1.5', device: \"net_tap0,iface=a b\"}\n"
      "tunnels:\n"
      "  - name: 'null'\n"
      "    private_key: " +
      test::key_text(1) +
      "\n"
      "    listen_port: 51821\n"
      "    outside: wan\n"
      "    inside: '1.5'\n"
      "    mtu: 1400\n"
      "    addresses: [10.8.0.1/24, 'fd00:8::1/64']\n"
      "    conflicts: move\n"
      "    peer_to_peer: false\n"
      "    peers:\n"
      "      - name: \"alice \\\"the\\\" smith: #1\"\n"
      "        description: \"two\\nlines \\\\ \\u00e4 'x'\"\n"
      "        enabled: false\n"
      "        public_key: " +
      test::key_text(2) +
      "\n"
      "        preshared_key: " +
      test::key_text(3) +
      "\n"
      "        endpoint: \"[2001:db8::7]:51820\"\n"
      "        allowed_ips: [10.8.0.2, 10.9.0.0/16, '::/0']\n"
      "        persistent_keepalive: 25\n"
      "      - {public_key: " +
      test::key_text(4) +
      "}\n"
      "control: {socket: /run/a/c.sock, group: netops, wg_socket_dir: '', metrics: '[::1]:9000',\n"
      "  state: /tmp/state.db, durability: off}\n";
  const auto before = parse_config(text, "gw.yaml", "");
  ASSERT_TRUE(before.has_value()) << to_string(before.error().front());
  const auto after = round_trip(*before);
  ASSERT_TRUE(after.has_value()) << to_string(after.error().front()) << "\n" << text_;
  EXPECT_TRUE(*before == *after) << text_;
  EXPECT_EQ(text_.find(test::key_text(1)), std::string::npos) << "a private key in the text";
  EXPECT_EQ(text_.find(test::key_text(3)), std::string::npos) << "a preshared key in the text";
}

TEST_F(ExporterTest, WritesDefaultsAndEmptyLists) {
  const auto before = parse_config("ports: [{name: a, device: d}]\ntunnels: []\n", "gw.yaml", "");
  ASSERT_TRUE(before.has_value());
  const auto after = round_trip(*before);
  ASSERT_TRUE(after.has_value()) << to_string(after.error().front()) << "\n" << text_;
  EXPECT_TRUE(*before == *after) << text_;
}

TEST_F(ExporterTest, SaysWhichKeyFilesAreToBeMade) {
  auto config = parse_config(test::small_config(), "gw.yaml", "");
  ASSERT_TRUE(config.has_value());
  config->tunnels[0].peers[0].preshared_key.emplace();
  SecretFiles files = secret_names("keys");
  files.missing = [](const Tunnel&, const Peer* peer) { return peer == nullptr; };
  const std::string text = export_config(*config, files);
  const std::string tunnel = config->tunnels[0].name;
  EXPECT_NE(text.find("private_key_file: keys/" + tunnel + ".key  # stands in no file yet"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(".psk\n"), std::string::npos) << text;
}

TEST_F(ExporterTest, GivesPeersWhoseKeysBeginAlikeFilesOfTheirOwn) {
  Tunnel tunnel;
  tunnel.name = "wg0";
  Peer one, two;
  one.public_key.bytes.fill(7);
  two.public_key.bytes.fill(7);
  two.public_key.bytes.back() = 8;
  const SecretFiles files = secret_names("keys");
  EXPECT_NE(files.preshared_key(tunnel, one, 0), files.preshared_key(tunnel, two, 1));
}

TEST_F(ExporterTest, WritesInPiecesWhateverTheSize) {
  auto config = parse_config(test::small_config(), "gw.yaml", "");
  ASSERT_TRUE(config.has_value());
  Tunnel& tunnel = config->tunnels[0];
  tunnel.peers.resize(1);
  tunnel.peers[0].allowed_ips.clear();
  for (uint32_t i = 0; i < 1'000; ++i) {
    tunnel.peers[0].allowed_ips.push_back(
        {Prefix::masked(IpAddress::v4(0x0a000000 + (i << 8)), 24), {}});
  }
  for (uint32_t i = 0; i < 500; ++i) {
    Peer& peer = tunnel.peers.emplace_back();
    peer.public_key.bytes[0] = static_cast<uint8_t>(i);
    peer.public_key.bytes[1] = static_cast<uint8_t>(1 + (i >> 8));
    if (i % 2 == 0) {
      peer.allowed_ips.push_back({Prefix::masked(IpAddress::v4(0x0b000000 + (i << 8)), 24), {}});
    }
  }
  config::Exporter exporter(*config, secret_names(""), {"one", "two\nlines"});
  std::string all;
  size_t longest = 0;
  for (bool more = true; more;) {
    std::string piece;
    more = exporter.next(piece);
    longest = std::max(longest, piece.size());
    all += piece;
  }
  EXPECT_LT(longest, 20'000u);
  EXPECT_TRUE(all.starts_with("# one\n# two lines\n")) << all.substr(0, 40);
  secret(tunnel.name + ".key", tunnel.private_key.bytes());
  std::ofstream(folder_ / "out.yaml") << all;
  const auto after = load_config(folder_ / "out.yaml");
  ASSERT_TRUE(after.has_value()) << to_string(after.error().front());
  EXPECT_TRUE(*config == *after);
  ASSERT_NE(find_secret_file(*after, 0), nullptr);
  EXPECT_EQ(find_secret_file(*after, 0)->path, (folder_ / (tunnel.name + ".key")).string());
  EXPECT_EQ(find_secret_file(*after, 0, tunnel.peers[1].public_key), nullptr);
}

TEST_F(ExporterTest, AnyPrintableTextSurvives) {
  const char* given = std::getenv("TURNPIKE_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(testing::Message() << "TURNPIKE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto start = parse_config(test::small_config(), "gw.yaml", "");
  ASSERT_TRUE(start.has_value());
  static const char* const kPieces[] = {"a",
                                        " ",
                                        "\"",
                                        "\\",
                                        "'",
                                        "#",
                                        ": ",
                                        "- ",
                                        "\n",
                                        "\t",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        "&",
                                        "*",
                                        "!",
                                        "|",
                                        ">",
                                        "%",
                                        "@",
                                        "`",
                                        ",",
                                        "?",
                                        "~",
                                        "0",
                                        "\xc3\xa4",
                                        "---",
                                        "\\n",
                                        "\xe2\x80\xa8",
                                        "\xf0\x9f\x98\x80"};
  for (int round = 0; round < 200; ++round) {
    Config config = *start;
    std::string text;
    const size_t count = random() % 12;
    for (size_t i = 0; i < count; ++i) text += kPieces[random() % std::size(kPieces)];
    config.tunnels[0].peers[0].description = text;
    const auto after = round_trip(config);
    ASSERT_TRUE(after.has_value()) << to_string(after.error().front()) << "\n" << text_;
    ASSERT_EQ(after->tunnels[0].peers[0].description, text);
  }
}

}  // namespace
}  // namespace turnpike::config

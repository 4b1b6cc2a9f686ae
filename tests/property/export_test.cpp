// Any state, made of a random file and random edits at run time, exported, loaded and applied to an empty gateway:
// the same state again.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "config/exporter.h"
#include "config/load.h"
#include "control/cli/secret_files.h"
#include "control/gateway/file_transaction.h"
#include "control/gateway/running_config.h"
#include "control/state/plan.h"
#include "dataplane/crypto/x25519.h"
#include "tests/support/sim_seeds.h"

namespace turnpike {
namespace {

namespace fs = std::filesystem;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t below(uint64_t bound) { return engine_() % bound; }
  bool maybe() { return below(2) == 0; }
  template <typename Items>
  const auto& of(const Items& items) {
    return items[below(std::size(items))];
  }
  template <typename Key>
  Key key() {
    std::array<uint8_t, kKeyBytes> bytes;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(below(256));
    if constexpr (std::is_same_v<Key, PublicKey>) {
      return {.bytes = bytes};
    } else {
      return Key(bytes);
    }
  }
  std::string text(size_t pieces_max) {
    static const char* const kPieces[] = {"a",
                                          " b",
                                          "\"",
                                          "\\",
                                          "'",
                                          "#",
                                          ": ",
                                          "- ",
                                          "x\ny",
                                          "\t.",
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
                                          "---",
                                          "\\n",
                                          "no",
                                          "null",
                                          "1e3",
                                          "0x1f",
                                          "\xc3\xa4",
                                          "...",
                                          "\xe2\x80\xa8",
                                          "=",
                                          "<<",
                                          "\xef\xbb\xbf",
                                          "\xf0\x9f\x98\x80"};
    std::string text;
    for (size_t i = below(pieces_max + 1); i > 0; --i) text += of(kPieces);
    return text;
  }
  // Some of those that the API takes.
  std::string api_name() {
    std::string name;
    for (size_t i = 1 + below(12); i > 0; --i) name += static_cast<char>(0x21 + below(0x5e));
    if (name.front() == '-') name.front() = '_';
    return name;
  }
  Prefix prefix() {
    static const char* const kPool[] = {
        "0.0.0.0/0",      "10.0.0.0/8",    "10.1.0.0/16",   "10.1.2.3/32",   "10.1.2.2/31",
        "192.168.0.0/24", "172.16.5.4/32", "::/0",          "fd00::/8",      "fd00:1::/64",
        "fd00:1::1/128",  "2001:db8::/32", "::ffff:0:0/96", "100.64.0.0/10", "fe80::1/128"};
    return parse_prefix(of(kPool)).value();
  }
  Endpoint endpoint() {
    static const char* const kPool[] = {"198.51.100.7:51820", "[2001:db8::7]:1",
                                        "203.0.113.255:65535", "[fe80::1:2]:9",
                                        "[::ffff:192.0.2.1]:7"};
    return maybe() ? Endpoint{} : parse_endpoint(of(kPool)).value();
  }

 private:
  std::mt19937_64 engine_;
};

config::Peer random_peer(Random& random) {
  config::Peer peer;
  peer.public_key = random.key<PublicKey>();
  if (random.maybe()) {
    // As a file takes them: any text that neither begins nor ends with a blank.
    std::string name = "n" + random.text(4) + "." + std::to_string(random.below(1'000'000));
    std::erase_if(name, [](char c) { return c == '\n' || c == '\t'; });
    if (name.size() <= 128) peer.name = name;
  }
  peer.description = random.text(10);
  if (random.maybe()) peer.preshared_key = random.key<PresharedKey>();
  peer.endpoint = random.endpoint();
  peer.persistent_keepalive = static_cast<uint16_t>(random.maybe() ? 0 : random.below(65'536));
  peer.enabled = random.below(4) != 0;
  return peer;
}

config::Tunnel random_tunnel(Random& random, size_t number,
                             const std::vector<config::Port>& ports) {
  config::Tunnel tunnel;
  tunnel.name = std::string(random.maybe() ? "wg" : "on.") + std::to_string(number);
  tunnel.private_key = random.key<PrivateKey>();
  tunnel.listen_port = static_cast<uint16_t>(1 + 100 * number + random.below(99));
  tunnel.outside = ports[0].name;
  tunnel.inside = ports[1].name;
  tunnel.mtu = static_cast<uint16_t>(1280 + random.below(140));
  if (random.maybe()) {
    tunnel.addresses.push_back(
        {*parse_interface_address("10.8." + std::to_string(number) + ".1/24"), {}});
  }
  if (random.maybe()) {
    tunnel.addresses.push_back(
        {*parse_interface_address("fd00:8:" + std::to_string(number) + "::1/64"), {}});
  }
  tunnel.conflicts = random.maybe() ? config::ConflictPolicy::Move : config::ConflictPolicy::Refuse;
  tunnel.peer_to_peer = random.maybe();
  std::set<Prefix> owned;
  for (size_t i = random.below(7); i > 0; --i) {
    config::Peer peer = random_peer(random);
    std::set<Prefix> list;
    for (size_t p = random.below(4); p > 0; --p) list.insert(random.prefix());
    for (const Prefix& prefix : list) {
      if (peer.enabled && !owned.insert(prefix).second) continue;
      peer.allowed_ips.push_back({prefix, {}});
    }
    tunnel.peers.push_back(std::move(peer));
  }
  return tunnel;
}

config::Config random_config(Random& random) {
  config::Config config;
  config::Dataplane& dataplane = config.dataplane;
  dataplane.workers.clear();
  for (uint32_t i = 0; i <= random.below(4); ++i) dataplane.workers.push_back(4 * i + 1);
  dataplane.main_core = static_cast<uint32_t>(4 * random.below(100));
  dataplane.session_cores = {2};
  if (random.maybe()) dataplane.session_cores.push_back(6);
  dataplane.hugepages = random.maybe();
  dataplane.memory_mib = static_cast<uint32_t>(64 + random.below(10'000));
  dataplane.file_prefix = random.maybe() ? "no" : "turn_pike-7.x";
  dataplane.aead = static_cast<config::AeadChoice>(random.below(4));
  if (dataplane.aead == config::AeadChoice::Cryptodev || random.below(2) == 0) {
    dataplane.crypto_device = "crypto_aesni_mb0,max_nb_queue_pairs=4";
  }
  dataplane.crypto_sessions = 8 + static_cast<uint32_t>(random.below(1'000));
  dataplane.idle = static_cast<config::IdlePolicy>(random.below(2));
  for (size_t i = random.below(3); i > 0; --i) {
    static const char* const kArguments[] = {"--log-level", "lib.eal:debug", "a: b", "#", "-1",
                                             "[x]"};
    dataplane.eal.emplace_back(random.of(kArguments));
  }
  for (size_t i = 0; i < 2 + random.below(3); ++i) {
    const std::string number = std::to_string(i);
    config::Port& port = config.ports.emplace_back();
    port.name = (random.maybe() ? "port" : "1.") + number;
    port.device =
        random.maybe() ? "0000:0" + number + ":00.0" : "net_tap" + number + ",iface=a b\"#";
    port.mtu = static_cast<uint16_t>(1600 + random.below(7'000));
    port.spread = static_cast<config::SpreadPolicy>(random.below(3));
    port.addresses.push_back({*parse_interface_address("192.0." + number + ".1/24"), {}});
    if (random.maybe()) {
      port.addresses.push_back({*parse_interface_address("2001:db8:" + number + "::1/64"), {}});
      port.routes.push_back({*parse_prefix("2000::/3"), *parse_ip("fe80::9"), {}});
    }
    if (random.maybe()) {
      port.routes.push_back(
          {*parse_prefix("203.0.113.0/24"), *parse_ip("192.0." + number + ".254"), {}});
    }
  }
  for (size_t i = random.below(4); i > 0; --i) {
    config.tunnels.push_back(random_tunnel(random, i, config.ports));
  }
  config::Control& control = config.control;
  control.socket = random.maybe() ? "/run/turnpike/control.sock" : "/tmp/a b: #'\"/c.sock";
  control.group = random.maybe() ? "" : "net ops";
  control.wg_socket_dir = random.maybe() ? "" : "/var/run/wireguard";
  if (random.maybe()) control.metrics.reset();
  if (random.maybe()) control.metrics = *parse_endpoint("[::1]:9000");
  control.state = random.maybe() ? "/var/lib/x.db" : "/tmp/yes";
  control.durability = random.maybe() ? config::Durability::Off : config::Durability::Full;
  return config;
}

// What tunnels, peers and prefixes are, whatever slots they are in and whoever asked for them.
using PeerKey = std::pair<std::string, PublicKey>;
struct Content {
  std::map<std::string, std::tuple<uint16_t, state::ConflictPolicy, PublicKey>> tunnels;
  std::map<PeerKey, std::tuple<std::string, std::string, PresharedKey, Endpoint, uint16_t, bool,
                               std::set<Prefix>>>
      peers;
  bool operator==(const Content&) const = default;
};

Content content_of(const state::State& state) {
  Content content;
  for (const state::Tunnel& tunnel : state.tunnels()) {
    if (tunnel.index == kNoTunnel) continue;
    content.tunnels[tunnel.name] = {tunnel.listen_port, tunnel.conflicts, tunnel.public_key};
  }
  for (uint32_t slot = state.next_peer(0); slot != state::kNoSlot;
       slot = state.next_peer(slot + 1)) {
    const state::PeerAttributes peer = state.peer(slot).attributes();
    std::set<Prefix> prefixes;
    state.for_each_claim(slot, [&](const state::Claim& claim) { prefixes.insert(claim.prefix); });
    content.peers[{state.tunnel(state.peer(slot).tunnel).name, peer.public_key}] = {
        peer.name,          peer.description,          peer.preshared_key,
        peer.endpoint,      peer.persistent_keepalive, peer.enabled,
        std::move(prefixes)};
  }
  return content;
}

class World {
 public:
  explicit World(uint64_t seed) : random_(seed), file_(random_config(random_)) {
    EXPECT_TRUE(commit(gateway::difference(config::Config{}, file_).transaction));
  }

  // At run time; what is refused changes nothing.
  void edit() {
    if (file_.tunnels.empty()) return;
    state::Edit edit;
    edit.tunnel = random_.of(file_.tunnels).name;
    const state::Tunnel& tunnel = *state_.find_tunnel(edit.tunnel);
    edit.peer = some_peer(tunnel.index);
    for (size_t i = 1 + random_.below(2); i > 0; --i) {
      const Prefix prefix = random_.prefix();
      if (std::ranges::find(edit.prefixes, prefix) == edit.prefixes.end()) {
        edit.prefixes.push_back(prefix);
      }
    }
    static constexpr state::Op kOps[] = {
        state::Op::Claim,   state::Op::Release,    state::Op::Replace,
        state::Op::Move,    state::Op::PeerAdd,    state::Op::PeerSet,
        state::Op::PeerSet, state::Op::PeerRemove, state::Op::TunnelSet};
    edit.op = random_.of(kOps);
    if (edit.op == state::Op::Move) edit.to = some_peer(tunnel.index);
    if (edit.op == state::Op::PeerAdd) edit.public_key = random_.key<PublicKey>();
    if (edit.op == state::Op::PeerAdd || edit.op == state::Op::PeerSet) edit.patch = patch();
    if (edit.op == state::Op::TunnelSet) {  // as wg(8) does
      auto set = std::make_shared<state::Tunnel>(tunnel);
      set->listen_port = static_cast<uint16_t>(10'000 * (1 + tunnel.index) + random_.below(9'999));
      if (random_.maybe()) {
        set->private_key = random_.key<PrivateKey>();
        set->public_key = crypto::public_key(set->private_key);
      }
      edit.new_tunnel = std::move(set);
    }
    edits_made_ += commit({.edits = {std::move(edit)}});
  }

  gateway::RunningConfig running() const {
    return gateway::running_config(state_, topology(file_), file_, file_);
  }
  static gateway::Topology topology(const config::Config& config) {
    return gateway::topology_of(config, std::vector<MacAddress>(config.ports.size()));
  }
  [[nodiscard]] const config::Config& file() const { return file_; }
  [[nodiscard]] const state::State& state() const { return state_; }
  [[nodiscard]] size_t edits_made() const { return edits_made_; }

 private:
  bool commit(const state::Transaction& transaction) {
    const auto change = state::plan(state_, transaction);
    if (change) state_.apply(*change);
    return change.has_value();
  }
  PublicKey some_peer(TunnelIndex tunnel) {
    std::vector<PublicKey> keys;
    for (uint32_t slot = state_.next_peer(0); slot != state::kNoSlot;
         slot = state_.next_peer(slot + 1)) {
      if (state_.peer(slot).tunnel == tunnel) keys.push_back(state_.peer(slot).public_key);
    }
    return keys.empty() ? PublicKey{} : random_.of(keys);
  }
  state::PeerPatch patch() {
    state::PeerPatch patch;
    if (random_.maybe()) patch.name = random_.maybe() ? "" : random_.api_name();
    if (random_.maybe()) patch.description = random_.text(12);
    if (random_.maybe()) {
      patch.preshared_key = random_.maybe() ? PresharedKey{} : random_.key<PresharedKey>();
    }
    if (random_.maybe()) patch.endpoint = random_.endpoint();
    if (random_.maybe()) patch.persistent_keepalive = static_cast<uint16_t>(random_.below(65'536));
    if (random_.maybe()) patch.enabled = random_.maybe();
    return patch;
  }

  Random random_;
  config::Config file_;
  state::State state_;
  size_t edits_made_ = 0;
};

class Export : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "turnpike-export-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(Export, OfAnyStateLoadsToTheSameState) {
  size_t edits = 0;
  for (const uint64_t seed : sim::seeds(200)) {
    SCOPED_TRACE(testing::Message() << "TURNPIKE_SEED=" << seed);
    World world(seed);
    for (int i = 0; i < 30; ++i) world.edit();
    edits += world.edits_made();
    const gateway::RunningConfig running = world.running();
    EXPECT_TRUE(running.notes.empty()) << running.notes.front();
    // No edit at run time reaches a port.
    EXPECT_TRUE(running.config.ports == world.file().ports);

    const fs::path folder = folder_ / std::to_string(seed);
    fs::create_directory(folder);
    const auto written = cli::write_secrets(running.config, folder / "keys");
    ASSERT_TRUE(written) << written.error();
    EXPECT_EQ(*written, running.keys_without_file);
    const std::string text = config::export_config(running.config, config::secret_names("keys"));
    std::ofstream(folder / "turnpike.yaml") << text;
    const auto loaded = config::load_config(folder / "turnpike.yaml");
    ASSERT_TRUE(loaded) << config::to_string(loaded.error().front()) << "\n" << text;
    ASSERT_TRUE(*loaded == running.config) << text;

    // And it is what a gateway makes of it that has nothing yet.
    state::State fresh;
    const auto change =
        state::plan(fresh, gateway::difference(config::Config{}, *loaded).transaction);
    ASSERT_TRUE(change) << state::describe(change.error().conflicts.front()) << "\n" << text;
    fresh.apply(*change);
    ASSERT_TRUE(content_of(fresh) == content_of(world.state())) << text;
    const gateway::RunningConfig again =
        gateway::running_config(fresh, World::topology(*loaded), *loaded, *loaded);
    EXPECT_TRUE(again.config == running.config) << text;
    EXPECT_EQ(again.keys_without_file, 0u);  // all of them have files now
    fs::remove_all(folder);
  }
  if (std::getenv("TURNPIKE_SEED") == nullptr) {
    EXPECT_GT(edits, 1'000u);
  }
}

}  // namespace
}  // namespace turnpike

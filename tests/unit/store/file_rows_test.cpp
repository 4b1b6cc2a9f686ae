#include "control/store/file_rows.h"

#include <algorithm>

#include "tests/unit/store/store_fixture.h"

namespace turnpike::store {
namespace {

config::Peer peer(uint64_t key, const char* name, const char* prefix) {
  config::Peer out{.name = name, .public_key = state::key_of(key)};
  out.allowed_ips.push_back({.prefix = parse_prefix(prefix).value(), .at = {}});
  return out;
}

config::Config file(std::vector<config::Tunnel> tunnels) {
  config::Config out;
  out.tunnels = std::move(tunnels);
  return out;
}

class FileRowsTest : public StoreTest {
 protected:
  void write(const config::Config& before, const config::Config& after) {
    Record record;
    record.file = std::make_shared<const FileRows>(file_rows(before, after));
    const Entry entry = std::move(record);
    ASSERT_TRUE(store_->write({&entry, 1}).has_value());
  }
  // Rows come in order of name and key.
  void expect(config::Config wanted) {
    for (config::Tunnel& tunnel : wanted.tunnels) {
      std::ranges::sort(tunnel.peers, {}, &config::Peer::public_key);
    }
    EXPECT_EQ(load().file.tunnels, wanted.tunnels);
  }
};

TEST_F(FileRowsTest, TheFileAppliedLastComesBackAfterEachReload) {
  config::Tunnel wg0{.name = "wg0", .listen_port = 1, .outside = "o", .inside = "i"};
  wg0.peers = {peer(1, "a", "10.0.0.1/32"), peer(2, "b", "10.0.0.2/32")};
  config::Tunnel wg1{.name = "wg1", .listen_port = 2, .outside = "o", .inside = "i"};
  wg1.peers = {peer(3, "c", "10.0.0.3/32")};
  const config::Config first = file({wg0, wg1});
  write({}, first);
  expect(first);
  wg0.peers = {peer(2, "b", "10.0.0.9/32"), peer(4, "d", "10.0.0.4/32")};
  wg0.mtu = 1300;
  const config::Config second = file({wg0, wg1});
  write(first, second);
  expect(second);
  const config::Config third = file({wg1});
  write(second, third);
  expect(third);
  EXPECT_EQ(load().generation, 0u);  // a file alone is no commit
}

TEST_F(FileRowsTest, WhatIsTheSameIsNotWritten) {
  config::Tunnel wg0{.name = "wg0", .listen_port = 1, .outside = "o", .inside = "i"};
  for (uint64_t i = 1; i <= 100; ++i) wg0.peers.push_back(peer(i, "", "10.0.0.1/32"));
  const config::Config before = file({wg0});
  EXPECT_TRUE(file_rows(before, before).empty());
  wg0.peers[50].description = "other";
  std::ranges::reverse(wg0.peers);
  const FileRows rows = file_rows(before, file({wg0}));
  EXPECT_TRUE(rows.tunnels.empty());
  ASSERT_EQ(rows.peers.size(), 1u);
  EXPECT_EQ(rows.peers[0].public_key, state::key_of(51));
}

}  // namespace
}  // namespace turnpike::store

#include "control/gateway/restart_keys.h"

#include <gtest/gtest.h>

#include "tests/unit/gateway/files.h"
#include "tests/unit/gone_directory.h"

namespace turnpike::gateway {
namespace {

std::string paths(const config::Config& started, const config::Config& after) {
  std::string all;
  for (const auto& error : restart_keys(started, after)) {
    EXPECT_EQ(error.message.rfind("restart needed: ", 0), 0u);
    all += error.path + " ";
  }
  return all;
}

TEST(RestartKeys, PeersTunnelsRoutesAndAddressesNeedNone) {
  config::Config after = test::three_peers();
  after.tunnels[0].listen_port = 1;
  after.tunnels[0].mtu = 1280;
  after.tunnels.push_back(test::tunnel("wg1", 51821, {}));
  after.ports[0].addresses.clear();
  after.ports[1].routes.push_back({});
  EXPECT_EQ(paths(test::three_peers(), after), "");
}

TEST(RestartKeys, PathsAreComparedWithoutAWorkingDirectory) {
  const turnpike::test::GoneDirectory gone;
  config::Config before = test::three_peers(), after = test::three_peers();
  before.control.state = "run/state";
  after.control.state = "./run//state";
  EXPECT_EQ(paths(before, after), "");
  after.control.state = "run/other";
  EXPECT_EQ(paths(before, after), "control.state ");
}

TEST(RestartKeys, EachKeyThatIsReadAtStartIsNamed) {
  config::Config after = test::three_peers();
  after.dataplane.workers = {1, 2};
  after.dataplane.memory_mib = 4096;
  after.dataplane.aead = config::AeadChoice::Cryptodev;
  after.dataplane.crypto_device = "crypto_aesni_mb0";
  after.dataplane.crypto_sessions = 99;
  after.ports[0].device = "net_tap_other";
  after.ports[1].mtu = 9000;
  after.ports[1].spread = config::SpreadPolicy::Never;
  after.control.metrics.reset();
  after.control.durability = config::Durability::Off;
  EXPECT_EQ(paths(test::three_peers(), after),
            "dataplane.workers dataplane.memory dataplane.aead "
            "dataplane.crypto_device dataplane.crypto_sessions ports[0].device ports[1].mtu "
            "ports[1].spread "
            "control.metrics control.durability ");
}

TEST(RestartKeys, PortsThatComeOrGoAreNamed) {
  config::Config after = test::three_peers();
  after.ports[0].name = "uplink";
  const auto found = restart_keys(test::three_peers(), after);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].message, "restart needed: port uplink is new");
  EXPECT_EQ(found[1].message, "restart needed: port outside is gone");
}

TEST(RestartKeys, TheOrderOfPortsAndHowAFileIsNamedDoNotMatter) {
  config::Config after = test::three_peers();
  std::swap(after.ports[0], after.ports[1]);
  after.control.state = "/var/lib/turnpike/../turnpike/./state.db";
  EXPECT_EQ(paths(test::three_peers(), after), "");
  order_ports(test::three_peers(), after);
  EXPECT_EQ(after.ports[0].name, "outside");
  EXPECT_EQ(after.ports[1].name, "inside");
}

}  // namespace
}  // namespace turnpike::gateway

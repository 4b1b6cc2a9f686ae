// The sockets of wg(8), spoken to by raw text and by Debian's wg in a mount namespace of its own.
#include "control/api/wg_server.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "dataplane/base/text.h"
#include "tests/unit/api/live_server.h"

namespace turnpike::api {
namespace {

std::string hex(uint8_t number) { return base::to_hex(test_key(number).bytes); }

class WgServerTest : public testing::Test {
 protected:
  WgServerTest() {
    server_.on_thread([this] {
      wg_ = std::make_unique<WgServer>(server_.io(), server_.backend, directory());
      const auto added = wg_->add("wg0");
      EXPECT_TRUE(added) << added.error();
    });
  }
  ~WgServerTest() override {
    server_.on_thread([this] { wg_.reset(); });
  }
  [[nodiscard]] std::string directory() const { return server_.directory() + "/wireguard"; }
  [[nodiscard]] std::string path() const { return directory() + "/wg0.sock"; }
  std::string ask(const std::string& request) {
    RawClient client(path());
    client.send(request);
    return client.receive("\n\n");
  }

  // Runs a shell script where /var/run/wireguard is our directory; its output, then its exit status.
  std::string shell(const std::string& script) {
    const std::string file = server_.directory() + "/script";
    std::ofstream(file) << "mount -t tmpfs none /run && mkdir -p /run/wireguard && mount --bind '"
                        << directory() << "' /run/wireguard || exit 99\ncd '" << server_.directory()
                        << "'\n"
                        << script << "\n";
    const std::string out = server_.directory() + "/out";
    const std::string unshare = geteuid() == 0 ? "unshare -m" : "unshare -rm";
    const int status = std::system((unshare + " sh " + file + " > " + out + " 2>&1").c_str());
    std::ifstream stream(out);
    return std::string(std::istreambuf_iterator<char>(stream), {}) +
           std::to_string(WEXITSTATUS(status));
  }

  LiveServer server_;
  std::unique_ptr<WgServer> wg_;
};

TEST_F(WgServerTest, AnswersGetAndSetOnOneConnection) {
  struct stat made{};
  ASSERT_EQ(::stat(path().c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07777, 0600u);
  RawClient client(path());
  client.send("get=1\n\nset=1\npublic_key=" + hex(9) + "\nallowed_ip=10.9.0.0/16\n\nget=1\n");
  std::string got = client.receive("errno=0\n\nerrno=0\n\n");
  EXPECT_EQ(got.find(hex(9)), std::string::npos);
  EXPECT_TRUE(got.ends_with("errno=0\n\nerrno=0\n\n")) << got;
  client.send("\n");
  got = client.receive("\n\n");
  EXPECT_NE(got.find(hex(9)), std::string::npos);
}

TEST_F(WgServerTest, PutsAMinusBeforeTheErrorsOfASetOnly) {
  EXPECT_EQ(ask("set=1\npublic_key=" + hex(2) + "\nallowed_ip=10.8.0.2/32\n\n"),
            "conflict_allowed_ip=10.8.0.2/32\nconflict_owner=alice\nconflict_peer=" + hex(1) +
                "\nerrno=-17\n\n");
  EXPECT_EQ(ask("set=1\nx=y\n\n"), "errno=-22\n\n");
  EXPECT_EQ(ask("set=1\nx\n\n"), "errno=-71\n\n");
  EXPECT_EQ(ask("get=1\nx=y\n\n"), "errno=22\n\n");
  server_.on_thread([this] {
    auto other = std::make_shared<state::Tunnel>();
    other->listen_port = 7;
    server_.backend.apply({{.op = state::Op::TunnelAdd, .tunnel = "wg1", .new_tunnel = other}});
  });
  EXPECT_EQ(ask("set=1\nlisten_port=7\n\n"), "errno=-98\n\n");
  EXPECT_EQ(ask("set=1\nlisten_port=8\n\n"), "errno=0\n\n");
}

TEST_F(WgServerTest, LetsProbesGoAndSurvivesBrokenClients) {
  for (int i = 0; i < 300; ++i) RawClient probe(path());
  {
    RawClient half(path());
    half.send("set=1\npublic_key=" + hex(9));
  }
  RawClient long_line(path());
  long_line.send("set=1\n" + std::string(100'000, 'x'));
  EXPECT_EQ(long_line.receive(), "errno=-71\n\n");
  EXPECT_TRUE(ask("get=1\n\n").ends_with("errno=0\n\n"));
  server_.on_thread([this] {
    EXPECT_EQ(server_.backend.state().peer_count(), 3u);
    EXPECT_FALSE(wg_->add("a/b"));
    EXPECT_FALSE(wg_->add("a-name-too-long-for-wg"));
    EXPECT_FALSE(wg_->add(""));
    wg_->remove("wg0");
  });
  EXPECT_NE(::access(path().c_str(), F_OK), 0);
}

TEST_F(WgServerTest, WorksWithEverySubcommandOfWg) {
  if (shell("command -v wg") == "1") FAIL() << "wg is missing: install wireguard-tools";
  const std::string alice = test_key_text(1);
  const std::string bob = test_key_text(2);
  const std::string carol = test_key_text(11);
  EXPECT_EQ(shell("wg show interfaces"), "wg0\n0");
  EXPECT_EQ(shell("wg show wg0 allowed-ips | sort"),
            alice + "\tfd00:8::2/128 10.8.0.2/32\n" + bob + "\t10.8.0.3/32\n" + test_key_text(3) +
                "\t(none)\n0");
  EXPECT_EQ(shell("wg show wg9 2>/dev/null"), "1");  // the text depends on the kernel
  EXPECT_EQ(shell("wg set wg0 peer '" + bob + "' allowed-ips 10.8.0.3/32,10.8.0.2/32"),
            "Unable to modify interface: File exists\n1");
  EXPECT_EQ(shell("wg set wg0 peer '" + carol + "' allowed-ips 10.8.0.2/32 peer '" + alice +
                  "' remove && wg show wg0 allowed-ips | grep '^" + carol + "'"),
            carol + "\t10.8.0.2/32\n0");
  // A file that says what is so: published nothing. The first line of showconf is [Interface].
  Generation before = 0, after = 0;
  server_.on_thread([&] { before = server_.backend.state().generation(); });
  EXPECT_EQ(shell("wg showconf wg0 > conf && wg syncconf wg0 conf && wg setconf wg0 conf && "
                  "wg addconf wg0 conf && head -1 conf"),
            "[Interface]\n0");
  server_.on_thread([&] { after = server_.backend.state().generation(); });
  EXPECT_EQ(before, after);
  EXPECT_EQ(shell("sed -i '/^AllowedIPs = 10.8.0.3/s/.*/AllowedIPs = 10.8.0.3\\/32, 10.77.0.0\\/16/' conf && "
                  "wg syncconf wg0 conf && wg show wg0 allowed-ips | grep 10.77 | wc -l"),
            "1\n0");
  EXPECT_EQ(shell("wg set wg0 listen-port 1234 fwmark 0x7 && wg show wg0 listen-port && "
                  "wg show wg0 fwmark"),
            "1234\n0x7\n0");
  EXPECT_EQ(shell("wg set wg0 peer '" + bob + "' allowed-ips '' persistent-keepalive 25 endpoint "
                  "192.0.2.9:99 && wg show wg0 persistent-keepalive | grep -c 25 && "
                  "wg show wg0 endpoints | grep -c 192.0.2.9:99 && wg show wg0 dump | wc -l"),
            "1\n1\n4\n0");
  EXPECT_EQ(shell("wg set wg0 peer '" + bob + "' remove && wg show wg0 peers | wc -l"), "2\n0");
}

}  // namespace
}  // namespace turnpike::api

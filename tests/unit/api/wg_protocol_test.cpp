#include "control/api/wg_protocol.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <sstream>

#include "dataplane/base/text.h"
#include "tests/unit/api/fake_backend.h"

namespace turnpike::api {
namespace {

std::string hex(uint8_t number) { return base::to_hex(test_key(number).bytes); }

// The error of a whole request; -1 if it never ends.
int parse(const std::string& text, WgParser& parser) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (parser.line(line)) return parser.error();
  }
  return -1;
}

int error_of(const std::string& text) {
  WgParser parser;
  return parse(text, parser);
}

TEST(WgParser, ReadsEveryKeyOfASet) {
  WgParser parser;
  ASSERT_EQ(parse("set=1\nprivate_key=" + hex(7) + "\nlisten_port=51820\nfwmark=4294967295\n" +
                      "replace_peers=true\npublic_key=" + hex(1) +
                      "\nupdate_only=true\npreshared_key=" + hex(2) +
                      "\nendpoint=[2001:db8::1]:7\npersistent_keepalive_interval=25\n" +
                      "replace_allowed_ips=true\nallowed_ip=10.0.0.7/24\nallowed_ip=-fd00::/8\n" +
                      "protocol_version=1\npublic_key=" + hex(3) + "\nremove=true\n\n",
                  parser),
            0);
  const WgRequest& request = parser.request();
  EXPECT_TRUE(request.set);
  EXPECT_EQ(request.private_key->bytes()[5], 7);
  EXPECT_EQ(request.listen_port, 51820);
  EXPECT_EQ(request.fwmark, 4'294'967'295u);
  EXPECT_TRUE(request.replace_peers);
  ASSERT_EQ(request.peers.size(), 2u);
  const WgPeer& first = request.peers[0];
  EXPECT_TRUE(first.update_only && first.replace_allowed_ips && !first.remove);
  EXPECT_EQ(first.preshared_key->bytes()[0], 2);
  EXPECT_EQ(to_string(*first.endpoint), "[2001:db8::1]:7");
  EXPECT_EQ(first.persistent_keepalive, 25);
  ASSERT_EQ(first.allowed_ips.size(), 2u);
  EXPECT_EQ(to_string(first.allowed_ips[0].prefix), "10.0.0.0/24");  // host bits are masked
  EXPECT_FALSE(first.allowed_ips[0].remove);
  EXPECT_TRUE(first.allowed_ips[1].remove);
  EXPECT_TRUE(request.peers[1].remove);
}

TEST(WgParser, GivesTheErrorsThatOtherImplementationsGive) {
  EXPECT_EQ(error_of("get=1\n\n"), 0);
  EXPECT_EQ(error_of("\n\nget=1\n\n"), 0);
  EXPECT_EQ(error_of("set=1\n\n"), 0);
  EXPECT_EQ(error_of("set=1\n"), -1);
  EXPECT_EQ(error_of("got=1\n\n"), EINVAL);
  EXPECT_EQ(error_of("get=2\n\n"), EINVAL);
  EXPECT_EQ(error_of("set=1\nfrobnicate=1\n\n"), EINVAL);
  EXPECT_EQ(error_of("set=1\nlisten_port\n\n"), EPROTO);
  EXPECT_EQ(error_of("set=1\nlisten_port=65536\n\n"), EINVAL);
  EXPECT_EQ(error_of("set=1\nlisten_port=-1\n\n"), EINVAL);
  EXPECT_EQ(error_of("set=1\nfwmark=4294967296\n\n"), EINVAL);
  EXPECT_EQ(error_of("set=1\nreplace_peers=false\n\n"), EINVAL);
  EXPECT_EQ(error_of("set=1\nprivate_key=00\n\n"), EINVAL);
  EXPECT_EQ(error_of("set=1\nallowed_ip=10.0.0.0/8\n\n"), EINVAL);  // before any peer
  const std::string peer = "set=1\npublic_key=" + hex(1) + "\n";
  EXPECT_EQ(error_of(peer + "private_key=" + hex(1) + "\n\n"), EINVAL);
  for (const char* bad :
       {"allowed_ip=10.0.0.0/33", "allowed_ip=--10.0.0.0/8", "endpoint=host:1", "endpoint=1.2.3.4",
        "protocol_version=2", "remove=1", "update_only=yes",
        "replace_allowed_ips=", "persistent_keepalive_interval=65536", "preshared_key=zz"}) {
    EXPECT_EQ(error_of(peer + bad + "\n\n"), EINVAL) << bad;
  }
  // The first mistake is the answer, and the rest is read.
  EXPECT_EQ(error_of(peer + "x\nremove=1\n\n"), EPROTO);
}

class WgSet : public testing::Test {
 protected:
  WgSet() { add_three_peers(backend_); }

  // The outcome of a set: "" when it is committed and changes something, "same" when it changes nothing.
  std::string set(const std::string& lines) {
    WgParser parser;
    if (parse("set=1\n" + lines + "\n", parser) != 0) return "not parsed";
    std::string outcome;
    WgRequest& request = parser.request();
    if (request.private_key && !request.private_key->is_zero()) {
      request.public_key = backend_.public_key(*request.private_key);
    }
    backend_.commit(wg_transaction(backend_.state(), "wg0", request), {},
                    [&](const CommitAnswer& answer) {
                      const WgAnswer wg = wg_answer(backend_.state(), answer);
                      const auto* committed = std::get_if<Committed>(&answer);
                      outcome = committed != nullptr ? (committed->changed ? "" : "same")
                                                     : std::to_string(wg.error) + "\n" + wg.lines;
                    });
    return outcome;
  }
  std::string owner(const char* prefix) const {
    const state::Claim* claim = backend_.state().owner(0, *parse_prefix(prefix));
    return claim == nullptr ? "" : state::label(backend_.state().peer(claim->peer));
  }
  const state::Peer* peer(uint8_t number) const {
    const uint32_t slot = backend_.state().find_peer(0, test_key(number));
    return slot == state::kNoSlot ? nullptr : &backend_.state().peer(slot);
  }
  static std::string block(uint8_t number, const std::string& lines) {
    return "public_key=" + hex(number) + "\n" + lines;
  }
  std::string get() const {
    std::string all;
    const auto source = make_wg_get(backend_, 0);
    while (source->next(all)) {
    }
    return all;
  }

  FakeBackend backend_;
};

TEST_F(WgSet, RefusesWhatAnotherPeerOwnsAndNamesIt) {
  EXPECT_EQ(
      set(block(2, "allowed_ip=10.8.0.2/32\nallowed_ip=10.50.0.0/16\n")),
      "17\nconflict_allowed_ip=10.8.0.2/32\nconflict_owner=alice\nconflict_peer=" + hex(1) + "\n");
  EXPECT_EQ(owner("10.50.0.0/16"), "");
  EXPECT_EQ(set(block(4, "allowed_ip=10.60.0.0/16\n") + block(5, "allowed_ip=10.60.0.0/16\n"))
                .substr(0, 2),
            "17");
}

TEST_F(WgSet, JudgesTheEndOfTheWholeSet) {
  // The taker stands before the giver.
  EXPECT_EQ(set(block(4, "allowed_ip=10.8.0.2/32\n") + block(1, "remove=true\n")), "");
  EXPECT_EQ(owner("10.8.0.2/32"), test_key_text(4));
  EXPECT_EQ(set(block(2, "allowed_ip=10.8.0.2/32\n") + block(4, "allowed_ip=-10.8.0.2/32\n")), "");
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
  EXPECT_EQ(set(block(4, "replace_allowed_ips=true\nallowed_ip=10.8.0.2/32\n") +
                block(2, "replace_allowed_ips=true\nallowed_ip=10.8.0.3/32\n")),
            "");
  EXPECT_EQ(owner("10.8.0.2/32"), test_key_text(4));
}

TEST_F(WgSet, ChangesNothingWhenAllIsSo) {
  EXPECT_EQ(set(""), "same");
  EXPECT_EQ(set("listen_port=51820\nfwmark=0\nlisten_port=0\n"), "same");
  EXPECT_EQ(set(block(1,
                      "replace_allowed_ips=true\nallowed_ip=10.8.0.2/32\nallowed_ip=fd00:8::2/128\n"
                      "preshared_key=" +
                          std::string(64, '0') + "\n")),
            "same");
  EXPECT_EQ(set(block(9, "remove=true\n")), "same");
  EXPECT_EQ(set(block(9, "update_only=true\nallowed_ip=10.9.0.0/16\n")), "same");
  EXPECT_EQ(set(block(2, "allowed_ip=-10.8.0.2/32\nallowed_ip=-10.99.0.0/16\n")), "same");
  EXPECT_EQ(owner("10.8.0.2/32"), "alice");
  // What the interface says itself, set again as a whole.
  std::string again = "replace_peers=true\n";
  std::istringstream lines(get());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("last_") || line.starts_with("tx_") || line.starts_with("rx_")) continue;
    if (line.starts_with("endpoint=198.51.100.7")) continue;  // where it roamed to, not configured
    again += line + "\n";
  }
  EXPECT_EQ(set(again), "same");
}

TEST_F(WgSet, ReplacesAllPeersButKeepsThoseThatComeAgain) {
  const PeerId alice = peer(1)->id;
  EXPECT_EQ(set("replace_peers=true\n" + block(1, "allowed_ip=10.8.0.2/32\n") + block(7, "")), "");
  ASSERT_NE(peer(1), nullptr);
  EXPECT_EQ(peer(1)->id, alice);
  EXPECT_EQ(peer(1)->name.view(), "alice");
  EXPECT_EQ(owner("fd00:8::2/128"), "");
  EXPECT_EQ(peer(2), nullptr);
  EXPECT_EQ(peer(3), nullptr);
  EXPECT_NE(peer(7), nullptr);
}

TEST_F(WgSet, MergesTheBlocksOfOnePeer) {
  EXPECT_EQ(
      set(block(1, "allowed_ip=10.20.0.0/16\n") + block(1, "persistent_keepalive_interval=9\n") +
          block(1, "replace_allowed_ips=true\nallowed_ip=10.21.0.0/16\n") +
          block(1, "allowed_ip=10.22.0.0/16\nallowed_ip=-10.21.0.0/16\n")),
      "");
  EXPECT_EQ(peer(1)->persistent_keepalive, 9);
  EXPECT_EQ(owner("10.8.0.2/32"), "");
  EXPECT_EQ(owner("10.20.0.0/16"), "");
  EXPECT_EQ(owner("10.21.0.0/16"), "");
  EXPECT_EQ(owner("10.22.0.0/16"), "alice");
  EXPECT_EQ(set(block(1, "remove=true\n") + block(1, "allowed_ip=10.23.0.0/16\n")), "");
  EXPECT_EQ(peer(1)->persistent_keepalive, 0);
  EXPECT_EQ(peer(1)->claims, 1u);
  EXPECT_EQ(set(block(9, "allowed_ip=10.30.0.0/16\n") + block(9, "remove=true\n")), "same");
}

TEST_F(WgSet, TakesWhereThePolicyIsMove) {
  auto tunnel = std::make_shared<state::Tunnel>(backend_.state().tunnel(0));
  tunnel->conflicts = state::ConflictPolicy::Move;
  backend_.apply({{.op = state::Op::TunnelSet, .tunnel = "wg0", .new_tunnel = tunnel}});
  EXPECT_EQ(set(block(2, "allowed_ip=10.8.0.2/32\n")), "");
  EXPECT_EQ(owner("10.8.0.2/32"), "bob");
  // One prefix in three blocks: the last one has it.
  EXPECT_EQ(set(block(1, "allowed_ip=10.60.0.0/16\n") + block(3, "allowed_ip=10.60.0.0/16\n") +
                block(2, "allowed_ip=10.60.0.0/16\n")),
            "");
  EXPECT_EQ(owner("10.60.0.0/16"), "bob");
}

TEST_F(WgSet, LeavesDisabledPeersAloneUntilTheyAreNamed) {
  backend_.apply({{.op = state::Op::PeerSet,
                   .tunnel = "wg0",
                   .peer = std::string("alice"),
                   .patch = state::PeerPatch{.enabled = false}}});
  EXPECT_EQ(get().find(hex(1)), std::string::npos);
  EXPECT_EQ(set("replace_peers=true\n" + block(2, "allowed_ip=10.8.0.2/32\n")), "");
  ASSERT_NE(peer(1), nullptr);
  EXPECT_EQ(set(block(1, "update_only=true\nallowed_ip=10.70.0.0/16\n")), "same");
  ASSERT_NE(peer(1), nullptr);
  EXPECT_EQ(set(block(1, "allowed_ip=10.70.0.0/16\n")), "");
  EXPECT_TRUE(peer(1)->enabled);
  EXPECT_EQ(peer(1)->claims, 1u);
}

TEST_F(WgSet, NeverMakesAPeerOfTheTunnelItself) {
  PrivateKey next;
  next.bytes()[0] = 99;
  const std::string own = base::to_hex(backend_.public_key(next).bytes);
  EXPECT_EQ(set("private_key=" + base::to_hex(next.bytes()) + "\npublic_key=" + own + "\n"), "");
  EXPECT_EQ(backend_.state().peer_count(), 3u);
  EXPECT_EQ(backend_.state().tunnel(0).private_key, next);
  // A peer whose key becomes the tunnel's goes.
  PrivateKey of_bob;
  for (size_t i = 0; i < kKeyBytes; ++i) of_bob.bytes()[i] = test_key(2).bytes[i] ^ 0x5a;
  EXPECT_EQ(set("private_key=" + base::to_hex(of_bob.bytes()) + "\n"), "");
  EXPECT_EQ(peer(2), nullptr);
}

TEST_F(WgSet, IsAnsweredToAGetByTheBook) {
  EXPECT_EQ(set("fwmark=5\n" +
                block(1, "preshared_key=" + hex(6) + "\npersistent_keepalive_interval=25\n")),
            "");
  const std::string all = get();
  EXPECT_TRUE(all.starts_with("private_key=08" + std::string(62, '0') +
                              "\nlisten_port=51820\nfwmark=5\npublic_key=" + hex(1) +
                              "\npreshared_key=" + hex(6) +
                              "\nprotocol_version=1\nendpoint=198.51.100.7:51820\n"
                              "last_handshake_time_sec=1767225600\nlast_handshake_time_nsec=7\n"
                              "tx_bytes=2000000\nrx_bytes=1000\npersistent_keepalive_interval=25\n"
                              "allowed_ip=fd00:8::2/128\nallowed_ip=10.8.0.2/32\npublic_key=" +
                              hex(2)))
      << all;
}

TEST_F(WgSet, TellsAFullDiskFromAConflict) {
  backend_.failure = "the disk is full";
  EXPECT_EQ(set(block(8, "")), "5\nmessage=the disk is full\n");
}

}  // namespace
}  // namespace turnpike::api

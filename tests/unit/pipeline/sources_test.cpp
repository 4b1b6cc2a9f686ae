// Inner sources that are known from an earlier look-up: each packet is judged as a look-up in the snapshot of its burst
// would judge it, whatever was known before, by whom, and in which snapshot.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <set>
#include <thread>

#include "dataplane/lookup/allowed_ips_stamps.h"
#include "dataplane/pipeline/burst.h"
#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

constexpr size_t kHosts = 6;

class Sources : public testing::Test {
 protected:
  Sources() {
    pair.b.keep_versions();
    sessions.push_back(pair.session);
  }

  // Another peer of B, behind the same address; its messages are ours to make.
  PeerIndex add_peer() {
    const PeerIndex at_a = pair.a.add_peer(), at_b = pair.b.add_peer();
    sessions.push_back(connect(pair.a, 0, at_a, pair.b, 0, at_b));
    pair.b.set_endpoint(at_b, {ip("192.0.2.1"), 51820}, ip("192.0.2.2"), pair.outside,
                        ip("192.0.2.1"));
    return at_b;
  }
  // As the peer seals it.
  Blob sealed_by(PeerIndex peer, const Blob& packet) {
    return pair.sealed_text(sessions.at(peer), packet);
  }
  static Blob packet_from(const std::string& source, uint32_t number = 0) {
    Blob payload(8);
    store_be32(payload.data(), number);
    const IpAddress from = ip(source);
    return make_ip(from, ip(from.is_v4() ? "10.1.0.2" : "fd00:b::2"), payload);
  }
  Blob from(PeerIndex peer, const std::string& source) {
    return sealed_by(peer, packet_from(source));
  }
  // Of one burst: how many were delivered; the others must have been dropped for their source.
  size_t delivered(const std::vector<Blob>& frames, size_t worker = 0) {
    const Turn turn = pair.b.receive(pair.outside, frames, worker);
    EXPECT_EQ(turn.sent.size() + turn.drops_of(DropReason::InnerSourceNotAllowed), frames.size());
    return turn.sent.size();
  }

  Pair pair{Family::V4, 2};
  std::vector<Session> sessions;  // by PeerIndex at B
};

// A table with the stamps of B's and without its prefixes: only what needs no look-up gets through it.
TEST_F(Sources, ThatAreKnownAreNotLookedUp) {
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 1u);
  publish::TunnelView& tunnel = pair.b.snapshot.tunnels[0];
  lookup::RootLine v4 = *static_cast<const lookup::RootLine*>(tunnel.allowed_v4.node);
  lookup::RootLine v6 = *static_cast<const lookup::RootLine*>(tunnel.allowed_v6.node);
  v4.top = v6.top = {};
  const publish::TunnelView whole = tunnel;
  tunnel.allowed_v4.node = &v4;
  tunnel.allowed_v6.node = &v6;
  EXPECT_EQ(delivered({from(0, "10.0.0.2"), from(0, "10.0.0.2")}), 2u);
  EXPECT_EQ(delivered({from(0, "10.0.0.2"), from(0, "10.0.0.3")}), 1u);
  EXPECT_EQ(delivered({from(0, "10.0.0.3"), from(0, "fd00:a::2")}), 0u);
  tunnel = whole;
  EXPECT_EQ(delivered({from(0, "fd00:a::2")}), 1u);
  tunnel.allowed_v4.node = &v4;
  tunnel.allowed_v6.node = &v6;
  EXPECT_EQ(delivered({from(0, "fd00:a::2")}), 1u);
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 0u) << "the last one is known";
}

TEST_F(Sources, OfAPrefixThatMovesAreTheOtherPeersFromTheNextSnapshotOn) {
  const PeerIndex other = add_peer();
  for (const auto& [net, source] :
       {std::pair{"10.0.0.0/16", "10.0.0.2"}, {"fd00:a::/32", "fd00:a::2"}}) {
    for (int round = 0; round < 3; ++round) {
      EXPECT_EQ(delivered({from(0, source), from(0, source)}), 2u);
      EXPECT_EQ(delivered({from(0, source), from(other, source)}), 1u);
      pair.b.allow(0, net, other);
      EXPECT_EQ(delivered({from(0, source)}), 0u);
      EXPECT_EQ(delivered({from(0, source), from(other, source)}), 1u);
      pair.b.allow(0, net, 0);
    }
  }
}

TEST_F(Sources, BelowALongerPrefixOfAnotherPeerAreThatPeers) {
  const PeerIndex other = add_peer();
  for (const auto& [net, source] : {std::pair{"10.0.0.0/30", "10.0.0.2"},
                                    {"10.0.0.2/32", "10.0.0.2"},
                                    {"fd00:a::/64", "fd00:a::2"},
                                    {"fd00:a::2/128", "fd00:a::2"}}) {
    EXPECT_EQ(delivered({from(0, source)}), 1u);
    pair.b.allow(0, net, other);
    EXPECT_EQ(delivered({from(0, source), from(other, source), from(0, source)}), 1u);
    pair.b.allow(0, net, kNoPeer);
    EXPECT_EQ(delivered({from(0, source), from(other, source)}), 1u);
    pair.b.allow(0, net, 0);
    EXPECT_EQ(delivered({from(0, source)}), 1u);
    pair.b.allow(0, net, kNoPeer);
  }
}

TEST_F(Sources, OfARemovedPrefixAreNobodys) {
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 1u);
  pair.b.allow(0, "10.0.0.0/16", kNoPeer);
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 0u);
  pair.b.allow(0, "10.0.0.0/16", 0);
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 1u);
}

// Its prefix goes to another peer, and its slot is given out again, while its last source is still kept there.
TEST_F(Sources, OfThePeerThatHadTheSlotBeforeAreNotThoseOfTheNextOne) {
  const PeerIndex other = add_peer();
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 1u);
  pair.b.allow(0, "10.0.0.0/16", other);
  pair.b.peers.set_incarnation(0, 8);
  sessions[0] = connect(pair.a, 0, 0, pair.b, 0, 0);
  EXPECT_EQ(sessions[0].b->peer.incarnation, 8u);
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 0u);
  pair.b.allow(0, "10.0.0.2/32", 0);
  EXPECT_EQ(delivered({from(0, "10.0.0.2"), from(0, "10.0.0.3"), from(other, "10.0.0.2")}), 1u);
}

// The same prefixes and as many edits; the tunnel's peer keeps its slot.
TEST_F(Sources, OfATableThatIsMadeAnewAreLookedUpInIt) {
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 1u);
  SystemPages pages;
  Table table(pages, lookup::Stamps::Kept);
  table.insert(parse_prefix("10.0.0.0/16").value(), 5);
  table.insert(parse_prefix("fd00:a::/32").value(), 5);
  pair.b.snapshot.tunnels[0].allowed_v4 = table.v4.head();
  pair.b.snapshot.tunnels[0].allowed_v6 = table.v6.head();
  EXPECT_EQ(delivered({from(0, "10.0.0.2")}), 0u);
}

TEST_F(Sources, OneThatIsKnownSaysNothingOfOthers) {
  const PeerIndex other = add_peer();
  pair.b.allow(0, "10.0.9.0/24", other);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(delivered({from(0, "10.77.0.2"), from(0, "10.0.0.2"), from(0, "10.77.0.2"),
                         from(0, "10.0.0.2"), from(0, "fd00:77::2"), from(0, "fd00:a::2"),
                         from(0, "10.0.9.2"), from(other, "10.0.0.2"), from(other, "10.0.9.2")}),
              4u);
    EXPECT_EQ(delivered({from(0, "10.0.0.2"), from(0, "10.0.9.2"), from(0, "10.0.0.3")}), 2u);
    EXPECT_EQ(delivered({from(0, "10.0.0.2"), from(other, "10.0.0.2")}), 1u);
  }
}

TEST_F(Sources, ThatNoHostCanHaveAreNeverKnown) {
  pair.b.allow(0, "0.0.0.0/0", 0);
  pair.b.allow(0, "::/0", 0);
  for (int round = 0; round < 3; ++round) {
    const Turn turn = pair.b.receive(
        pair.outside, {from(0, "224.0.0.1"), from(0, "ff02::1"), from(0, "fe80::1")});
    EXPECT_EQ(turn.drops_of(DropReason::MartianSource), 2u);
    EXPECT_EQ(turn.drops_of(DropReason::NotForwarded), 1u);
  }
}

// Each finds what the other one knew, of a snapshot that is not its own.
TEST_F(Sources, TwoWorkersOfDifferentSnapshotsAreEachRightInTheirOwn) {
  const PeerIndex other = add_peer();
  const publish::Snapshot first = pair.b.snapshot;
  pair.b.allow(0, "10.0.0.0/24", other);
  const publish::Snapshot second = pair.b.snapshot;
  pair.b.allow(0, "10.0.0.0/24", kNoPeer);
  const publish::Snapshot third = pair.b.snapshot;
  for (int round = 0; round < 3; ++round) {
    for (const publish::Snapshot* snapshot : {&first, &second, &third, &second, &first, &third}) {
      for (const size_t worker : {0, 1}) {
        pair.b.snapshot = *snapshot;
        const bool moved = snapshot == &second;
        EXPECT_EQ(delivered({from(0, "10.0.0.2")}, worker), moved ? 0u : 1u);
        EXPECT_EQ(delivered({from(other, "10.0.0.2")}, worker), moved ? 1u : 0u);
      }
    }
  }
}

TEST_F(Sources, TwoWorkersOfDifferentSnapshotsAtOnceAreEachRightInTheirOwn) {
  const publish::Snapshot first = pair.b.snapshot;
  pair.b.allow(0, "10.0.0.2/32", add_peer());
  const publish::Snapshot second = pair.b.snapshot;
  for (int round = 0; round < 200; ++round) {
    std::array<std::vector<Blob>, 2> frames;
    for (int i = 0; i < 8; ++i) {
      for (std::vector<Blob>& mine : frames) mine.push_back(from(0, "10.0.0.2"));
    }
    std::array<Turn, 2> turns;
    std::atomic<int> ready{0};
    const auto receive = [&](size_t worker, const publish::Snapshot& snapshot) {
      ready.fetch_add(1);
      while (ready.load() != 2) {
      }
      turns[worker] = pair.b.receive_in(snapshot, pair.outside, frames[worker], worker);
    };
    std::thread late([&] { receive(1, first); });
    receive(0, second);
    late.join();
    ASSERT_EQ(turns[1].sent.size(), 8u);
    ASSERT_EQ(turns[0].drops_of(DropReason::InnerSourceNotAllowed), 8u);
  }
}

// Random edits, random snapshots of the last ones for each burst, random sources and peers: what is delivered is what a
// look-up of each source would let through.
TEST_F(Sources, AreJudgedAsALookUpWould) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    while (sessions.size() < 3) (void)add_peer();
    std::vector<std::string> sources, prefixes;
    for (size_t i = 0; i < kHosts; ++i) {
      const std::string n = std::to_string(i);
      sources.push_back("10.0." + std::to_string(i / 2) + "." + std::to_string(i * 40 + 1));
      sources.push_back("fd00:a::" + std::to_string(i / 2) + ":" + n);
      prefixes.push_back(sources[2 * i] + "/32");
      prefixes.push_back(sources[2 * i + 1] + "/128");
      prefixes.push_back("10.0." + n + ".0/24");
      prefixes.push_back("fd00:a:0:" + n + "::/64");
    }
    prefixes.insert(prefixes.end(), {"10.0.0.0/16", "fd00:a::/32", "0.0.0.0/0", "::/0"});
    std::deque<publish::Snapshot> versions{pair.b.snapshot};
    uint32_t number = 0;
    size_t good = 0, bad = 0;
    for (int round = 0; round < 1'500; ++round) {
      if (random() % 4 == 0) {
        const uint64_t owner = random() % 4;
        pair.b.allow(0, prefixes[random() % prefixes.size()],
                     owner == 3 ? kNoPeer : static_cast<PeerIndex>(owner));
        versions.push_back(pair.b.snapshot);
        if (versions.size() > 4) versions.pop_front();
      }
      const publish::Snapshot& snapshot = versions[random() % versions.size()];
      std::vector<Blob> frames;
      std::set<uint32_t> expected, delivered;
      for (size_t i = 1 + random() % 6; i > 0; --i) {
        const auto peer = static_cast<PeerIndex>(random() % 3);
        // Of each peer mostly the same two.
        const std::string& source =
            sources[(random() % 4 == 0 ? random() : 4 * peer + random() % 2) % sources.size()];
        const IpAddress address = ip(source);
        const uint32_t owner =
            Burst::look_up_one(snapshot.tunnels[0].allowed_v4, snapshot.tunnels[0].allowed_v6,
                               address.bytes.data(), address.is_v4() ? 4 : 6);
        if (owner == peer) expected.insert(number);
        frames.push_back(sealed_by(peer, packet_from(source, number++)));
      }
      const Turn turn = pair.b.receive_in(snapshot, pair.outside, frames, random() % 2);
      for (const Sent& sent : turn.sent) {
        delivered.insert(load_be32(&sent.frame.at(sent.frame.size() - 8)));
      }
      ASSERT_EQ(delivered, expected) << "round " << round;
      good += expected.size();
      bad += frames.size() - expected.size();
    }
    EXPECT_GT(good, 500u);
    EXPECT_GT(bad, 500u);
  }
}

}  // namespace
}  // namespace turnpike::pipeline::test

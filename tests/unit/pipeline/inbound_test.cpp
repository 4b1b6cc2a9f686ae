// Data messages of peers: what is refused, replay, confirmation of keys, roaming.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/unit/pipeline/gateway.h"

namespace turnpike::pipeline::test {
namespace {

using publish::PuntKind;

class Inbound : public testing::Test {
 protected:
  void expect_drop(DropReason reason, const Blob& frame) {
    const Turn turn = pair.b.receive(pair.outside, {frame});
    EXPECT_EQ(turn.drops_of(reason), 1u) << to_string(reason);
    EXPECT_EQ(turn.dropped(), 1u);
    EXPECT_TRUE(turn.sent.empty() && turn.punts.empty());
  }
  // As if it came from 192.0.2.77, port 99.
  static Blob moved(Blob frame) {
    frame[14 + 15] = 77;
    put16(frame, 14 + 20, 99);
    put16(frame, 14 + 10, 0);
    put16(frame, 14 + 10, ~plain_sum(frame, 14, 20) & 0xffff);
    put16(frame, 14 + 26, 0);
    return frame;
  }
  // A message of A whose text is `text`, whatever that is.
  Blob sealed_text(const Blob& text) { return pair.sealed_text(pair.session, text); }
  Blob sealed(size_t payload = 60) { return pair.sealed_by_a(pair.a_to_b(Family::V4, payload)); }
  // The frame with one byte of its message changed and UDP's checksum left out.
  static Blob changed(Blob frame, size_t at) {
    frame.at(14 + 28 + at) ^= 0x40;
    put16(frame, 14 + 26, 0);
    return frame;
  }
  Pair pair;
};

TEST_F(Inbound, ReceiverIndexUnknown) {
  for (size_t byte = 4; byte < 8; ++byte) {
    expect_drop(DropReason::ReceiverIndexUnknown, changed(sealed(), byte));
  }
}

// Each finds a slot, and in it no keypair of its own; beside packets that find theirs.
TEST_F(Inbound, IndexesThatLeadToOtherKeypairsOrToNone) {
  wireguard::KeypairArena& arena = pair.b.keypairs;
  const uint32_t own = pair.session.b->local_index;
  const wireguard::KeypairPlace place = arena.indexes().place_of(own);
  const auto under = [&](Blob frame, uint32_t index) {
    store_le32(frame.data() + 14 + 28 + 4, index);
    put16(frame, 14 + 26, 0);
    return frame;
  };
  const uint32_t same_slot = arena.indexes().index_of({place.slot, place.generation + 1});
  const uint32_t free_slot = arena.indexes().index_of({place.slot + 1, 0});
  const uint32_t last_slot =
      arena.indexes().index_of({wireguard::KeypairPlace::kSlots - 1, place.generation});
  ASSERT_EQ(arena.locate(same_slot), pair.session.b);
  ASSERT_NE(arena.locate(free_slot), nullptr);
  ASSERT_EQ(arena.locate(last_slot), nullptr);
  const Turn turn = pair.b.receive(
      pair.outside, {under(sealed(), same_slot), sealed(), under(sealed(), free_slot),
                     under(sealed(), last_slot), sealed(), under(sealed(), 0), sealed()});
  EXPECT_EQ(turn.drops_of(DropReason::ReceiverIndexUnknown), 4u);
  EXPECT_EQ(turn.dropped(), 4u);
  EXPECT_EQ(turn.sent.size(), 3u);
}

TEST_F(Inbound, AKeypairThatWasWithdrawnIsNotFoundAlthoughItsIndexWasTheLastOne) {
  EXPECT_EQ(pair.b.receive(pair.outside, {sealed()}).sent.size(), 1u);
  pair.b.keypairs.withdraw(*pair.session.b);
  expect_drop(DropReason::ReceiverIndexUnknown, sealed());
  pair.b.keypairs.publish(*pair.session.b);
  EXPECT_EQ(pair.b.receive(pair.outside, {sealed()}).sent.size(), 1u);
}

TEST_F(Inbound, AnIndexIsGoodForItsOwnTunnelOnly) {
  pair.b.add_tunnel(pair.outside, pair.inside, 51822);
  Blob frame = sealed();
  put16(frame, 14 + 22, 51822);
  put16(frame, 14 + 26, 0);
  expect_drop(DropReason::ReceiverIndexUnknown, frame);
}

TEST_F(Inbound, KeypairExpired) {
  const Blob first = sealed();
  const Blob second = sealed();
  pair.b.now = kStart + 180s - 1ns;
  EXPECT_EQ(pair.b.receive(pair.outside, {first}).sent.size(), 1u);
  pair.b.now = kStart + 180s;
  expect_drop(DropReason::KeypairExpired, second);
}

TEST_F(Inbound, StalePeer) {
  pair.b.peers.set_incarnation(0, 8);
  expect_drop(DropReason::StalePeer, sealed());
}

TEST_F(Inbound, AuthenticationFailed) {
  const Blob frame = sealed();
  for (size_t at : {8ul, 16ul, 20ul, frame.size() - 42 - 1, frame.size() - 42 - 16}) {
    expect_drop(DropReason::AuthenticationFailed, changed(frame, at));
  }
  Blob shorter = frame;
  shorter.pop_back();
  put16(shorter, 14 + 2, static_cast<unsigned>(shorter.size() - 14));
  put16(shorter, 14 + 10, 0);
  put16(shorter, 14 + 10, ~plain_sum(shorter, 14, 20) & 0xffff);
  put16(shorter, 14 + 24, static_cast<unsigned>(shorter.size() - 34));
  put16(shorter, 14 + 26, 0);
  expect_drop(DropReason::AuthenticationFailed, shorter);
  EXPECT_EQ(pair.b.peers[0].activity.rx_bytes.value(), 0u);
  EXPECT_EQ(pair.b.receive(pair.outside, {frame}).sent.size(), 1u) << "forgeries harm nothing";
}

TEST_F(Inbound, ReplayedCounter) {
  const Blob frame = sealed();
  const Turn turn = pair.b.receive(pair.outside, {frame, frame, sealed(), frame});
  EXPECT_EQ(turn.sent.size(), 2u);
  EXPECT_EQ(turn.drops_of(DropReason::ReplayedCounter), 2u);
  expect_drop(DropReason::ReplayedCounter, frame);
  // Behind the window.
  pair.session.a->sending().counter.store(10'000);
  EXPECT_EQ(pair.b.receive(pair.outside, {sealed()}).sent.size(), 1u);
  pair.session.a->sending().counter.store(10'000 - wireguard::kReplayWindow - 1);
  expect_drop(DropReason::ReplayedCounter, sealed());
}

TEST_F(Inbound, ReorderedMessagesAreAllTakenOnce) {
  std::vector<Blob> frames;
  for (size_t i = 0; i < kBurstMax; ++i) frames.push_back(sealed(i));
  std::shuffle(frames.begin(), frames.end(), pair.a.random);
  EXPECT_EQ(pair.b.receive(pair.outside, frames).sent.size(), kBurstMax);
  EXPECT_EQ(pair.b.receive(pair.outside, frames).drops_of(DropReason::ReplayedCounter), kBurstMax);
}

TEST_F(Inbound, AKeepaliveEndsWithoutADrop) {
  const Turn out = pair.a.inject({{.header = {.kind = publish::InjectKind::Keepalive,
                                              .tunnel = 0,
                                              .peer = {.index = 0, .incarnation = 7}}}});
  ASSERT_EQ(out.sent.size(), 1u);
  ASSERT_EQ(out.sent[0].frame.size(), 14u + 28 + 32);
  EXPECT_EQ(pair.a.peers[0].activity.unacknowledged_since.load(), 0u);
  EXPECT_EQ(pair.a.peers[0].activity.tx_bytes.load(), 32u);
  const Turn in = pair.b.receive(pair.outside, {out.sent[0].frame});
  EXPECT_EQ(in.finished, 1u);
  EXPECT_EQ(in.dropped(), 0u);
  EXPECT_EQ(pair.b.peers[0].activity.last_received.load(), kStart.nanoseconds);
  EXPECT_EQ(pair.b.peers[0].activity.unanswered_since.load(), 0u) << "keepalives are not answered";
  EXPECT_EQ(pair.b.peers[0].activity.rx_bytes.value(), 32u);
}

TEST_F(Inbound, InnerInvalid) {
  expect_drop(DropReason::InnerInvalid, sealed_text({0x00}));
  expect_drop(DropReason::InnerInvalid, sealed_text(Blob(16, 0x45)));   // shorter than a header
  expect_drop(DropReason::InnerInvalid, sealed_text(Blob(48, 0x55)));  // no version that we know
  Blob longer = pair.a_to_b(Family::V4, 10);
  put16(longer, 2, 31);
  expect_drop(DropReason::InnerInvalid, sealed_text(longer));
  Blob header = pair.a_to_b(Family::V4, 10);
  header[0] = 0x44;
  expect_drop(DropReason::InnerInvalid, sealed_text(header));
  Blob longer6 = pair.a_to_b(Family::V6, 10);
  put16(longer6, 4, 11);
  expect_drop(DropReason::InnerInvalid, sealed_text(longer6));
  // But it was authentic: the peer is alive.
  EXPECT_GT(pair.b.peers[0].activity.last_received.load(), 0u);
}

TEST_F(Inbound, InnerSourceNotAllowed) {
  expect_drop(DropReason::InnerSourceNotAllowed,
              sealed_text(make_ip(ip("10.77.0.2"), ip("10.1.0.2"), Blob(8))));
  expect_drop(DropReason::InnerSourceNotAllowed,
              sealed_text(make_ip(ip("fd00:77::2"), ip("fd00:b::2"), Blob(8))));
  // A longer prefix of another peer takes the source away, as the whole table says.
  pair.b.allow(0, "10.0.0.2/32", pair.b.add_peer());
  expect_drop(DropReason::InnerSourceNotAllowed, sealed());
}

TEST_F(Inbound, TheFirstAuthenticPacketConfirmsAResponderKey) {
  wireguard::Keypair* old = pair.session.b;
  const Session fresh = connect(pair.a, 0, 0, pair.b, 0, 0);
  pair.b.peers[0].send.current.store(old);
  fresh.b->confirmed.store(false);
  fresh.b->sending().replaces.store(old);
  const Blob frame = sealed();
  expect_drop(DropReason::AuthenticationFailed, changed(frame, 20));
  EXPECT_EQ(pair.b.peers[0].send.current.load(), old);
  const Turn turn = pair.b.receive(pair.outside, {frame, sealed()});
  EXPECT_EQ(turn.sent.size(), 2u);
  EXPECT_EQ(pair.b.peers[0].send.current.load(), fresh.b);
  ASSERT_EQ(turn.events.size(), 1u);
  EXPECT_EQ(turn.events[0].header.kind, PuntKind::KeypairConfirmed);
  EXPECT_EQ(turn.events[0].header.local_index, fresh.b->local_index);
  EXPECT_EQ(turn.events[0].header.peer, (PeerRef{.index = 0, .incarnation = 7}));
  EXPECT_TRUE(pair.b.receive(pair.outside, {sealed()}).events.empty());
}

TEST_F(Inbound, ConfirmationNeverUndoesWhatTheSessionThreadInstalledMeanwhile) {
  wireguard::Keypair* old = pair.session.b;
  const Session fresh = connect(pair.a, 0, 0, pair.b, 0, 0);
  const Blob frame = sealed();
  fresh.b->confirmed.store(false);
  fresh.b->sending().replaces.store(old);
  wireguard::Keypair& newer = pair.b.add_keypair(0, 0, wireguard::Role::Initiator);
  pair.b.peers[0].send.current.store(&newer);
  EXPECT_EQ(pair.b.receive(pair.outside, {frame}).events.size(), 1u);
  EXPECT_EQ(pair.b.peers[0].send.current.load(), &newer);
}

TEST_F(Inbound, TwoWorkersConfirmAKeyOnce) {
  Pair two(Family::V4, 2);
  for (int round = 0; round < 200; ++round) {
    wireguard::Keypair* old = two.b.peers[0].send.current.load();
    const Session fresh = connect(two.a, 0, 0, two.b, 0, 0);
    two.b.peers[0].send.current.store(old);
    fresh.b->confirmed.store(false);
    fresh.b->sending().replaces.store(old);
    const std::array<Blob, 2> frames = {two.sealed_by_a(two.a_to_b(Family::V4, 8)),
                                        two.sealed_by_a(two.a_to_b(Family::V4, 8))};
    std::array<Turn, 2> turns;
    std::thread other([&] { turns[1] = two.b.receive(0, {frames[1]}, 1); });
    turns[0] = two.b.receive(0, {frames[0]}, 0);
    other.join();
    ASSERT_EQ(turns[0].events.size() + turns[1].events.size(), 1u);
    ASSERT_EQ(two.b.peers[0].send.current.load(), fresh.b);
  }
}

TEST_F(Inbound, TwoWorkersTakeAReplayedMessageOnce) {
  Pair two(Family::V4, 2);
  size_t delivered = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<Blob> frames;
    for (int i = 0; i < 8; ++i) frames.push_back(two.sealed_by_a(two.a_to_b(Family::V4, 8)));
    std::array<Turn, 2> turns;
    std::thread other([&] { turns[1] = two.b.receive(0, frames, 1); });
    turns[0] = two.b.receive(0, frames, 0);
    other.join();
    delivered += turns[0].sent.size() + turns[1].sent.size();
  }
  EXPECT_EQ(delivered, 200u * 8);
}

// Each message under a key of its own, all of one peer: what the workers add to is the peer's, not the key's.
TEST_F(Inbound, TwoWorkersLoseNothingOfWhatOnePeerSendsUnderManyKeys) {
  constexpr size_t kKeys = 32;
  Pair two(Family::V4, 2);
  uint64_t bytes = 0;
  for (int round = 0; round < 100; ++round) {
    std::array<std::vector<Blob>, 2> frames;
    for (size_t i = 0; i < kKeys; ++i) {
      (void)connect(two.a, 0, 0, two.b, 0, 0);
      for (std::vector<Blob>& mine : frames) {
        mine.push_back(two.sealed_by_a(two.a_to_b(Family::V4, 8)));
        bytes += mine.back().size() - (14 + 20 + 8);
      }
    }
    std::array<Turn, 2> turns;
    std::atomic<int> ready{0};
    const auto receive = [&](size_t worker) {
      ready.fetch_add(1);
      while (ready.load() != 2) {
      }
      turns[worker] = two.b.receive(0, frames[worker], worker);
    };
    std::thread other([&] { receive(1); });
    receive(0);
    other.join();
    ASSERT_EQ(turns[0].sent.size() + turns[1].sent.size(), 2 * kKeys);
    ASSERT_EQ(two.b.peers.rx_bytes(0), bytes);
  }
}

TEST_F(Inbound, ARoamingPeerIsReportedByAuthenticatedDataOnly) {
  const Blob frame = sealed();
  EXPECT_TRUE(pair.b.receive(pair.outside, {changed(moved(frame), 20)}).events.empty());
  // Reported before the inner packet is looked at: it need not even be one.
  const Turn turn = pair.b.receive(pair.outside, {moved(sealed_text({1, 2, 3}))});
  ASSERT_EQ(turn.events.size(), 1u);
  const publish::PuntHeader& header = turn.events[0].header;
  EXPECT_EQ(header.kind, PuntKind::PeerRoamed);
  EXPECT_EQ(header.port, pair.outside);
  EXPECT_EQ(header.remote, (Endpoint{ip("192.0.2.77"), 99}));
  EXPECT_EQ(header.local, ip("192.0.2.2"));
  EXPECT_EQ(header.peer, (PeerRef{.index = 0, .incarnation = 7}));
  EXPECT_TRUE(pair.b.receive(pair.outside, {frame}).events.empty()) << "where it was";
  EXPECT_TRUE(pair.b.receive(pair.outside, {moved(frame)}).events.empty())
      << "a replay moves nobody";
}

TEST_F(Inbound, APeerThatControlPutElsewhereIsFollowedBackToWhereItsPacketsComeFrom) {
  EXPECT_TRUE(pair.b.receive(pair.outside, {sealed()}).events.empty());
  pair.b.set_endpoint(0, {ip("192.0.2.77"), 99}, ip("192.0.2.2"), pair.outside, ip("192.0.2.1"));
  const Turn turn = pair.b.receive(pair.outside, {sealed()});
  ASSERT_EQ(turn.events.size(), 1u);
  EXPECT_EQ(turn.events[0].header.kind, PuntKind::PeerRoamed);
  EXPECT_EQ(turn.events[0].header.remote, (Endpoint{ip("192.0.2.1"), 51820}));
  EXPECT_EQ(pair.b.peers.endpoint(0).remote, (Endpoint{ip("192.0.2.1"), 51820}));
  EXPECT_TRUE(pair.b.receive(pair.outside, {sealed()}).events.empty());
}

// An endpoint that the session thread has not heard of names a first hop that may go to somebody else.
TEST_F(Inbound, APeerThatRoamsWhileTheRingIsFullIsFollowedWhenThereIsRoom) {
  const MacAddress mac{{2, 0, 0, 0, 0, 77}};
  pair.b.add_neighbour(pair.outside, ip("192.0.2.77"), &mac);
  const auto told = [&](const Turn& turn) {
    return std::ranges::count_if(
        turn.events, [](const Punted& event) { return event.header.kind == PuntKind::PeerRoamed; });
  };
  publish::PuntRing& ring = pair.b.workers[0]->door.punt;
  while (publish::PuntRing::Slot* slot = ring.try_begin()) {
    slot->header = {};
    slot->length_bytes = 0;
    ring.commit();
  }
  EXPECT_EQ(told(pair.b.receive(pair.outside, {moved(sealed())})), 0);
  EXPECT_EQ(pair.b.peers.endpoint(0).remote.address, ip("192.0.2.1"));
  EXPECT_EQ(told(pair.b.receive(pair.outside, {moved(sealed())})), 1);
  EXPECT_EQ(pair.b.peers.endpoint(0).remote, (Endpoint{ip("192.0.2.77"), 99}));
}

TEST_F(Inbound, AnswersFollowARoamingPeerAtOnceWhereItsFirstHopIsKnown) {
  const auto answer = [&] {
    return pair.b.receive(pair.inside, {pair.from_host_b(pair.b_to_a(Family::V4, 5))})
        .sent.at(0)
        .frame;
  };
  const Blob before = answer();
  // Unknown: the session thread asks for the neighbour first, the answers go on to where it was.
  EXPECT_EQ(pair.b.receive(pair.outside, {moved(sealed())}).events.size(), 1u);
  EXPECT_EQ(answer()[14 + 19], before[14 + 19]);
  const MacAddress mac{{2, 0, 0, 0, 0, 77}};
  pair.b.add_neighbour(pair.outside, ip("192.0.2.77"), &mac);
  EXPECT_EQ(pair.b.receive(pair.outside, {moved(sealed())}).events.size(), 1u);
  const Blob after = answer();
  EXPECT_EQ(after[5], 77);  // destination MAC
  EXPECT_EQ(after[14 + 19], 77);  // destination address
  EXPECT_EQ(load_be16(&after[14 + 22]), 99);
  EXPECT_TRUE(pair.b.receive(pair.outside, {moved(sealed())}).events.empty()) << "there it is";
}

TEST_F(Inbound, TheInitiatorIsToldOnceOfAKeyThatAgesWhileItOnlyReceives) {
  const auto from_b = [&] {
    return pair.b.receive(pair.inside, {pair.from_host_b(pair.b_to_a(Family::V4, 5))})
        .sent.at(0)
        .frame;
  };
  const Blob first = from_b(), second = from_b(), third = from_b();
  pair.a.now = kStart + 165s - 1ns;
  EXPECT_TRUE(pair.a.receive(pair.outside, {first}).events.empty());
  pair.a.now = kStart + 165s;
  const Turn turn = pair.a.receive(pair.outside, {second});
  ASSERT_EQ(turn.events.size(), 1u);
  EXPECT_EQ(turn.events[0].header.kind, PuntKind::KeyAgedReceiving);
  EXPECT_TRUE(pair.a.receive(pair.outside, {third}).events.empty());
  const Blob to_responder = sealed();
  pair.b.now = kStart + 170s;
  EXPECT_TRUE(pair.b.receive(pair.outside, {to_responder}).events.empty());
}

TEST_F(Inbound, EventsThatFindNoRoomAreRepeated) {
  pair.session.b->confirmed.store(false);
  pair.session.b->sending().replaces.store(nullptr);
  publish::PuntRing& ring = pair.b.workers[0]->door.punt;
  while (auto* slot = ring.try_begin()) {
    slot->length_bytes = 0;
    ring.commit();
  }
  pair.b.receive(pair.outside, {sealed()});  // empties the ring afterwards
  EXPECT_FALSE(pair.session.b->confirmed.load());
  EXPECT_EQ(pair.b.receive(pair.outside, {sealed()}).events.size(), 1u);
}

}  // namespace
}  // namespace turnpike::pipeline::test

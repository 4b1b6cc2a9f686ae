#include "control/session/keypair_store.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <utility>

#include "gateway.h"

namespace turnpike::session {
namespace {

using namespace testing;
using wireguard::Keypair;
using wireguard::Role;

class Store : public ::testing::Test {
 protected:
  Store() : slots(pages, 4, 1), arena(pages, 900, random), store(arena, slots, epoch) {}

  Keypair* make(Role role) {
    wireguard::DerivedKeys keys;
    random.fill(keys.sending.bytes());
    keys.local_index = *store.reserve_index(kPeer.index);
    keys.role = role;
    return store.make(keys, kPeer, 0, kNow);
  }
  size_t collect() {
    return store.collect(100, [this](PeerIndex) { return keypairs.current; });
  }
  Keypair* found(const Keypair* keypair) { return arena.find(arena.index_of(*keypair)); }
  std::atomic<Keypair*>& slot() { return slots[kPeer.index].send.current; }
  // What a worker does at the first packet under a keypair; it tries once.
  void confirm(Keypair* keypair) {
    if (keypair->sending().role != Role::Responder || keypair->confirmed.exchange(true)) return;
    Keypair* expected = keypair->sending().replaces.load();
    (void)slot().compare_exchange_strong(expected, keypair);
  }

  static constexpr PeerRef kPeer{.index = 1, .incarnation = 1};
  static constexpr Instant kNow{1'000'000'000'000};
  SystemPages pages;
  SeededRandom random{1};
  publish::Epoch epoch;
  publish::PeerSlots slots;
  wireguard::KeypairArena arena;
  KeypairStore store;
  PeerKeypairs keypairs;
};

// An AEAD that has to know its keys, with room for so many.
class CountingKeys final : public crypto::AeadKeys {
 public:
  explicit CountingKeys(size_t room) : room_(room) {}
  bool admit(const uint8_t* key, crypto::AeadDirection direction) noexcept override {
    if (known.size() == room_) return false;
    EXPECT_TRUE(known.emplace(key, direction).second);
    return true;
  }
  void forget(const uint8_t* key, crypto::AeadDirection direction) noexcept override {
    EXPECT_EQ(known.erase({key, direction}), 1u);
    bool all_zero = true;
    for (size_t i = 0; i < kKeyBytes; ++i) all_zero &= key[i] == 0;
    EXPECT_FALSE(all_zero) << "forgotten before it is wiped, not after";
  }
  std::set<std::pair<const uint8_t*, crypto::AeadDirection>> known;

 private:
  size_t room_;
};

class StoreOfADevice : public Store {
 protected:
  // Of seven sessions the last is of no use: a keypair has two.
  StoreOfADevice() : store(arena, slots, epoch, &device_keys) {}
  Keypair* make(Role role) {
    wireguard::DerivedKeys keys;
    random.fill(keys.sending.bytes());
    random.fill(keys.receiving.bytes());
    keys.local_index = *store.reserve_index(kPeer.index);
    keys.role = role;
    return store.make(keys, kPeer, 0, kNow);
  }
  size_t collect() {
    return store.collect(100, [this](PeerIndex) { return keypairs.current; });
  }
  CountingKeys device_keys{7};
  KeypairStore store;
};

TEST_F(StoreOfADevice, TellsTheAeadOfBothKeysBeforeAndOfTheirEndWhenNoWorkerHoldsThem) {
  publish::EpochReader& worker = epoch.add_reader();
  worker.online();
  Keypair* const keypair = make(Role::Initiator);
  EXPECT_TRUE(
      device_keys.known.contains({keypair->sending().key.data(), crypto::AeadDirection::Seal}));
  EXPECT_TRUE(
      device_keys.known.contains({keypair->receiving_key.data(), crypto::AeadDirection::Open}));
  store.install_initiator(keypairs, keypair);
  store.clear(keypairs, kPeer.index);
  EXPECT_EQ(collect(), 1u);
  EXPECT_EQ(device_keys.known.size(), 2u) << "the worker may still use them";
  worker.begin();
  EXPECT_EQ(collect(), 0u);
  EXPECT_TRUE(device_keys.known.empty());
}

TEST_F(StoreOfADevice, RefusesAKeypairWhoseKeysTheAeadDoesNotTake) {
  Keypair* made[3];
  for (Keypair*& keypair : made) ASSERT_NE(keypair = make(Role::Initiator), nullptr);
  EXPECT_EQ(make(Role::Initiator), nullptr);
  EXPECT_EQ(device_keys.known.size(), 6u) << "nothing half done";
  EXPECT_EQ(store.in_use(), 3u);
  store.install_initiator(keypairs, made[0]);
  store.clear(keypairs, kPeer.index);
  EXPECT_EQ(collect(), 0u);
  EXPECT_NE(make(Role::Initiator), nullptr);
}

TEST_F(Store, AsResponderWaitsForTheWorkerAndThenMovesOn) {
  Keypair* const first = make(Role::Initiator);
  store.install_initiator(keypairs, first);
  EXPECT_EQ(slot(), first);
  Keypair* const second = make(Role::Responder);
  store.install_responder(keypairs, second);
  EXPECT_EQ(slot(), first);
  EXPECT_EQ(found(second), second);
  EXPECT_FALSE(store.sync(keypairs, kPeer.index, kNow));
  confirm(second);
  EXPECT_TRUE(store.sync(keypairs, kPeer.index, kNow));
  EXPECT_FALSE(store.sync(keypairs, kPeer.index, kNow));
  EXPECT_EQ(keypairs.previous, first);
  EXPECT_EQ(keypairs.current, second);
  EXPECT_EQ(keypairs.next, nullptr);
  EXPECT_EQ(found(first), first);  // still received under
}

TEST_F(Store, AsInitiatorDemotesAnUnconfirmedNextAndLetsTheOldestLinger) {
  Keypair* const first = make(Role::Initiator);
  Keypair* const second = make(Role::Responder);
  Keypair* const third = make(Role::Initiator);
  store.install_initiator(keypairs, first);
  store.install_responder(keypairs, second);
  store.install_initiator(keypairs, third);
  EXPECT_EQ(keypairs.current, third);
  EXPECT_EQ(keypairs.previous, second);
  EXPECT_EQ(keypairs.lingering[0].keypair, first);
  EXPECT_EQ(found(first), first);
  confirm(second);
  EXPECT_EQ(slot(), third);
  EXPECT_FALSE(store.sync(keypairs, kPeer.index, kNow));
  EXPECT_EQ(keypairs.current, third);
}

TEST_F(Store, LetsTwoKeypairsLingerForAWhileAndNoLonger) {
  std::array<Keypair*, 6> made;
  for (Keypair*& keypair : made) store.install_initiator(keypairs, keypair = make(Role::Initiator));
  // The last two are current and previous.
  EXPECT_EQ(keypairs.lingering[0].keypair, made[3]);
  EXPECT_EQ(keypairs.lingering[1].keypair, made[2]);
  EXPECT_EQ(found(made[3]), made[3]);
  EXPECT_EQ(found(made[1]), nullptr);

  const Instant end = kNow + KeypairStore::kLinger;
  EXPECT_EQ(store.expire_lingering(keypairs, end - 1ns), end);
  EXPECT_EQ(found(made[2]), made[2]);
  EXPECT_TRUE(store.expire_lingering(keypairs, end).is_never());
  for (int i : {2, 3}) EXPECT_EQ(found(made[i]), nullptr);
  collect();
  EXPECT_EQ(store.in_use(), 2u);
}

TEST_F(Store, TakesAConfirmedNextAlsoWhenTheWorkerCouldNotPutItThere) {
  Keypair* const dropped = make(Role::Responder);
  store.install_responder(keypairs, dropped);
  Keypair* const stale_view = dropped->sending().replaces.load();
  Keypair* const next = make(Role::Responder);
  store.install_responder(keypairs, next);
  // A worker had read what `dropped` replaces just before, and promotes it.
  Keypair* expected = stale_view;
  ASSERT_TRUE(slot().compare_exchange_strong(expected, dropped));
  confirm(next);
  EXPECT_EQ(slot(), dropped);  // it could not
  EXPECT_TRUE(store.sync(keypairs, kPeer.index, kNow));
  EXPECT_EQ(slot(), next);
  EXPECT_EQ(keypairs.current, next);
}

TEST_F(Store, FreesNothingThatAWorkerMadeCurrentAtTheLastMoment) {
  Keypair* const dropped = make(Role::Responder);
  store.install_responder(keypairs, dropped);
  store.clear(keypairs, kPeer.index);
  Keypair* expected = nullptr;
  ASSERT_TRUE(slot().compare_exchange_strong(expected, dropped));
  EXPECT_EQ(collect(), 0u);
  EXPECT_EQ(slot(), nullptr);
  EXPECT_EQ(collect(), 0u);
  EXPECT_EQ(store.in_use(), 0u);
}

TEST_F(Store, GivesBackEverythingIncludingIndexes) {
  publish::EpochReader& reader = epoch.add_reader();
  reader.online();
  for (int i = 0; i < 50; ++i) {
    store.install_initiator(keypairs, make(Role::Initiator));
    store.install_responder(keypairs, make(Role::Responder));
    store.stop_sending(keypairs);
    EXPECT_EQ(slot(), nullptr);
  }
  store.clear(keypairs, kPeer.index);
  EXPECT_GT(collect(), 0u);
  EXPECT_EQ(store.in_use(), 100u);
  reader.begin();
  EXPECT_EQ(collect(), 0u);
  EXPECT_EQ(store.in_use(), 0u);
  // All indexes are free again, and there are no more than these.
  for (int i = 0; i < 900; ++i) ASSERT_TRUE(store.reserve_index(0));
  EXPECT_FALSE(store.reserve_index(0));
}

TEST_F(Store, AHandshakeInFlightTakesTheRoomOfItsKeypair) {
  std::vector<uint32_t> indexes;
  while (const auto index = store.reserve_index(kPeer.index)) indexes.push_back(*index);
  EXPECT_EQ(indexes.size(), 900u);
  EXPECT_EQ(store.in_use(), 0u);
  EXPECT_EQ(store.peer_of(indexes[0]), kPeer.index);
  wireguard::DerivedKeys keys;
  keys.local_index = indexes[0];
  EXPECT_NE(store.make(keys, kPeer, 0, kNow), nullptr);  // it has its place already
  store.release_index(indexes[1]);
  EXPECT_EQ(store.peer_of(indexes[1]), kNoPeer);
  EXPECT_TRUE(store.reserve_index(kPeer.index));
  EXPECT_FALSE(store.reserve_index(kPeer.index));
}

// Two workers that send and confirm while the session thread replaces keypairs as fast as it can.
TEST_F(Store, NeverLetsAWorkerSeeAFreedKeypair) {
  std::atomic<bool> stop{false};
  std::array<std::atomic<uint32_t>, 8> recent{};
  const auto worker = [&](publish::EpochReader& reader, uint64_t seed) {
    SeededRandom own(seed);
    reader.online();
    while (!stop.load(std::memory_order_relaxed)) {
      reader.begin();
      for (int i = 0; i < 8; ++i) {
        // An arena wipes what is released: the peer would be none.
        if (Keypair* current = slot().load(std::memory_order_acquire)) {
          CHECK(current->peer == kPeer);
          CHECK(wireguard::reserve_nonces(*current, 1).count == 1);
        }
        const uint32_t index =
            recent[own.next_u32() % recent.size()].load(std::memory_order_relaxed);
        Keypair* found = arena.find(index);
        if (found == nullptr) continue;
        confirm(found);
        CHECK(found->peer == kPeer);
      }
    }
    reader.offline();
  };
  publish::EpochReader& one = epoch.add_reader();
  publish::EpochReader& two = epoch.add_reader();
  std::thread first(worker, std::ref(one), 11);
  std::thread second(worker, std::ref(two), 12);
  size_t promoted = 0;
  for (int round = 0; round < 20'000; ++round) {
    promoted += store.sync(keypairs, kPeer.index, kNow) ? 1 : 0;
    const uint32_t dice = random.next_u32() % 16;
    if (dice < 12 && store.in_use() < 800) {
      Keypair* fresh = make(dice < 8 ? Role::Responder : Role::Initiator);
      ASSERT_NE(fresh, nullptr);
      recent[static_cast<size_t>(round) % recent.size()].store(arena.index_of(*fresh));
      if (fresh->sending().role == Role::Responder) {
        store.install_responder(keypairs, fresh);
      } else {
        store.install_initiator(keypairs, fresh);
      }
    } else if (dice == 12) {
      store.clear(keypairs, kPeer.index);
    } else if (dice == 13) {
      store.stop_sending(keypairs);
    } else if (dice == 14) {
      (void)store.expire_lingering(keypairs, kNow + 2 * KeypairStore::kLinger);
    }
    collect();
  }
  store.clear(keypairs, kPeer.index);
  stop = true;
  first.join();
  second.join();
  while (collect() != 0) {
  }
  EXPECT_EQ(store.in_use(), 0u);
  EXPECT_EQ(slot(), nullptr);
  RecordProperty("promoted", static_cast<int>(promoted));
}

}  // namespace
}  // namespace turnpike::session

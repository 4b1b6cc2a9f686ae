// A Session with everything around it, on a virtual clock, and a worker that moves bytes but encrypts nothing:
// a data message is the receiver index of the keypair that the real one would seal it with.
#pragma once

#include <algorithm>
#include <deque>
#include <random>
#include <string_view>
#include <vector>

#include "control/session/session.h"
#include "dataplane/base/pages.h"
#include "dataplane/crypto/x25519.h"
#include "dataplane/lookup/allowed_ips.h"

namespace turnpike::session::testing {

class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(uint64_t seed) noexcept : engine_(seed) {}
  void fill(std::span<uint8_t> out) noexcept override {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(engine_());
  }

 private:
  std::mt19937_64 engine_;
};

inline IpAddress ip(std::string_view text) { return *parse_ip(text); }

// Both tables of a port or tunnel, built once.
class Routes {
 public:
  explicit Routes(RoomSource& pages) : v4_(pages), v6_(pages) {}
  void add(std::string_view prefix, publish::NextHop hop) {
    hops_.push_back(hop);
    const lookup::Edit edit[] = {{.prefix = parse_interface_address(prefix)->subnet(),
                                  .peer = static_cast<PeerIndex>(hops_.size() - 1)}};
    if (edit[0].prefix.address.is_v4()) {
      CHECK(v4_.prepare(edit));
      (void)v4_.commit();
    } else {
      CHECK(v6_.prepare(edit));
      (void)v6_.commit();
    }
  }
  // The address with its subnet, as the configuration of a port gives it.
  void add_interface(std::string_view address) {
    const InterfaceAddress interface = *parse_interface_address(address);
    add(to_string(interface.subnet()),
        {.kind = publish::NextHopKind::OnLink, .source = interface.address});
    add(to_string(interface.address),
        {.kind = publish::NextHopKind::Local, .source = interface.address});
  }
  [[nodiscard]] publish::RouteTable table() const {
    return {.v4 = v4_.head(), .v6 = v6_.head(), .next_hops = hops_};
  }

 private:
  lookup::WriterV4 v4_;
  lookup::WriterV6 v6_;
  std::vector<publish::NextHop> hops_;
};

struct Injected {
  publish::InjectHeader header;
  Packet bytes;
};

inline constexpr PortIndex kOutside = 0;
inline constexpr PortIndex kInside = 1;
inline constexpr size_t kSlotBytes = 2'048;

class Gateway {
 public:
  // `room`: for peers; a benchmark has many.
  Gateway(uint64_t seed, uint8_t number, size_t workers = 1, uint32_t room = 1'024)
      : random(seed),
        slots(pages, room, seed),
        keypairs(pages, std::min(4 * room, wireguard::KeypairArena::kMaxKeypairs), random),
        neighbours(epoch, seed),
        outside(pages),
        inside(pages),
        tunnel_local(pages) {
    for (size_t i = 0; i < workers; ++i) {
      doors.push_back(std::make_unique<publish::Door>(epoch, pages, kSlotBytes));
      door_pointers.push_back(doors.back().get());
    }
    key = crypto::generate_private_key(random);
    public_key = crypto::public_key(key);
    outside_mac = MacAddress{{2, 0, 0, 0, 0, number}};
    inside_mac = MacAddress{{2, 0, 0, 0, 1, number}};
    snapshot.port_count = 2;
    snapshot.ports[kOutside].mac = outside_mac;
    snapshot.ports[kInside].mac = inside_mac;
    snapshot.tunnel_count = 1;
    snapshot.tunnels[0] = {
        .outside = kOutside, .inside = kInside, .listen_port = 51'820, .active = true};
  }

  // Once the routes are there. `computing`: further session threads, whose part the test plays; all that can be
  // handed over is.
  void start(const Now& now, size_t computing = 0) {
    for (size_t i = 0; i < computing; ++i) {
      rings.push_back(std::make_unique<ComputationRing>());
      ring_pointers.push_back(rings.back().get());
    }
    snapshot.ports[kOutside].routes = outside.table();
    snapshot.ports[kInside].routes = inside.table();
    snapshot.tunnels[0].local = tunnel_local.table();
    ++snapshot.generation;
    session.emplace(SessionParts{.peers = slots,
                                 .keypairs = keypairs,
                                 .neighbours = neighbours,
                                 .epoch = epoch,
                                 .random = random,
                                 .doors = door_pointers,
                                 .events = &events,
                                 .computing = ring_pointers,
                                 .kept_per_turn = 0},
                    now.instant);
    session->set_tunnel(0, key);
  }
  // What the other session threads have to do; at most `limit` of each.
  size_t compute(size_t limit = ComputationRing::kSlots) {
    size_t done = 0;
    for (const auto& ring : rings) done += ring->work(random, limit);
    return done;
  }

  void punt(publish::PuntHeader header, Bytes bytes = {}, size_t worker = 0) {
    publish::PuntRing::Slot* slot = doors[worker]->punt.try_begin();
    CHECK(slot != nullptr);
    slot->header = header;
    slot->length_bytes = static_cast<uint32_t>(bytes.size());
    std::ranges::copy(bytes, slot->data());
    doors[worker]->punt.commit();
  }

  [[nodiscard]] std::vector<Injected> take_injected(size_t worker = 0) {
    std::vector<Injected> all;
    while (publish::InjectRing::Slot* slot = doors[worker]->inject.front()) {
      all.push_back({slot->header, Packet(slot->data(), slot->data() + slot->length_bytes)});
      doors[worker]->inject.pop();
    }
    return all;
  }

  void needs_handshake(PeerRef peer, Bytes packet, size_t worker = 0) {
    punt({.kind = publish::PuntKind::NeedsHandshake, .tunnel = 0, .peer = peer}, packet, worker);
  }

  [[nodiscard]] uint64_t drops(DropReason reason) const {
    return session->counters().drops[static_cast<size_t>(reason)].value();
  }
  [[nodiscard]] uint64_t all_drops() const {
    uint64_t sum = 0;
    for (const auto& counter : session->counters().drops) sum += counter.value();
    return sum;
  }

  // As a worker does: what it seals a message for the peer with.
  [[nodiscard]] wireguard::Keypair* sending(PeerIndex peer) {
    return slots[peer].send.current.load(std::memory_order_acquire);
  }

  // As a worker does at an authentic message under `index`; false when it finds no such keypair.
  bool receive_data(uint32_t index, const Now& now, bool keepalive) {
    wireguard::Keypair* keypair = keypairs.find(index);
    if (keypair == nullptr) return false;
    if (now.instant - keypair->sending().created_at >= wireguard::kRejectAfterTime) return false;
    publish::PeerSlot& slot = slots[keypair->peer.index];
    if (keypair->sending().role == wireguard::Role::Responder &&
        !keypair->confirmed.exchange(true)) {
      wireguard::Keypair* expected = keypair->sending().replaces.load();
      (void)slot.send.current.compare_exchange_strong(expected, keypair);
      if (lose_events) {
        keypair->confirmed.store(false);  // a full ring
      } else {
        punt({.kind = publish::PuntKind::KeypairConfirmed,
              .tunnel = keypair->tunnel,
              .peer = keypair->peer,
              .local_index = index});
      }
    }
    slot.activity.last_received.store(now.instant.nanoseconds);
    slot.activity.unacknowledged_since.store(0);
    if (!keepalive && slot.activity.unanswered_since.load() == 0) {
      slot.activity.unanswered_since.store(now.instant.nanoseconds);
    }
    return true;
  }
  void note_sent(PeerIndex peer, const Now& now, bool keepalive) {
    publish::PeerActivity& activity = slots[peer].activity;
    activity.last_sent.store(now.instant.nanoseconds);
    activity.unanswered_since.store(0);
    if (!keepalive && activity.unacknowledged_since.load() == 0) {
      activity.unacknowledged_since.store(now.instant.nanoseconds);
    }
  }

  SystemPages pages;
  publish::Epoch epoch;
  SeededRandom random;
  publish::PeerSlots slots;
  wireguard::KeypairArena keypairs;
  publish::NeighbourTable neighbours;
  std::vector<std::unique_ptr<publish::Door>> doors;
  std::vector<publish::Door*> door_pointers;
  std::vector<std::unique_ptr<ComputationRing>> rings;
  std::vector<ComputationRing*> ring_pointers;
  Routes outside, inside, tunnel_local;
  PrivateKey key;
  PublicKey public_key;
  MacAddress outside_mac, inside_mac;
  publish::Snapshot snapshot;
  EventQueue events;
  std::optional<Session> session;
  bool lose_events = false;
};

// A virtual clock that starts where nothing is near zero.
struct Clock {
  Now now{.instant = {1'000'000'000'000}, .wall = {1'800'000'000'000'000'000}};
  void advance(Duration by) {
    now.instant = now.instant + by;
    now.wall.nanoseconds += static_cast<uint64_t>(by.count());
  }
};

}  // namespace turnpike::session::testing

// The state of one burst on its way through the stages: arrays by lane, and the three ways in which a
// packet leaves (sent, dropped, finished). For the sources of this folder and their tests.
//   Threads: the worker that owns the Pipeline.
#pragma once

#include <cstdint>

#include "dataplane/pipeline/headers.h"
#include "dataplane/pipeline/lanes.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/stages.h"

namespace turnpike::pipeline {

// Addresses of some lanes by family, as look-ups take them.
struct Addresses {
  Lanes v4_lanes, v6_lanes;
  PerLane<uint32_t> v4;
  PerLane<lookup::Ipv6Key> v6;

  void clear() noexcept {
    v4_lanes.clear();
    v6_lanes.clear();
  }
  void add_v4(Lane lane, uint32_t address) noexcept {
    v4[v4_lanes.size()] = address;
    v4_lanes.push(lane);
  }
  void add_v6(Lane lane, const lookup::Ipv6Key& address) noexcept {
    v6[v6_lanes.size()] = address;
    v6_lanes.push(lane);
  }
};

struct Burst {
  Burst(const Shared& shared_by_workers, publish::Door& own_door, crypto::Aead& own_aead) noexcept
      : shared(shared_by_workers), door(own_door), aead(own_aead) {}

  // For life.
  Shared shared;
  publish::Door& door;
  crypto::Aead& aead;
  StageCycles* stages = nullptr;  // set by benchmarks
  uint16_t ipv4_id =
      0;  // of the next outer header; DF is 0, so it must differ among packets in flight

  // For this burst.
  const publish::Snapshot* snapshot = nullptr;
  Instant now;
  PortIndex port = kNoPort;  // where it was received; kNoPort: injected
  Packet* packets = nullptr;
  bool any_unfinished = false;  // of received frames: the checksum, see RxChecksum
  Output* output = nullptr;

  // By lane. An inner packet has `tunnel` and either came from a peer (`from`) or goes to one (`peer`).
  PerLane<TunnelIndex> tunnel;
  PerLane<PeerIndex> peer;
  PerLane<PeerRef> from;  // none: from the plain side
  PerLane<const uint8_t*> outer;  // of a WireGuard message: its IP header
  PerLane<wireguard::Keypair*> keypair;  // of a data message that was received: where it would be
  PerLane<uint64_t> counter;

  // Of the stage at work.
  Addresses addresses;
  PerLane<uint32_t> found;  // what look_up() found
  PerLane<uint32_t> receivers{};  // of messages in their order: the receiver index, if it is data
  Groups groups;
  PerLane<crypto::AeadJob> jobs;
  PerLane<uint8_t> sealed;  // where the AEAD did not seal all
  PerLane<uint8_t> authentic;
  PerLane<uint64_t>
      source_print;  // of an inner source to be looked up, to keep if its owner is the peer; or 0

  [[nodiscard]] publish::Counters& counters() noexcept { return door.counters; }
  [[nodiscard]] const publish::TunnelView& tunnel_of(Lane lane) const noexcept {
    return snapshot->tunnels[tunnel[lane]];
  }

  void drop(Lane lane, DropReason reason) noexcept {
    counters().drop(reason);
    output->finish(packets[lane]);
  }
  void finish(Lane lane) noexcept { output->finish(packets[lane]); }
  void mark(Stage stage) noexcept {
    if (stages != nullptr) [[unlikely]]
      stages->mark(stage);
  }
  // io/ counts what the port took; it may take less.
  void transmit(Lane lane, PortIndex to) noexcept { output->tx[to].push(packets[lane]); }
  // In a pass of its own: a packet that is copied right after its fields were written waits for the store buffer.
  void transmit(const Lanes& lanes, PortIndex to) noexcept {
    TxBatch& batch = output->tx[to];
    CHECK(batch.count + lanes.size() <= TxBatch::kCapacity);
    const Packet* const all = packets;
    Packet* next = batch.packets.data() + batch.count;
    for (const Lane lane : lanes) *next++ = all[lane];
    batch.count += lanes.size();
  }

  // values[lane] of all `addresses`: of the longest match, kNoPeer where there is none.
  void look_up(lookup::RootV4 v4, lookup::RootV6 v6, PerLane<uint32_t>& values) const noexcept;
  // The same for one address.
  [[nodiscard]] static uint32_t look_up_one(lookup::RootV4 v4, lookup::RootV6 v6,
                                            const uint8_t* address, unsigned version) noexcept;
  // The next hop that a value of look_up() in `routes` numbers, or nullptr.
  [[nodiscard]] static const publish::NextHop* next_hop(const publish::RouteTable& routes,
                                                        uint32_t value) noexcept {
    return value < routes.next_hops.size() ? &routes.next_hops[value] : nullptr;
  }
};

// ---- The stages. Each ends or passes on every lane that it is given.

// parse.cpp: frames of `burst.port`, all `count` of them. Gives back what is for a peer of a tunnel whose
// inside is the port (`plain`, data at the IP header) and what is a WireGuard message (`messages`, data at
// the UDP payload, tunnel and outer set).
void parse(Burst& burst, size_t count, Lanes& plain, Lanes& messages) noexcept;

// outbound.cpp: packets of the plain side, data at the IP header.
void outbound(Burst& burst, Lanes& plain) noexcept;
// Seals and sends inner packets whose tunnel and peer are known and that may be forwarded; an empty one is a
// keepalive.
void send_to_peers(Burst& burst, const Lanes& lanes) noexcept;

// inbound.cpp: WireGuard messages.
void inbound(Burst& burst, const Lanes& messages) noexcept;

// deliver.cpp: inner packets out of one tunnel, whose sources were checked; data at the IP header.
void deliver(Burst& burst, TunnelIndex tunnel, Lanes& lanes) noexcept;

// inject.cpp: what waits in the inject ring, into `count` blank packets.
void inject(Burst& burst, size_t count) noexcept;

// ---- Shared by stages.

// punt.cpp: copies to the session thread. All end the packet, but for what says otherwise.
void punt(Burst& burst, Lane lane, publish::PuntHeader header) noexcept;
void punt_inner(Burst& burst, Lane lane, publish::PuntKind kind) noexcept;
void punt_neighbour(Burst& burst, Lane lane, PortIndex port, const IpAddress& next_hop) noexcept;
// Drops, and tells who sent the inner packet, if the ring has room to spare. `mtu_bytes`: what would have fitted,
// where it was too big.
void drop_undeliverable(Burst& burst, Lane lane, DropReason reason,
                        uint16_t mtu_bytes = 0) noexcept;
// The link of an inner packet that is to go to `next_hop` on the port, or, where that is nullptr, through its tunnel.
// Passed in registers.
struct InnerLink {
  uint16_t mtu_bytes;
  PortIndex port = kNoPort;
  const IpAddress* next_hop = nullptr;
};
// Of an IPv4 packet that may be fragmented the session thread makes fragments; any other is dropped, and its
// sender told what fits (RFC 1812, 5.2.6 and 5.3.3; RFC 4443, 3.2).
void end_too_big(Burst& burst, Lane lane, InnerLink link, bool ttl_is_done) noexcept;
// Whether punt_event() will find room: nobody else puts anything into the ring.
[[nodiscard]] bool room_for_event(const Burst& burst, publish::PuntKind kind) noexcept;
// No packet. False: there was no room, ask again later.
[[nodiscard]] bool punt_event(Burst& burst, const publish::PuntHeader& header) noexcept;

// Whether the inner packet may go on over a link; if so its TTL is one less, else it has ended.
[[nodiscard]] inline bool may_forward(Burst& burst, Lane lane, InnerLink link) noexcept {
  const Packet& packet = burst.packets[lane];
  if (ip_ttl(packet.data) <= 1) [[unlikely]] {
    return drop_undeliverable(burst, lane, DropReason::TtlExceeded), false;
  }
  if (packet.length_bytes > link.mtu_bytes) [[unlikely]] {
    return end_too_big(burst, lane, link, false), false;
  }
  decrement_ttl(packet.data);
  return true;
}

}  // namespace turnpike::pipeline

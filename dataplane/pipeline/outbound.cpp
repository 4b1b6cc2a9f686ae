// Inner packets on their way to peers:
//   find_owners:     look-up of destinations in the allowed IPs of each tunnel of the port
//   finish_l4_checksums: where their senders left that to a device
//   (send_to_peers, also for packets from one peer to another and for injected ones)
//   group by peer; then, some groups after the others, so that their lines come while those before are sealed:
//     load_peers:      keypair, endpoint, outer header as far as it is common
//     prepare_nonces:  key's age, nonces for the whole group
//     write_messages:  padding, data header, outer header
//     seal
//   finish_checksums, transmit
#include "dataplane/pipeline/burst.h"
#include "dataplane/pipeline/l4_checksum.h"
#include "dataplane/pipeline/outer.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::pipeline {
namespace {

using publish::PuntKind;
using publish::TunnelView;
using wireguard::Keypair;

// How to get to some peers: by one neighbour, from one tunnel. Trivial, as below.
struct Way {
  TunnelIndex tunnel;
  uint16_t mtu_bytes;  // of the tunnel
  bool neighbour_known;
  publish::EndpointWords endpoint;  // of the first of them
  OuterHeader outer;

  [[nodiscard]] bool leads_to(TunnelIndex from,
                              const publish::EndpointWords& other) const noexcept {
    return tunnel == from && endpoint.same_way(other);
  }
};
static_assert(std::is_trivially_default_constructible_v<Way>);

// What the packets of one group have in common. Trivial: an array of a whole burst is not to be cleared for
// the one group that there often is.
struct alignas(kCacheLine) Sending {
  Keypair* keypair;
  uint64_t counter;  // the next nonce of the reserved range
  const Way* way;
  OuterRemote remote;
};
static_assert(std::is_trivially_default_constructible_v<Sending> && sizeof(Sending) == kCacheLine);

// By group; and the ways of all groups, mostly one.
struct Sendings {
  PerLane<Sending> of;
  PerLane<Way> ways;
  size_t way_count = 0;

  [[nodiscard]] const Way* last_way() const noexcept {
    return way_count == 0 ? nullptr : &ways[way_count - 1];
  }
};

// What keeps the counter from wrapping when all workers reserve a burst at once (see reserve_nonces()).
static_assert(kMaxWorkers * kBurstMax < uint64_t{1} << 13);

// Room for the longest headers, for padding and for the tag.
constexpr uint16_t kHeadroomBytes = kMaxOuterBytes + wireguard::kDataHeaderBytes;
constexpr uint16_t kTailroomBytes = wireguard::kPaddingMultiple + crypto::kAuthTagBytes;

void find_owners(Burst& burst, const Lanes& plain, Lanes& owned, Lanes& unowned) noexcept {
  const publish::PortView& port = burst.snapshot->ports[burst.port];
  Lanes open = plain;
  for (uint16_t i = 0; i < port.inside_count && !open.empty(); ++i) {
    const TunnelIndex index = port.inside_of[i];
    const TunnelView& tunnel = burst.snapshot->tunnels[index];
    burst.addresses.clear();
    for (const Lane lane : open) {
      const uint8_t* ip = burst.packets[lane].data;
      if (ip_version(ip) == 4) {
        burst.addresses.add_v4(lane, ipv4_destination(ip));
      } else {
        burst.addresses.add_v6(lane, ipv6_key(ipv6_destination(ip)));
      }
    }
    burst.look_up(tunnel.allowed_v4, tunnel.allowed_v6, burst.found);
    open.filter([&](Lane lane) {
      const PeerIndex peer = burst.found[lane];
      if (peer == kNoPeer) return true;
      if (owned.size() < 2 * kBatchLanes) prefetch(&burst.shared.peers[peer].send);
      burst.tunnel[lane] = index;
      burst.peer[lane] = peer;
      burst.from[lane] = {};
      owned.push(lane);
      return false;
    });
  }
  unowned = open;
}

// Before anything else becomes of them: they may also be held for a handshake, or fragmented. What came out of a tunnel
// never comes here; of such a packet `l4_checksum` would be the outer one.
[[gnu::noinline]] void finish_l4_checksums(Burst& burst, const Lanes& owned) noexcept {
  for (const Lane lane : owned) {
    const Packet& packet = burst.packets[lane];
    if (packet.l4_checksum != RxChecksum::Unfinished) continue;
    finish_l4_checksum({packet.data, packet.length_bytes});
  }
}

[[nodiscard]] bool is_local(const TunnelView& tunnel, const uint8_t* ip) noexcept {
  const bool v4 = ip_version(ip) == 4;
  const uint32_t value =
      Burst::look_up_one(tunnel.local.v4, tunnel.local.v6, v4 ? ip + 16 : ip + 24, v4 ? 4 : 6);
  const publish::NextHop* hop = Burst::next_hop(tunnel.local, value);
  return hop != nullptr && hop->kind == publish::NextHopKind::Local;
}

// Nobody's. A host on the inside may ask whether a tunnel's own address is alive; what another host on its
// link could have had directly is none of our business.
void end_unowned(Burst& burst, Lane lane) noexcept {
  const publish::PortView& port = burst.snapshot->ports[burst.port];
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data;
  const bool v4 = ip_version(ip) == 4;
  for (uint16_t i = 0; i < port.inside_count; ++i) {
    if (!is_local(burst.snapshot->tunnels[port.inside_of[i]], ip)) continue;
    const bool icmp =
        ip[v4 ? 9 : 6] == static_cast<uint8_t>(v4 ? Protocol::Icmp : Protocol::Icmpv6);
    if (!icmp) return burst.drop(lane, DropReason::LocalUnwanted);
    packet.push_front(kEthernetBytes);
    return punt(burst, lane, {.kind = PuntKind::PortIcmp, .port = burst.port});
  }
  const publish::NextHop* hop = Burst::next_hop(
      port.routes,
      Burst::look_up_one(port.routes.v4, port.routes.v6, v4 ? ip + 16 : ip + 24, v4 ? 4 : 6));
  if (hop != nullptr && hop->kind == publish::NextHopKind::OnLink) {
    return burst.drop(lane, DropReason::NotForwarded);
  }
  burst.tunnel[lane] = port.inside_of[0];
  burst.from[lane] = {};
  drop_undeliverable(burst, lane, DropReason::NoAllowedIp);
}

void reach_slots(Burst& burst, const Batch& batch) noexcept {
  for (size_t g = batch.first; g < batch.end; ++g) {
    prefetch(&burst.shared.peers[static_cast<PeerIndex>(burst.groups.key(g))].send);
  }
}

// Ends the lanes of a group from `first` on: `end(lane)` for each packet, keepalives vanish.
template <typename End>
void end_group(Burst& burst, size_t group, size_t first, End&& end) noexcept {
  for (const Lane lane : burst.groups.lanes(group).subspan(first)) {
    if (burst.packets[lane].length_bytes == 0) {
      burst.finish(lane);
    } else {
      end(lane);
    }
  }
  burst.groups.truncate(group, first);
}

// A key is due for renewal by age, which the initiator alone looks at (paper, 6.2), or by messages.
void ask_for_rekey(Burst& burst, Keypair& keypair, uint64_t counter) noexcept {
  const bool aged = keypair.sending().role == wireguard::Role::Initiator &&
                    burst.now - keypair.sending().created_at >= wireguard::kRekeyAfterTime;
  if (!aged && counter < wireguard::kRekeyAfterMessages) [[likely]]
    return;
  // Once for each key: a flag that another worker set is as good as ours.
  if (keypair.sending().rekey_requested.load(std::memory_order_relaxed) ||
      keypair.sending().rekey_requested.exchange(true, std::memory_order_relaxed)) {
    return;
  }
  if (!punt_event(burst, {.kind = PuntKind::KeyAged,
                          .tunnel = keypair.tunnel,
                          .peer = keypair.peer,
                          .local_index = keypair.local_index.load(std::memory_order_relaxed)})) {
    keypair.sending().rekey_requested.store(false, std::memory_order_relaxed);
  }
}

// A way that no group before went, or nullptr: there is none.
[[nodiscard]] const Way* make_way(Burst& burst, TunnelIndex tunnel_index,
                                  const publish::EndpointWords& endpoint,
                                  Sendings& sendings) noexcept {
  const TunnelView& tunnel = burst.snapshot->tunnels[tunnel_index];
  const publish::NeighbourIndex first_hop = endpoint.first_hop();
  if (first_hop == publish::kNoNeighbour || tunnel.outside == kNoPort) return nullptr;
  Way& way = sendings.ways[sendings.way_count++];
  publish::Neighbour& neighbour = burst.shared.neighbours[first_hop];
  MacAddress mac;
  way.tunnel = tunnel_index;
  way.mtu_bytes = tunnel.mtu_bytes;
  way.endpoint = endpoint;
  way.neighbour_known = neighbour.mac(mac);
  if (way.neighbour_known) note_neighbour_used(neighbour, burst.now);
  // What the session thread will send by itself must be complete.
  const PortOffloads offloads =
      way.neighbour_known ? burst.shared.offloads[tunnel.outside] : PortOffloads{};
  way.outer.prepare(endpoint, tunnel, burst.snapshot->ports[tunnel.outside], mac, offloads);
  return &way;
}

void punt_group(Burst& burst, size_t group) noexcept {
  end_group(burst, group, 0, [&](Lane lane) { punt_inner(burst, lane, PuntKind::NeedsHandshake); });
}

// Where that is not known yet. Reads the endpoint once more, so that it need not be in memory where it is.
[[gnu::noinline]] void find_way(Burst& burst, size_t group, Sendings& sendings) noexcept {
  const publish::EndpointWords endpoint =
      burst.shared.peers.endpoint_words(static_cast<PeerIndex>(burst.groups.key(group)));
  const auto lanes = burst.groups.lanes(group);
  Sending& sending = sendings.of[group];
  if (endpoint.remote_family() == Family::None) [[unlikely]] {
    return end_group(burst, group, 0,
                     [&](Lane lane) { drop_undeliverable(burst, lane, DropReason::NoEndpoint); });
  }
  if (sending.keypair == nullptr) [[unlikely]]
    return punt_group(burst, group);
  // An injected keepalive may leave the tunnel to us.
  TunnelIndex tunnel = burst.tunnel[lanes[0]];
  if (tunnel == kNoTunnel) [[unlikely]] {
    tunnel = sending.keypair->tunnel;
    for (const Lane lane : lanes) burst.tunnel[lane] = tunnel;
  }
  sending.way = sendings.last_way();
  if (sending.way == nullptr || !sending.way->leads_to(tunnel, endpoint)) {
    sending.way = make_way(burst, tunnel, endpoint, sendings);
  }
  if (sending.way == nullptr) [[unlikely]] {
    if (sending.keypair->expired(burst.now)) return punt_group(burst, group);
    return end_group(burst, group, 0,
                     [&](Lane lane) { burst.drop(lane, DropReason::NeighbourUnknown); });
  }
  sending.remote.prepare(endpoint);
}

// All that the slots of a batch are read for, once: keypairs, whose lines come while others are sealed, and endpoints
// with what follows from them.
void load_peers(Burst& burst, const Batch& batch, Sendings& sendings) noexcept {
  const Way* last = sendings.last_way();  // most peers are behind one router
  for (size_t g = batch.first; g < batch.end; ++g) {
    const auto peer = static_cast<PeerIndex>(burst.groups.key(g));
    publish::PeerSlot& slot = burst.shared.peers[peer];
    Sending& sending = sendings.of[g];
    // Acquire pairs with the release store of the session thread that published the keypair.
    Keypair* keypair = slot.send.current.load(std::memory_order_acquire);
    sending.keypair = keypair;
    prefetch_for_write(wireguard::KeypairChunk::sending_at(keypair));
    prefetch_for_write(&slot.activity);
    const publish::EndpointWords endpoint = burst.shared.peers.endpoint_words(peer);
    const TunnelIndex tunnel = burst.tunnel[burst.groups.lanes(g)[0]];
    if (last == nullptr || keypair == nullptr || !last->leads_to(tunnel, endpoint)) [[unlikely]] {
      find_way(burst, g, sendings);
      last = sendings.last_way();
      continue;
    }
    sending.way = last;
    sending.remote.prepare(endpoint);
  }
}

// The key's age and nonces for the whole group.
void prepare_nonces(Burst& burst, size_t group, Sending& sending) noexcept {
  const auto lanes = burst.groups.lanes(group);
  if (lanes.empty()) [[unlikely]]
    return;
  Keypair& keypair = *sending.keypair;
  if (keypair.expired(burst.now)) [[unlikely]]
    return punt_group(burst, group);
  const wireguard::NonceRange nonces =
      wireguard::reserve_nonces(keypair, static_cast<uint32_t>(lanes.size()));
  if (nonces.count == 0) [[unlikely]]
    return punt_group(burst, group);
  if (nonces.count < lanes.size()) [[unlikely]] {
    end_group(burst, group, nonces.count,
              [&](Lane lane) { burst.drop(lane, DropReason::NonceLimit); });
  }
  sending.counter = nonces.first;
  ask_for_rekey(burst, keypair, nonces.first);
}

// Padding, headers and the job of one packet. A nonce that a dropped packet leaves unused is no harm.
[[nodiscard]] bool write_message(Burst& burst, Lane lane, Sending& sending,
                                 crypto::AeadJob& job) noexcept {
  Packet& packet = burst.packets[lane];
  if (packet.headroom_bytes < kHeadroomBytes || packet.tailroom_bytes < kTailroomBytes)
      [[unlikely]] {
    return burst.drop(lane, DropReason::NoHeadroom), false;
  }
  const uint16_t inner_bytes = packet.length_bytes;
  const auto text_bytes =
      static_cast<uint16_t>(wireguard::padded_bytes(inner_bytes, sending.way->mtu_bytes));
  // The outer packet would not fit its port. A tunnel of such an MTU is warned of when it is configured.
  const OuterHeader& outer = sending.way->outer;
  if (text_bytes > outer.max_text_bytes) [[unlikely]] {
    return end_too_big(burst, lane, {.mtu_bytes = outer.max_inner_bytes()}, true), false;
  }
  const Ecn ecn = inner_bytes == 0 ? Ecn::NotEct : ip_ecn(packet.data);
  // As many zeros as padding can be; the tag overwrites what is too much.
  std::memset(packet.data + inner_bytes, 0, wireguard::kPaddingMultiple);
  job = {.key = sending.keypair->sending().key.data(),
         .counter = sending.counter,
         .data = packet.data,
         .length_bytes = text_bytes};
  uint8_t* message = packet.data - wireguard::kDataHeaderBytes;
  const auto message_bytes = static_cast<uint16_t>(wireguard::kDataOverheadBytes + text_bytes);
  wireguard::write_data_header(
      std::span<uint8_t, wireguard::kDataHeaderBytes>(message, wireguard::kDataHeaderBytes),
      {.receiver_index = sending.keypair->sending().remote_index, .counter = sending.counter});
  outer.write(sending.remote, message, message_bytes, ecn, burst.ipv4_id++);
  packet.extend(static_cast<uint16_t>(wireguard::kDataHeaderBytes + outer.header_bytes),
                static_cast<uint16_t>(text_bytes - inner_bytes + crypto::kAuthTagBytes));
  packet.offload_checksums = outer.offloads_any();
  ++sending.counter;
  return true;
}

// What was sent, in bytes of messages and of inner packets; keepalives are no inner packets.
struct Sums {
  uint64_t message_bytes = 0, inner_packets = 0, inner_bytes = 0;
};

void note_sent(Burst& burst, size_t group, const Sums& sums) noexcept {
  publish::PeerActivity& activity =
      burst.shared.peers[static_cast<PeerIndex>(burst.groups.key(group))].activity;
  const uint64_t now = burst.now.nanoseconds;
  // Relaxed, all: the timers read them lazily, one by one.
  activity.tx_bytes.fetch_add(sums.message_bytes, std::memory_order_relaxed);
  activity.last_sent.store(now, std::memory_order_relaxed);
  if (activity.unanswered_since.load(std::memory_order_relaxed) != 0) {
    activity.unanswered_since.store(0, std::memory_order_relaxed);
  }
  if (sums.inner_packets != 0 &&
      activity.unacknowledged_since.load(std::memory_order_relaxed) == 0) {
    activity.unacknowledged_since.store(now, std::memory_order_relaxed);
  }
}

// Of groups that follow one another, as long as their tunnel is the same.
class TunnelSums {
 public:
  explicit TunnelSums(Burst& burst) noexcept : burst_(burst) {}
  ~TunnelSums() { flush(); }
  TunnelSums(const TunnelSums&) = delete;
  TunnelSums& operator=(const TunnelSums&) = delete;

  void add(TunnelIndex tunnel, const Sums& sums) noexcept {
    if (tunnel != tunnel_) [[unlikely]] {
      flush();
      tunnel_ = tunnel;
      packets_ = bytes_ = 0;
    }
    packets_ += sums.inner_packets;
    bytes_ += sums.inner_bytes;
  }

 private:
  void flush() noexcept {
    if (packets_ == 0) return;
    publish::TunnelCounters& counters = burst_.counters().tunnels[tunnel_];
    counters.outbound_packets.add(packets_);
    counters.outbound_bytes.add(bytes_);
  }

  Burst& burst_;
  TunnelIndex tunnel_ = kNoTunnel;
  uint64_t packets_ = 0, bytes_ = 0;
};

// Jobs of all packets that are left, in the order of the groups.
[[nodiscard]] size_t write_messages(Burst& burst, const Batch& batch, Sendings& sendings) noexcept {
  Groups& groups = burst.groups;
  TunnelSums of_tunnel(burst);
  size_t jobs = 0;
  for (size_t g = batch.first; g < batch.end; ++g) {
    Sending& sending = sendings.of[g];
    Sums sums;
    for (size_t i = 0; i < groups.lanes(g).size();) {
      const Lane lane = groups.lanes(g)[i];
      const uint16_t length = burst.packets[lane].length_bytes;
      if (!write_message(burst, lane, sending, burst.jobs[jobs])) [[unlikely]] {
        groups.remove(g, i);
        continue;
      }
      sums.message_bytes += wireguard::kDataOverheadBytes + burst.jobs[jobs].length_bytes;
      sums.inner_packets += length != 0 ? 1 : 0;
      sums.inner_bytes += length;
      ++jobs;
      ++i;
    }
    if (sums.message_bytes == 0) [[unlikely]]
      continue;
    of_tunnel.add(sending.way->tunnel, sums);
    note_sent(burst, g, sums);
  }
  return jobs;
}

// Their nonces are lost, which is allowed; what was counted for them stays counted.
void drop_unsealed(Burst& burst, const Batch& batch) noexcept {
  size_t job = 0;
  for (size_t g = batch.first; g < batch.end; ++g) {
    burst.groups.filter(g, [&](Lane lane) {
      if (burst.sealed[job++] != 0) return true;
      burst.drop(lane, DropReason::SealFailed);
      return false;
    });
  }
}

// Sealed and counted already: the session thread sends them when the neighbour has answered.
void punt_sealed(Burst& burst, size_t group, const Way& way) noexcept {
  for (const Lane lane : burst.groups.lanes(group)) {
    Packet& packet = burst.packets[lane];
    way.outer.finish(packet);
    packet.pop_front(kEthernetBytes);
    punt_neighbour(burst, lane, way.outer.port,
                   burst.shared.neighbours[way.endpoint.first_hop()].address);
  }
}

// All groups; those that go one way together.
void transmit_groups(Burst& burst, const Sendings& sendings) noexcept {
  const Groups& groups = burst.groups;
  for (size_t g = 0; g < groups.count();) {
    if (groups.lanes(g).empty()) {
      ++g;
      continue;
    }
    const Way& way = *sendings.of[g].way;
    if (!way.neighbour_known) [[unlikely]] {
      punt_sealed(burst, g++, way);
      continue;
    }
    Lanes lanes;
    for (; g < groups.count(); ++g) {
      const auto some = groups.lanes(g);
      if (some.empty()) continue;
      if (sendings.of[g].way != &way) break;
      for (const Lane lane : some) lanes.push(lane);
    }
    if (!way.outer.port_sums_udp) {
      for (const Lane lane : lanes) way.outer.finish(burst.packets[lane]);
    }
    burst.transmit(lanes, way.outer.port);
  }
}

}  // namespace

void outbound(Burst& burst, Lanes& plain) noexcept {
  if (plain.empty()) return;
  Lanes owned;
  Lanes unowned;
  find_owners(burst, plain, owned, unowned);
  for (const Lane lane : unowned) end_unowned(burst, lane);
  if (burst.any_unfinished) [[unlikely]]
    finish_l4_checksums(burst, owned);
  owned.filter([&](Lane lane) {
    return may_forward(burst, lane, {.mtu_bytes = burst.tunnel_of(lane).mtu_bytes});
  });
  burst.mark(Stage::Owners);
  send_to_peers(burst, owned);
}

void send_to_peers(Burst& burst, const Lanes& lanes) noexcept {
  if (lanes.empty()) return;
  // The first ones are needed soon.
  for (size_t i = 0; i < lanes.size() && i < kBatchLanes; ++i) {
    prefetch_for_write(wireguard::KeypairChunk::sending_at(
        burst.shared.peers[burst.peer[lanes[i]]].send.current.load(std::memory_order_relaxed)));
  }
  Groups& groups = burst.groups;
  groups.build(lanes, [&](Lane lane) { return uint64_t{burst.peer[lane]}; });
  Sendings sendings;
  Batch now = next_batch(groups, {0, 0});
  Batch next = next_batch(groups, now);
  reach_slots(burst, now);
  reach_slots(burst, next);
  load_peers(burst, now, sendings);
  burst.mark(Stage::Keypairs);
  while (now.first != now.end) {
    const Batch after = next_batch(groups, next);
    reach_slots(burst, after);
    burst.mark(Stage::Keypairs);
    for (size_t g = now.first; g < now.end; ++g) prepare_nonces(burst, g, sendings.of[g]);
    burst.mark(Stage::Prepare);
    const size_t jobs = write_messages(burst, now, sendings);
    burst.mark(Stage::Write);
    load_peers(burst, next, sendings);
    burst.mark(Stage::Keypairs);
    if (!burst.aead.try_seal({burst.jobs.data(), jobs}, {burst.sealed.data(), jobs})) [[unlikely]] {
      drop_unsealed(burst, now);
    }
    burst.mark(Stage::Seal);
    now = next;
    next = after;
  }
  transmit_groups(burst, sendings);
  burst.mark(Stage::Transmit);
}

}  // namespace turnpike::pipeline

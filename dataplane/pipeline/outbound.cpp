// Inner packets on their way to peers:
//   find_owners:     look-up of destinations in the allowed IPs of each tunnel of the port
//   (send_to_peers, also for packets from one peer to another and for injected ones)
//   load_keypairs:   group by peer; each keypair loaded once
//   prepare_address: endpoint, outer header as far as it is common
//   prepare_nonces:  key's age, nonces for the whole group
//   write_messages:  padding, data header, outer header
//   seal, finish_checksums, transmit
#include "dataplane/pipeline/burst.h"
#include "dataplane/pipeline/outer.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::pipeline {
namespace {

using publish::PuntKind;
using publish::TunnelView;
using wireguard::Keypair;

// What the packets of one group have in common. Trivial: an array of a whole burst is not to be cleared for
// the one group that there often is.
struct Sending {
  Keypair* keypair;
  uint64_t counter;  // the next nonce of the reserved range
  uint64_t bytes;  // of messages
  uint16_t mtu_bytes;  // of the tunnel
  bool any_data;  // not just keepalives
  bool neighbour_known;
  publish::NeighbourIndex first_hop;
  OuterHeader outer;
};

using Sendings = PerLane<Sending>;
static_assert(std::is_trivially_default_constructible_v<Sending>);

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
      prefetch(&burst.shared.peers[peer].send);
      burst.tunnel[lane] = index;
      burst.peer[lane] = peer;
      burst.from[lane] = {};
      owned.push(lane);
      return false;
    });
  }
  unowned = open;
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

void load_keypairs(Burst& burst, const Lanes& lanes, Sendings& sendings) noexcept {
  Groups& groups = burst.groups;
  groups.build(lanes, [&](Lane lane) { return uint64_t{burst.peer[lane]}; });
  for (size_t g = 0; g < groups.count(); ++g) {
    publish::PeerSlot& slot = burst.shared.peers[static_cast<PeerIndex>(groups.key(g))];
    // Acquire pairs with the release store of the session thread that published the keypair.
    Keypair* keypair = slot.send.current.load(std::memory_order_acquire);
    sendings[g].keypair = keypair;
    prefetch(keypair);
  }
  for (size_t g = 0; g < groups.count(); ++g) {
    touch(&burst.shared.peers[static_cast<PeerIndex>(groups.key(g))].activity);
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
  const bool aged = keypair.role == wireguard::Role::Initiator &&
                    burst.now - keypair.created_at >= wireguard::kRekeyAfterTime;
  if (!aged && counter < wireguard::kRekeyAfterMessages) [[likely]]
    return;
  // Once for each key: a flag that another worker set is as good as ours.
  if (keypair.rekey_requested.load(std::memory_order_relaxed) ||
      keypair.rekey_requested.exchange(true, std::memory_order_relaxed)) {
    return;
  }
  if (!punt_event(burst, {.kind = PuntKind::KeyAged,
                          .tunnel = keypair.tunnel,
                          .peer = keypair.peer,
                          .local_index = keypair.local_index})) {
    keypair.rekey_requested.store(false, std::memory_order_relaxed);
  }
}

// Where to, and the outer header. False: the peer has no endpoint, or we no way to it.
[[nodiscard]] bool address_group(Burst& burst, const TunnelView& tunnel,
                                 const publish::PeerEndpoint& endpoint, Sending& sending) noexcept {
  if (endpoint.first_hop == publish::kNoNeighbour || tunnel.outside == kNoPort) return false;
  publish::Neighbour& neighbour = burst.shared.neighbours[endpoint.first_hop];
  MacAddress mac;
  sending.neighbour_known = neighbour.mac(mac);
  sending.first_hop = endpoint.first_hop;
  if (sending.neighbour_known) note_neighbour_used(neighbour, burst.now);
  const publish::PortView& port = burst.snapshot->ports[tunnel.outside];
  // What the session thread will send by itself must be complete.
  const PortOffloads offloads =
      sending.neighbour_known ? burst.shared.offloads[tunnel.outside] : PortOffloads{};
  sending.outer.prepare(endpoint, tunnel, port, mac, offloads);
  return true;
}

void punt_group(Burst& burst, size_t group) noexcept {
  end_group(burst, group, 0, [&](Lane lane) { punt_inner(burst, lane, PuntKind::NeedsHandshake); });
}

// The peer's endpoint and what follows from it. The keypair is on its way into the cache meanwhile.
void prepare_address(Burst& burst, size_t group, Sending& sending) noexcept {
  const auto lanes = burst.groups.lanes(group);
  const publish::PeerSlot& slot =
      burst.shared.peers[static_cast<PeerIndex>(burst.groups.key(group))];
  const publish::PeerEndpoint endpoint = slot.send.endpoint();
  if (endpoint.remote.is_none()) [[unlikely]] {
    return end_group(burst, group, 0,
                     [&](Lane lane) { drop_undeliverable(burst, lane, DropReason::NoEndpoint); });
  }
  if (sending.keypair == nullptr) [[unlikely]]
    return punt_group(burst, group);
  // An injected keepalive may leave the tunnel to us.
  TunnelIndex tunnel_index = burst.tunnel[lanes[0]];
  if (tunnel_index == kNoTunnel) [[unlikely]] {
    tunnel_index = sending.keypair->tunnel;
    for (const Lane lane : lanes) burst.tunnel[lane] = tunnel_index;
  }
  const TunnelView& tunnel = burst.snapshot->tunnels[tunnel_index];
  sending.mtu_bytes = tunnel.mtu_bytes;
  if (!address_group(burst, tunnel, endpoint, sending)) [[unlikely]] {
    if (sending.keypair->expired(burst.now)) return punt_group(burst, group);
    end_group(burst, group, 0, [&](Lane lane) { burst.drop(lane, DropReason::NeighbourUnknown); });
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
      static_cast<uint16_t>(wireguard::padded_bytes(inner_bytes, sending.mtu_bytes));
  // The outer packet would not fit its port. A tunnel of such an MTU is warned of when it is configured.
  if (text_bytes > sending.outer.max_text_bytes) [[unlikely]] {
    return end_too_big(burst, lane, {.mtu_bytes = sending.outer.max_inner_bytes()}, true), false;
  }
  const Ecn ecn = inner_bytes == 0 ? Ecn::NotEct : ip_ecn(packet.data);
  // As many zeros as padding can be; the tag overwrites what is too much.
  std::memset(packet.data + inner_bytes, 0, wireguard::kPaddingMultiple);
  job = {.key = sending.keypair->sending_key.data(),
         .counter = sending.counter,
         .data = packet.data,
         .length_bytes = text_bytes};
  uint8_t* message = packet.data - wireguard::kDataHeaderBytes;
  const auto message_bytes = static_cast<uint16_t>(wireguard::kDataOverheadBytes + text_bytes);
  wireguard::write_data_header(
      std::span<uint8_t, wireguard::kDataHeaderBytes>(message, wireguard::kDataHeaderBytes),
      {.receiver_index = sending.keypair->remote_index, .counter = sending.counter});
  sending.outer.write(message, message_bytes, ecn, burst.ipv4_id++);
  packet.extend(static_cast<uint16_t>(wireguard::kDataHeaderBytes + sending.outer.header_bytes),
                static_cast<uint16_t>(text_bytes - inner_bytes + crypto::kAuthTagBytes));
  packet.offload_checksums = sending.outer.offloads_any();
  ++sending.counter;
  sending.bytes += message_bytes;
  sending.any_data |= inner_bytes != 0;
  return true;
}

void note_sent(Burst& burst, size_t group, const Sending& sending) noexcept {
  publish::PeerActivity& activity =
      burst.shared.peers[static_cast<PeerIndex>(burst.groups.key(group))].activity;
  const uint64_t now = burst.now.nanoseconds;
  // Relaxed, all: the timers read them lazily, one by one.
  activity.tx_bytes.fetch_add(sending.bytes, std::memory_order_relaxed);
  activity.last_sent.store(now, std::memory_order_relaxed);
  if (activity.unanswered_since.load(std::memory_order_relaxed) != 0) {
    activity.unanswered_since.store(0, std::memory_order_relaxed);
  }
  if (sending.any_data && activity.unacknowledged_since.load(std::memory_order_relaxed) == 0) {
    activity.unacknowledged_since.store(now, std::memory_order_relaxed);
  }
}

// Jobs of all packets that are left, in the order of the groups.
[[nodiscard]] size_t write_messages(Burst& burst, Sendings& sendings) noexcept {
  Groups& groups = burst.groups;
  size_t jobs = 0;
  for (size_t g = 0; g < groups.count(); ++g) {
    if (groups.lanes(g).empty()) continue;
    Sending& sending = sendings[g];
    sending.bytes = 0;
    sending.any_data = false;
    uint64_t inner_packets = 0;
    uint64_t inner_bytes = 0;
    const TunnelIndex tunnel = burst.tunnel[groups.lanes(g)[0]];
    groups.filter(g, [&](Lane lane) {
      const uint16_t length = burst.packets[lane].length_bytes;
      if (!write_message(burst, lane, sending, burst.jobs[jobs])) return false;
      ++jobs;
      inner_packets += length != 0 ? 1 : 0;
      inner_bytes += length;
      return true;
    });
    if (groups.lanes(g).empty()) continue;
    if (inner_packets != 0) {
      publish::TunnelCounters& counters = burst.counters().tunnels[tunnel];
      counters.outbound_packets.add(inner_packets);
      counters.outbound_bytes.add(inner_bytes);
    }
    note_sent(burst, g, sending);
  }
  return jobs;
}

void transmit_group(Burst& burst, size_t group, const Sending& sending) noexcept {
  const OuterHeader& outer = sending.outer;
  for (const Lane lane : burst.groups.lanes(group)) {
    Packet& packet = burst.packets[lane];
    outer.finish(packet);
    if (sending.neighbour_known) [[likely]] {
      burst.transmit(lane, outer.port);
    } else {
      // Sealed and counted already: the session thread sends it when the neighbour has answered.
      packet.pop_front(kEthernetBytes);
      punt_neighbour(burst, lane, outer.port, burst.shared.neighbours[sending.first_hop].address);
    }
  }
}

}  // namespace

void outbound(Burst& burst, Lanes& plain) noexcept {
  if (plain.empty()) return;
  Lanes owned;
  Lanes unowned;
  find_owners(burst, plain, owned, unowned);
  for (const Lane lane : unowned) end_unowned(burst, lane);
  owned.filter([&](Lane lane) {
    return may_forward(burst, lane, {.mtu_bytes = burst.tunnel_of(lane).mtu_bytes});
  });
  burst.mark(Stage::Owners);
  send_to_peers(burst, owned);
}

void send_to_peers(Burst& burst, const Lanes& lanes) noexcept {
  if (lanes.empty()) return;
  Sendings sendings;
  load_keypairs(burst, lanes, sendings);
  burst.mark(Stage::Keypairs);
  for (size_t g = 0; g < burst.groups.count(); ++g) prepare_address(burst, g, sendings[g]);
  for (size_t g = 0; g < burst.groups.count(); ++g) prepare_nonces(burst, g, sendings[g]);
  burst.mark(Stage::Prepare);
  const size_t jobs = write_messages(burst, sendings);
  burst.mark(Stage::Write);
  burst.aead.seal({burst.jobs.data(), jobs});
  burst.mark(Stage::Seal);
  for (size_t g = 0; g < burst.groups.count(); ++g) {
    if (!burst.groups.lanes(g).empty()) transmit_group(burst, g, sendings[g]);
  }
  burst.mark(Stage::Transmit);
}

}  // namespace turnpike::pipeline

// WireGuard messages as they came in:
//   demultiplex:    handshake messages are copied to the session thread
//   take_keypairs:  where their receiver indexes lead (parse.cpp has asked for these lines); group by keypair
//   then, some groups after the others, so that their lines come while those before are opened:
//     check_indexes:  whether there is a keypair, and it is the one that is meant
//     open
//     accept:         age of the key, whether its peer is still there, replay window and times under the peer's lock,
//                     confirmation, late rekey, roaming: once for each group
//     check_inner:    inner header, ECN
//   by tunnel:      batched look-up of inner sources, which must give the same peer, but for those that the last look-up
//                   of their peer's answers for; deliver
#include <optional>

#include "dataplane/lookup/allowed_ips_stamps.h"
#include "dataplane/pipeline/burst.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::pipeline {
namespace {

using publish::PuntHeader;
using publish::PuntKind;
using wireguard::Keypair;
using wireguard::MessageType;

[[nodiscard]] Endpoint remote_of(const uint8_t* ip) noexcept {
  const uint8_t* udp = ip + (ip_version(ip) == 4 ? ipv4_header_bytes(ip) : kIpv6Bytes);
  return {.address = ip_source(ip), .port = load_be16(udp)};
}

void punt_handshake(Burst& burst, Lane lane) noexcept {
  const uint8_t* ip = burst.outer[lane];
  punt(burst, lane,
       {.kind = PuntKind::Handshake,
        .port = burst.port,
        .tunnel = burst.tunnel[lane],
        .remote = remote_of(ip),
        .local = ip_destination(ip)});
}

void demultiplex(Burst& burst, const Lanes& messages, Lanes& data) noexcept {
  for (const Lane lane : messages) {
    const Packet& packet = burst.packets[lane];
    const auto type = wireguard::peek_type({packet.data, packet.length_bytes});
    if (type == MessageType::Data) [[likely]] {
      data.push(lane);
    } else if (type) {
      punt_handshake(burst, lane);
    } else {
      burst.drop(lane, DropReason::MessageInvalid);
    }
  }
}

void take_keypairs(Burst& burst, Lanes& data) noexcept {
  data.filter([&](Lane lane) {
    burst.counter[lane] = load_le64(burst.packets[lane].data + 8);
    if (burst.keypair[lane] != nullptr) [[likely]]
      return true;
    return burst.drop(lane, DropReason::ReceiverIndexUnknown), false;
  });
}

[[nodiscard]] Keypair& keypair_of(const Groups& groups, size_t group) noexcept {
  return *reinterpret_cast<Keypair*>(groups.key(group));
}

void drop_group(Burst& burst, size_t group, DropReason reason) noexcept {
  for (const Lane lane : burst.groups.lanes(group)) burst.drop(lane, reason);
  burst.groups.truncate(group, 0);
}

void reach_keys(Burst& burst, const Batch& batch) noexcept {
  for (size_t g = batch.first; g < batch.end; ++g) {
    prefetch_for_write(&keypair_of(burst.groups, g).receiving_key);
  }
}

// An index leads to its slot, whatever is there now; and it is good for its own tunnel only. What is left of a group
// may look at the keypair.
void check_indexes(Burst& burst, const Batch& batch) noexcept {
  for (size_t g = batch.first; g < batch.end; ++g) {
    const Keypair& keypair = keypair_of(burst.groups, g);
    burst.groups.filter(g, [&](Lane lane) {
      if (keypair.answers_to(load_le32(burst.packets[lane].data + 4)) &&
          keypair.tunnel == burst.tunnel[lane]) [[likely]] {
        return true;
      }
      return burst.drop(lane, DropReason::ReceiverIndexUnknown), false;
    });
  }
}

// All that accept() looks at comes while the AEAD is at work: half of it here, the rest in
// open().
void reach_slots(Burst& burst, const Batch& batch) noexcept {
  for (size_t g = batch.first; g < batch.end; ++g) {
    if (burst.groups.lanes(g).empty()) [[unlikely]]
      continue;
    prefetch_for_write(&burst.shared.peers[keypair_of(burst.groups, g).peer.index].activity);
  }
}

// After the AEAD, because what this looks at was out of reach before.
void check_keypair(Burst& burst, size_t group, const Keypair& keypair, bool where_it_was) noexcept {
  if (keypair.receiving_reached(wireguard::kRejectAfterTime, burst.now)) [[unlikely]] {
    drop_group(burst, group, DropReason::KeypairExpired);
  } else if (!where_it_was && burst.shared.peers.incarnation(keypair.peer.index) !=
                                  keypair.peer.incarnation) [[unlikely]] {
    drop_group(burst, group, DropReason::StalePeer);
  }
}

void open(Burst& burst, const Batch& batch, const Batch& next) noexcept {
  Groups& groups = burst.groups;
  size_t jobs = 0;
  for (size_t g = batch.first; g < batch.end; ++g) {
    const Keypair& keypair = keypair_of(groups, g);
    for (const Lane lane : groups.lanes(g)) {
      const Packet& packet = burst.packets[lane];
      burst.jobs[jobs++] = {.key = keypair.receiving_key.data(),
                            .counter = burst.counter[lane],
                            .data = packet.data + wireguard::kDataHeaderBytes,
                            .length_bytes = static_cast<uint32_t>(packet.length_bytes -
                                                                  wireguard::kDataOverheadBytes)};
    }
    if (groups.lanes(g).empty()) [[unlikely]]
      continue;
    const void* bits =
        keypair.window.bitmap_line(burst.counter[groups.lanes(g).front()], keypair.bitmap());
    if (bits != nullptr) [[unlikely]]
      prefetch_for_write(bits);
  }
  reach_keys(burst, next);
  burst.aead.open({burst.jobs.data(), jobs}, {burst.authentic.data(), jobs});
}

// Under the lock. Relaxed, all: the timers read them lazily, one by one.
void note_times(publish::PeerActivity& activity, Instant at, bool any_data) noexcept {
  const uint64_t now = at.nanoseconds;
  activity.last_received.store(now, std::memory_order_relaxed);
  if (activity.unacknowledged_since.load(std::memory_order_relaxed) != 0) {
    activity.unacknowledged_since.store(0, std::memory_order_relaxed);
  }
  if (any_data && activity.unanswered_since.load(std::memory_order_relaxed) == 0) {
    activity.unanswered_since.store(now, std::memory_order_relaxed);
  }
}

[[nodiscard]] PuntHeader event(PuntKind kind, const Keypair& keypair) noexcept {
  return {.kind = kind,
          .tunnel = keypair.tunnel,
          .peer = keypair.peer,
          .local_index = keypair.local_index.load(std::memory_order_relaxed)};
}

// The initiator has used the key, so the responder may, too (paper, 5.4.6): `next` becomes `current`, unless
// the session thread has put another key there meanwhile. If the ring had no room for the event, the next
// packet tries again.
void confirm(Burst& burst, Keypair& keypair) noexcept {
  if (keypair.sending().role != wireguard::Role::Responder ||
      keypair.confirmed.exchange(true, std::memory_order_relaxed)) {
    return;
  }
  publish::PeerSend& send = burst.shared.peers[keypair.peer.index].send;
  Keypair* expected = keypair.sending().replaces.load(std::memory_order_acquire);
  // Release: who loads the pointer finds a whole keypair (it was published to us by its index).
  // A failure changes nothing: either it is current already, or something newer is.
  (void)send.current.compare_exchange_strong(expected, &keypair, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
  if (!punt_event(burst, event(PuntKind::KeypairConfirmed, keypair))) {
    keypair.confirmed.store(false, std::memory_order_relaxed);
  }
}

[[nodiscard]] publish::PacketEnds ends_of(const uint8_t* ip) noexcept {
  if (ip_version(ip) == 4) {
    return {.family = Family::V4,
            .remote_port = load_be16(ip + ipv4_header_bytes(ip)),
            .remote = {load_le32(ip + 12), 0},
            .local = {load_le32(ip + 16), 0}};
  }
  return {.family = Family::V6,
          .remote_port = load_be16(ip + kIpv6Bytes),
          .remote = {load_le64(ip + 8), load_le64(ip + 16)},
          .local = {load_le64(ip + 24), load_le64(ip + 32)}};
}

// The first hop toward `address` on the port of the burst, if its neighbour is known.
[[nodiscard]] publish::NeighbourIndex first_hop_to(const Burst& burst, const uint8_t* address_bytes,
                                                   const IpAddress& address) noexcept {
  const publish::RouteTable& routes = burst.snapshot->ports[burst.port].routes;
  const publish::NextHop* hop = Burst::next_hop(
      routes, Burst::look_up_one(routes.v4, routes.v6, address_bytes, address.is_v4() ? 4 : 6));
  if (hop == nullptr) return publish::kNoNeighbour;
  switch (hop->kind) {
    case publish::NextHopKind::OnLink:
      return burst.shared.neighbours.find(burst.port, address);
    case publish::NextHopKind::Via:
      return burst.shared.neighbours.find(burst.port, hop->via);
    default:
      return publish::kNoNeighbour;
  }
}

// The newest packet says where the peer is now. Where its first hop is known the answers go there at once. The
// session thread keeps the endpoint, and the first hop from being forgotten; so nothing changes here that it
// cannot be told of, and without room in the ring the next packet says it again.
void follow(Burst& burst, const Keypair& keypair, Lane newest) noexcept {
  const uint8_t* ip = burst.outer[newest];
  publish::PeerSlots& peers = burst.shared.peers;
  const publish::PeerEndpoint known = peers.endpoint(keypair.peer.index);
  const Endpoint remote = remote_of(ip);
  const IpAddress local = ip_destination(ip);
  if (known.remote == remote && known.local == local) return;
  if (!room_for_event(burst, PuntKind::PeerRoamed)) return;
  const publish::NeighbourIndex first_hop =
      first_hop_to(burst, remote.address.bytes.data(), remote.address);
  if (first_hop != publish::kNoNeighbour) {
    (void)peers.try_follow(keypair.peer.index,
                           {.remote = remote, .local = local, .first_hop = first_hop});
  }
  PuntHeader header = event(PuntKind::PeerRoamed, keypair);
  header.port = burst.port;
  header.remote = remote;
  header.local = local;
  // Without room it is lost; the next packet says it again.
  (void)punt_event(burst, header);
}

// Only the initiator rekeys by age (paper, 6.2).
void ask_for_late_rekey(Burst& burst, Keypair& keypair) noexcept {
  if (!keypair.receiving_reached(wireguard::kRekeyAfterTimeReceiving, burst.now)) [[likely]]
    return;
  if (keypair.sending().role != wireguard::Role::Initiator ||
      keypair.sending().rekey_requested.exchange(true, std::memory_order_relaxed)) {
    return;
  }
  if (!punt_event(burst, event(PuntKind::KeyAgedReceiving, keypair))) {
    keypair.sending().rekey_requested.store(false, std::memory_order_relaxed);
  }
}

// Of one group. Drops what was seen before; then there is a newest message, or none.
void accept_counters(Burst& burst, size_t group, Keypair& keypair) noexcept {
  publish::PeerActivity& activity = burst.shared.peers[keypair.peer.index].activity;
  uint64_t bytes = 0;
  bool any_data = false;
  const uint64_t bytes_before = activity.rx_bytes.lock();
  // A full burst does not fit L1: what the AEAD wrote first is on its way back before it is looked at.
  for (const Lane lane : burst.groups.lanes(group)) {
    prefetch(burst.packets[lane].data + wireguard::kDataHeaderBytes);
  }
  burst.groups.filter(group, [&](Lane lane) {
    if (!keypair.accept(burst.counter[lane])) [[unlikely]] {
      return burst.drop(lane, DropReason::ReplayedCounter), false;
    }
    bytes += burst.packets[lane].length_bytes;
    any_data |= burst.packets[lane].length_bytes != wireguard::kDataOverheadBytes;
    return true;
  });
  if (bytes != 0) [[likely]]
    note_times(activity, burst.now, any_data);
  activity.rx_bytes.unlock(bytes_before + bytes);
}

// Drops what is not authentic or was seen before, and does what the rest asks for.
void accept(Burst& burst, const Batch& batch) noexcept {
  Groups& groups = burst.groups;
  size_t job = 0;
  for (size_t g = batch.first; g < batch.end; ++g) {
    groups.filter(g, [&](Lane lane) {
      if (burst.authentic[job++] != 0) [[likely]]
        return true;
      burst.drop(lane, DropReason::AuthenticationFailed);
      return false;
    });
    if (groups.lanes(g).empty()) [[unlikely]]
      continue;
    Keypair& keypair = keypair_of(groups, g);
    const Lane last = groups.lanes(g).back();
    const bool where_it_was = burst.shared.peers.is_at(keypair.peer, ends_of(burst.outer[last]));
    check_keypair(burst, g, keypair, where_it_was);
    if (groups.lanes(g).empty()) [[unlikely]]
      continue;
    accept_counters(burst, g, keypair);
    if (groups.lanes(g).empty()) [[unlikely]]
      continue;
    if (!keypair.confirmed.load(std::memory_order_relaxed)) [[unlikely]]
      confirm(burst, keypair);
    ask_for_late_rekey(burst, keypair);
    const Lane newest = groups.lanes(g).back();
    if (!where_it_was || newest != last) [[unlikely]]
      follow(burst, keypair, newest);
  }
}

// Strips the message, ends keepalives, trims padding. What is left in `inner` is an IP packet.
void check_inner(Burst& burst, const Batch& batch, Lanes& inner) noexcept {
  Groups& groups = burst.groups;
  for (size_t g = batch.first; g < batch.end; ++g) {
    if (groups.lanes(g).empty()) continue;
    const PeerRef peer = keypair_of(groups, g).peer;
    for (const Lane lane : groups.lanes(g)) {
      Packet& packet = burst.packets[lane];
      uint8_t* ip = packet.data + wireguard::kDataHeaderBytes;
      const size_t text_bytes = packet.length_bytes - wireguard::kDataOverheadBytes;
      if (text_bytes == 0) {
        burst.finish(lane);
        continue;
      }
      const auto total = check_ip(ip, text_bytes);
      if (!total) [[unlikely]] {
        burst.drop(lane, DropReason::InnerInvalid);
        continue;
      }
      if (!decapsulate_ecn(ip, ip_ecn(burst.outer[lane]))) [[unlikely]] {
        burst.drop(lane, DropReason::EcnInvalid);
        continue;
      }
      packet.narrow(wireguard::kDataHeaderBytes, *total);
      burst.from[lane] = peer;
      inner.push(lane);
    }
  }
}

// Whose 0.0.0.0/0 or ::/0 covers such a source does not own it: a source that no host can have, or one that is
// good on a link only.
[[nodiscard]] std::optional<DropReason> reason_against_source(const uint8_t* ip) noexcept {
  if (ip_version(ip) == 4) {
    if (ipv4_is_unicast(ipv4_source(ip))) [[likely]]
      return std::nullopt;
    return DropReason::MartianSource;
  }
  const lookup::Ipv6Key source = ipv6_key(ipv6_source(ip));
  if (ipv6_is_multicast(source) || ipv6_is_reserved(source)) [[unlikely]] {
    return DropReason::MartianSource;
  }
  if (ipv6_is_link_local(source)) [[unlikely]]
    return DropReason::NotForwarded;
  return std::nullopt;
}

[[nodiscard]] bool is_same_source(const uint8_t* a, const uint8_t* b) noexcept {
  if (ip_version(a) != ip_version(b)) return false;
  if (ip_version(a) == 4) return load_le32(a + 12) == load_le32(b + 12);
  return load_le64(a + 8) == load_le64(b + 8) && load_le64(a + 16) == load_le64(b + 16);
}

// Which inner sources of one tunnel are those that a look-up gave to their peer last, and in this snapshot would give
// again. One print answers for packets of a peer that follow each other: where their sources differ, those unlike the
// first one's are looked up.
class KnownSources {
 public:
  KnownSources(Burst& burst, const publish::TunnelView& tunnel) noexcept
      : burst_(burst),
        printer_(burst.shared.peers.printer()),
        v4_(tunnel.allowed_v4.node),
        v6_(tunnel.allowed_v6.node) {}

  [[nodiscard]] bool has(Lane lane, const uint8_t* ip) noexcept {
    const PeerRef peer = burst_.from[lane];
    if (first_ != nullptr && peer == peer_) {
      burst_.source_print[lane] = 0;
      return is_known_ && is_same_source(ip, first_);
    }
    peer_ = peer;
    first_ = ip;
    const uint64_t print = print_of(peer.incarnation, ip);
    burst_.source_print[lane] = print;
    is_known_ = print != 0 && print_kept_of(peer).load(std::memory_order_relaxed) == print;
    return is_known_;
  }
  // What was looked up, and is its peer's.
  void keep(Lane lane) noexcept {
    const uint64_t print = burst_.source_print[lane];
    if (print != 0) print_kept_of(burst_.from[lane]).store(print, std::memory_order_relaxed);
  }

 private:
  [[nodiscard]] std::atomic<uint64_t>& print_kept_of(const PeerRef& peer) noexcept {
    return burst_.shared.peers[peer.index].activity.source_print;
  }
  // 0 where the table keeps no stamps.
  [[nodiscard]] uint64_t print_of(Incarnation incarnation, const uint8_t* ip) const noexcept {
    if (ip_version(ip) == 4) [[likely]] {
      if (!v4_.has_any()) return 0;
      const uint32_t address = ipv4_source(ip);
      return printer_.of_source(address, v4_.era(), v4_.number_of(address), incarnation);
    }
    if (!v6_.has_any()) return 0;
    const lookup::Ipv6Key address = ipv6_key(ipv6_source(ip));
    return printer_.of_source({address.high, address.low}, v6_.of(address).words, incarnation);
  }

  Burst& burst_;
  const publish::Printer& printer_;
  const lookup::StampsOfVersion v4_, v6_;
  PeerRef peer_;
  const uint8_t* first_ = nullptr;
  bool is_known_ = false;
};

// The owner of the source, by all allowed IPs of the tunnel, must be the peer whose key it was.
[[nodiscard]] std::optional<DropReason> reason_against(const Burst& burst, Lane lane) noexcept {
  if (burst.found[lane] != burst.from[lane].index) [[unlikely]]
    return DropReason::InnerSourceNotAllowed;
  return reason_against_source(burst.packets[lane].data);
}

// Of those that are looked up; false: some of them were dropped, and `bad` says which.
[[nodiscard]] bool look_up_sources(Burst& burst, const publish::TunnelView& tunnel,
                                   const Lanes& unknown, KnownSources& known,
                                   PerLane<bool>& bad) noexcept {
  burst.look_up(tunnel.allowed_v4, tunnel.allowed_v6, burst.found);
  bool all_good = true;
  for (const Lane lane : unknown) {
    if (const auto reason = reason_against(burst, lane)) [[unlikely]] {
      if (all_good) bad.fill(false);
      all_good = false;
      bad[lane] = true;
      burst.drop(lane, *reason);
    } else {
      known.keep(lane);
    }
  }
  return all_good;
}

void check_sources(Burst& burst, TunnelIndex index, Lanes& inner) noexcept {
  const publish::TunnelView& tunnel = burst.snapshot->tunnels[index];
  KnownSources known(burst, tunnel);
  Lanes unknown;
  burst.addresses.clear();
  for (const Lane lane : inner) {
    const uint8_t* ip = burst.packets[lane].data;
    if (known.has(lane, ip)) continue;
    unknown.push(lane);
    if (ip_version(ip) == 4) {
      burst.addresses.add_v4(lane, ipv4_source(ip));
    } else {
      burst.addresses.add_v6(lane, ipv6_key(ipv6_source(ip)));
    }
  }
  PerLane<bool> bad;
  if (!unknown.empty() && !look_up_sources(burst, tunnel, unknown, known, bad)) [[unlikely]] {
    inner.filter([&](Lane lane) { return !bad[lane]; });
  }
  uint64_t bytes = 0;
  for (const Lane lane : inner) bytes += burst.packets[lane].length_bytes;
  publish::TunnelCounters& counters = burst.counters().tunnels[index];
  counters.inbound_packets.add(inner.size());
  counters.inbound_bytes.add(bytes);
}

// All that is done by groups. What is left in `inner` is IP packets and the peers that they came from.
void open_messages(Burst& burst, const Lanes& data, Lanes& inner) noexcept {
  Groups& groups = burst.groups;
  groups.build(data, [&](Lane lane) { return reinterpret_cast<uint64_t>(burst.keypair[lane]); });
  Batch now = next_batch(groups, {0, 0});
  check_indexes(burst, now);
  reach_slots(burst, now);
  while (now.first != now.end) {
    const Batch next = next_batch(groups, now);
    burst.mark(Stage::Demultiplex);
    open(burst, now, next);
    burst.mark(Stage::Open);
    check_indexes(burst, next);
    reach_slots(burst, next);
    burst.mark(Stage::Demultiplex);
    accept(burst, now);
    burst.mark(Stage::Accept);
    check_inner(burst, now, inner);
    burst.mark(Stage::Inner);
    now = next;
  }
}

}  // namespace

void inbound(Burst& burst, const Lanes& messages) noexcept {
  if (messages.empty()) return;
  Lanes data;
  demultiplex(burst, messages, data);
  take_keypairs(burst, data);
  if (data.empty()) return;
  Lanes inner;
  open_messages(burst, data, inner);
  while (!inner.empty()) {
    const TunnelIndex tunnel = burst.tunnel[inner[0]];
    Lanes mine;
    inner.filter([&](Lane lane) {
      if (burst.tunnel[lane] != tunnel) return true;
      mine.push(lane);
      return false;
    });
    check_sources(burst, tunnel, mine);
    burst.mark(Stage::Sources);
    deliver(burst, tunnel, mine);
    burst.mark(Stage::Deliver);
  }
}

}  // namespace turnpike::pipeline

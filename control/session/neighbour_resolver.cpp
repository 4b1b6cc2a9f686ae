#include "control/session/neighbour_resolver.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/base/link_local.h"

namespace turnpike::session {

using publish::kNoNeighbour;
using publish::Neighbour;
using publish::NextHopKind;
using publish::Snapshot;

namespace {

bool is_host_mac(const MacAddress& mac, const MacAddress& ours) noexcept {
  return !mac.is_group() && mac != MacAddress{} && mac != ours;
}

}  // namespace

NeighbourResolver::NeighbourResolver(publish::NeighbourTable& table, Outbox& outbox,
                                     publish::Counters& counters, RandomSource& random, Instant now,
                                     Lost lost)
    : table_(table),
      outbox_(outbox),
      counters_(counters),
      random_(random),
      wheel_(now),
      entries_(publish::kMaxNeighbours),
      lost_(std::move(lost)) {}

void NeighbourResolver::send_frame(const Snapshot& snapshot, WorkerIndex worker, PortIndex port,
                                   const MacAddress& destination, uint16_t ether_type,
                                   Bytes payload) noexcept {
  uint8_t header[kEthernetHeaderBytes];
  write_ethernet(header, destination, snapshot.ports[port].mac, ether_type);
  outbox_.frame(worker, port, header, payload);
}

Duration NeighbourResolver::reachable_time() noexcept {
  // Spread, so that neighbours learned together are not asked together.
  return kReachableTime + kReachableTime / 256 * (random_.next_u32() % 256);
}

void NeighbourResolver::count_unresolved(PortIndex port, int by) noexcept {
  unresolved_[port] += static_cast<uint32_t>(by);
  unresolved_total_ += static_cast<uint32_t>(by);
}

void NeighbourResolver::set_state(Entry& entry, State state) noexcept {
  count_unresolved(entry.port, (is_resolved(state) ? 0 : 1) - (is_resolved(entry.state) ? 0 : 1));
  entry.state = state;
}

NeighbourResolver::Index NeighbourResolver::find_or_insert(PortIndex port,
                                                           const IpAddress& neighbour,
                                                           bool pinned) {
  Index index = table_.find(port, neighbour);
  if (index != kNoNeighbour) return index;
  const bool scanned =
      unresolved_[port] >= kMaxUnresolved || unresolved_total_ >= kMaxUnresolvedInAll;
  if (!pinned && scanned) return kNoNeighbour;
  index = table_.insert(port, neighbour);
  if (index == kNoNeighbour) return kNoNeighbour;
  CHECK(entries_[index].waiting.empty() && !wheel_.armed(index));
  entries_[index] = Entry{};
  entries_[index].port = port;
  count_unresolved(port, 1);
  return index;
}

void NeighbourResolver::forget(Index index) {
  Entry& entry = entries_[index];
  CHECK(entry.pins == 0);
  drop_waiting(entry, DropReason::HeldNeighbour);
  set_state(entry, State::Idle);
  count_unresolved(entry.port, -1);
  wheel_.cancel(index);
  table_.remove(index);
}

void NeighbourResolver::send(const Snapshot& snapshot, Instant now, WorkerIndex worker,
                             PortIndex port, const IpAddress& neighbour, Bytes packet) {
  const Index index = find_or_insert(port, neighbour, false);
  if (index == kNoNeighbour) {
    counters_.drop(DropReason::NeighbourTableFull);
    return;
  }
  Entry& entry = entries_[index];
  entry.worker = worker;
  table_[index].last_used.store(now.nanoseconds, std::memory_order_relaxed);
  MacAddress mac;
  if (table_[index].mac(mac)) {
    send_frame(snapshot, worker, port, mac, ether_type_of(neighbour.family), packet);
    return;
  }
  demand(snapshot, now, index);
  if (entry.state == State::Incomplete) {
    wait(entry, packet);
  } else {
    counters_.drop(DropReason::NeighbourUnknown);
    lost_(worker, port, packet);
  }
}

void NeighbourResolver::wait(Entry& entry, Bytes packet) {
  if (entry.waiting.size() >= kWaitingPerNeighbour) {
    // The oldest goes: what was sent last is most likely still wanted (RFC 1122, 2.3.2.2).
    entry.waiting.erase(entry.waiting.begin());
    --waiting_total_;
    counters_.drop(DropReason::HeldNeighbour);
  } else if (waiting_total_ >= kWaitingTotal) {
    counters_.drop(DropReason::HeldNeighbour);
    return;
  }
  entry.waiting.emplace_back(packet.begin(), packet.end());
  ++waiting_total_;
}

void NeighbourResolver::drop_waiting(Entry& entry, DropReason reason) noexcept {
  counters_.drop(reason, entry.waiting.size());
  waiting_total_ -= entry.waiting.size();
  entry.waiting = {};
}

void NeighbourResolver::demand(const Snapshot& snapshot, Instant now, Index index) {
  Entry& entry = entries_[index];
  if (entry.state == State::Failed && now < entry.hold_off_until) return;
  if (entry.state != State::Idle && entry.state != State::Failed) return;
  set_state(entry, State::Incomplete);
  entry.tries = 1;
  ask(snapshot, index, nullptr);
  wheel_.arm(index, now + kAskInterval);
}

publish::NeighbourIndex NeighbourResolver::pin(const Snapshot& snapshot, Instant now,
                                               PortIndex port, const IpAddress& neighbour) {
  const Index index = find_or_insert(port, neighbour, true);
  if (index == kNoNeighbour) return kNoNeighbour;
  ++entries_[index].pins;
  demand(snapshot, now, index);
  return index;
}

void NeighbourResolver::unpin(Index index) noexcept {
  CHECK(index < entries_.size() && entries_[index].pins > 0);
  Entry& entry = entries_[index];
  if (--entry.pins == 0 && !is_resolved(entry.state) && entry.waiting.empty()) forget(index);
}

// Who asks gives the address that the neighbour is going to see as the source of our packets.
void NeighbourResolver::ask(const Snapshot& snapshot, Index index, const MacAddress* unicast) {
  const Neighbour& neighbour = table_[index];
  const PortIndex port = neighbour.port;
  const WorkerIndex worker = entries_[index].worker;
  if (port >= snapshot.port_count) return;
  const MacAddress& ours = snapshot.ports[port].mac;
  const Hop hop = route(snapshot, port, neighbour.address);
  if (neighbour.address.is_v4()) {
    const ArpMessage request{.operation = ArpOperation::Request,
                             .sender_mac = ours,
                             .sender = hop.source.is_v4() ? hop.source : IpAddress::v4(0),
                             .target_mac = unicast != nullptr ? *unicast : MacAddress{},
                             .target = neighbour.address};
    send_frame(snapshot, worker, port, unicast != nullptr ? *unicast : kBroadcastMac, kEtherTypeArp,
               write_arp(request));
    return;
  }
  const IpAddress group = solicited_node_group(neighbour.address);
  const NeighbourMessage solicitation{
      .type = NeighbourMessageType::Solicitation,
      .source = hop.source.is_v6() ? hop.source : link_local_address(ours),
      .destination = unicast != nullptr ? neighbour.address : group,
      .target = neighbour.address,
      .link_layer = ours};
  send_frame(snapshot, worker, port, unicast != nullptr ? *unicast : ipv6_multicast_mac(group),
             kEtherTypeIpv6, write_neighbour_message(solicitation));
}

void NeighbourResolver::resolved(const Snapshot& snapshot, Instant now, Index index,
                                 const MacAddress& mac) {
  Entry& entry = entries_[index];
  table_.set_mac(index, mac);
  set_state(entry, State::Reachable);
  entry.confirmed_at = now;
  wheel_.arm(index, now + reachable_time());
  const Neighbour& neighbour = table_[index];
  for (const Packet& packet : entry.waiting) {
    send_frame(snapshot, entry.worker, neighbour.port, mac, ether_type_of(neighbour.address.family),
               packet);
  }
  waiting_total_ -= entry.waiting.size();
  entry.waiting = {};
}

void NeighbourResolver::fail(Instant now, Index index) {
  Entry& entry = entries_[index];
  table_.clear_mac(index);
  for (const Packet& packet : entry.waiting) lost_(entry.worker, entry.port, packet);
  drop_waiting(entry, DropReason::HeldNeighbour);
  set_state(entry, State::Failed);
  entry.hold_off_until = now + kHoldOff;
  wheel_.arm(index, now + (entry.pins > 0 ? kPinnedRetry : kHoldOff));
}

size_t NeighbourResolver::run_timers(const Snapshot& snapshot, Instant now, size_t budget) {
  table_.collect();
  return wheel_.expire(now, budget, [&](Index index) { on_timer(snapshot, now, index); });
}

void NeighbourResolver::on_timer(const Snapshot& snapshot, Instant now, Index index) {
  Entry& entry = entries_[index];
  switch (entry.state) {
    case State::Idle:
      if (entry.pins == 0) forget(index);
      return;
    case State::Failed:
      if (entry.pins == 0) {
        forget(index);
      } else {
        demand(snapshot, now, index);
      }
      return;
    case State::Incomplete:
      if (entry.tries >= kAskTries) return fail(now, index);
      ++entry.tries;
      ask(snapshot, index, nullptr);
      wheel_.arm(index, now + kAskInterval);
      return;
    case State::Probing: {
      if (entry.tries >= kProbeTries + kAskTries) return fail(now, index);
      MacAddress mac;
      const bool unicast = entry.tries < kProbeTries && table_[index].mac(mac);
      ++entry.tries;
      ask(snapshot, index, unicast ? &mac : nullptr);
      wheel_.arm(index, now + kAskInterval);
      return;
    }
    case State::Reachable:
      return check_reachable(snapshot, now, index);
  }
}

void NeighbourResolver::check_reachable(const Snapshot& snapshot, Instant now, Index index) {
  Entry& entry = entries_[index];
  const Instant used{table_[index].last_used.load(std::memory_order_relaxed)};
  if (used > entry.confirmed_at) {
    set_state(entry, State::Probing);
    entry.tries = 0;
    return on_timer(snapshot, now, index);
  }
  if (entry.pins == 0 && now - entry.confirmed_at >= kUnusedTime) return forget(index);
  wheel_.arm(index, now + reachable_time());
}

void NeighbourResolver::answered(const Snapshot& snapshot, Instant now, PortIndex port,
                                 const IpAddress& address, const MacAddress* mac) {
  const Index index = table_.find(port, address);
  if (index == kNoNeighbour) return;
  const State state = entries_[index].state;
  if (state != State::Incomplete && state != State::Probing) return;
  MacAddress known;
  if (mac != nullptr) {
    resolved(snapshot, now, index, *mac);
  } else if (state == State::Probing && table_[index].mac(known)) {
    resolved(snapshot, now, index, known);
  }
}

void NeighbourResolver::learn_from_request(const Snapshot& snapshot, Instant now,
                                           WorkerIndex worker, PortIndex port,
                                           const IpAddress& address, const MacAddress& mac) {
  Index index = table_.find(port, address);
  if (index == kNoNeighbour && table_.size() < kMaxLearned) {
    index = find_or_insert(port, address, false);
  }
  if (index == kNoNeighbour) return;
  Entry& entry = entries_[index];
  entry.worker = worker;
  MacAddress known;
  const bool has_mac = table_[index].mac(known);
  if (has_mac && known == mac) return;
  resolved(snapshot, now, index, mac);
  if (has_mac) {
    // Somebody says to have it now; who it is is asked at once, by unicast, with the new MAC in use.
    set_state(entry, State::Probing);
    entry.tries = 0;
    wheel_.arm(index, now);
  }
}

void NeighbourResolver::receive_arp(const Snapshot& snapshot, Instant now, WorkerIndex worker,
                                    PortIndex port, Bytes frame) {
  const auto ethernet = parse_ethernet(frame);
  const auto arp = ethernet && ethernet->ether_type == kEtherTypeArp ? parse_arp(ethernet->payload)
                                                                     : std::nullopt;
  if (!arp || port >= snapshot.port_count) return counters_.drop(DropReason::ArpInvalid);
  const MacAddress& ours = snapshot.ports[port].mac;
  if (!is_host_mac(arp->sender_mac, ours)) return counters_.drop(DropReason::ArpInvalid);
  const bool for_us = ethernet->destination == ours;
  if (!for_us && ethernet->destination != kBroadcastMac) {
    return counters_.drop(DropReason::ArpInvalid);
  }
  // Broadcast requests for others are what a link is full of; nothing to count.
  if (!is_local(snapshot, port, arp->target)) return;
  const bool probe = arp->sender.is_unspecified();  // RFC 5227: asks before it takes an address
  if (!probe && route(snapshot, port, arp->sender).kind != NextHopKind::OnLink) {
    return counters_.drop(DropReason::ArpInvalid);
  }
  if (arp->operation == ArpOperation::Reply) {
    if (!for_us || probe) return counters_.drop(DropReason::ArpInvalid);
    return answered(snapshot, now, port, arp->sender, &arp->sender_mac);
  }
  if (!probe) learn_from_request(snapshot, now, worker, port, arp->sender, arp->sender_mac);
  const ArpMessage reply{.operation = ArpOperation::Reply,
                         .sender_mac = ours,
                         .sender = arp->target,
                         .target_mac = arp->sender_mac,
                         .target = arp->sender};
  send_frame(snapshot, worker, port, arp->sender_mac, kEtherTypeArp, write_arp(reply));
}

void NeighbourResolver::receive_neighbour_message(const Snapshot& snapshot, Instant now,
                                                  WorkerIndex worker, PortIndex port,
                                                  const EthernetView& ethernet,
                                                  const IpView& packet) {
  const auto message = parse_neighbour_message(packet);
  if (!message || port >= snapshot.port_count) return counters_.drop(DropReason::ArpInvalid);
  const MacAddress& ours = snapshot.ports[port].mac;
  const MacAddress mac = message->link_layer.value_or(ethernet.source);
  if (!is_host_mac(mac, ours)) return counters_.drop(DropReason::ArpInvalid);
  if (message->type == NeighbourMessageType::Advertisement) {
    if (!is_local(snapshot, port, message->destination)) return;
    return answered(snapshot, now, port, message->target,
                    message->link_layer ? &*message->link_layer : nullptr);
  }
  if (!is_local(snapshot, port, message->target)) return;
  const bool probe = message->source.is_unspecified();  // duplicate address detection (RFC 4862)
  if (!probe && route(snapshot, port, message->source).kind != NextHopKind::OnLink) {
    return counters_.drop(DropReason::ArpInvalid);
  }
  if (!probe && message->link_layer) {
    learn_from_request(snapshot, now, worker, port, message->source, mac);
  }
  const IpAddress to = probe ? all_nodes_group() : message->source;
  const NeighbourMessage answer{.type = NeighbourMessageType::Advertisement,
                                .source = message->target,
                                .destination = to,
                                .target = message->target,
                                .router = true,
                                .solicited = !probe,
                                .override = true,
                                .link_layer = ours};
  send_frame(snapshot, worker, port, probe ? ipv6_multicast_mac(to) : mac, kEtherTypeIpv6,
             write_neighbour_message(answer));
}

void NeighbourResolver::announce(const Snapshot& snapshot, WorkerIndex worker, PortIndex port) {
  const MacAddress& ours = snapshot.ports[port].mac;
  for_each_local_address(snapshot, port, [&](const IpAddress& address) {
    if (address.is_v4()) {
      const ArpMessage gratuitous{.operation = ArpOperation::Request,
                                  .sender_mac = ours,
                                  .sender = address,
                                  .target = address};
      send_frame(snapshot, worker, port, kBroadcastMac, kEtherTypeArp, write_arp(gratuitous));
      return;
    }
    const NeighbourMessage unsolicited{.type = NeighbourMessageType::Advertisement,
                                       .source = address,
                                       .destination = all_nodes_group(),
                                       .target = address,
                                       .router = true,
                                       .override = true,
                                       .link_layer = ours};
    send_frame(snapshot, worker, port, ipv6_multicast_mac(unsolicited.destination), kEtherTypeIpv6,
               write_neighbour_message(unsolicited));
  });
}

}  // namespace turnpike::session

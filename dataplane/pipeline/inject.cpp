// What the session thread wants sent: whole frames, inner packets (held for a handshake, or our own
// answers) and keepalives. Inner packets are looked up like any other, so that they follow the present
// owner of their destination; they are not forwarded, so their TTL stays.
#include <cstring>

#include "dataplane/pipeline/burst.h"

namespace turnpike::pipeline {
namespace {

using publish::InjectHeader;
using publish::InjectKind;
using publish::InjectRing;

// False: it does not fit, and was dropped.
[[nodiscard]] bool copy(Burst& burst, Lane lane, const InjectRing::Slot& slot) noexcept {
  Packet& packet = burst.packets[lane];
  if (slot.length_bytes > packet.tailroom_bytes) {
    return burst.drop(lane, DropReason::NoHeadroom), false;
  }
  packet.push_back(static_cast<uint16_t>(slot.length_bytes));
  std::memcpy(packet.data, slot.data(), slot.length_bytes);
  return true;
}

void send_frame(Burst& burst, Lane lane, const InjectRing::Slot& slot) noexcept {
  CHECK(slot.header.port < kMaxPorts);
  if (!copy(burst, lane, slot)) return;
  burst.packets[lane].offload_checksums = false;
  burst.transmit(lane, slot.header.port);
}

// True: look its owner up.
[[nodiscard]] bool take_inner(Burst& burst, Lane lane, const InjectRing::Slot& slot) noexcept {
  const TunnelIndex tunnel = slot.header.tunnel;
  CHECK(tunnel < kMaxTunnels);
  if (!burst.snapshot->tunnels[tunnel].active) {
    return burst.drop(lane, DropReason::HeldPeerGone), false;
  }
  if (!copy(burst, lane, slot)) return false;
  Packet& packet = burst.packets[lane];
  const auto total = check_ip(packet.data, packet.length_bytes);
  if (!total) return burst.drop(lane, DropReason::InnerInvalid), false;
  packet.truncate(*total);
  burst.tunnel[lane] = tunnel;
  const uint16_t mtu_bytes = burst.snapshot->tunnels[tunnel].mtu_bytes;
  if (packet.length_bytes > mtu_bytes) {
    return end_too_big(burst, lane, {.mtu_bytes = mtu_bytes}, true), false;
  }
  return true;
}

// True: to be sent.
[[nodiscard]] bool take_keepalive(Burst& burst, Lane lane, const InjectHeader& header) noexcept {
  CHECK(header.peer.index < burst.shared.peers.capacity());
  const bool gone = header.tunnel != kNoTunnel && !burst.snapshot->tunnels[header.tunnel].active;
  if (gone || burst.shared.peers.incarnation(header.peer.index) != header.peer.incarnation) {
    return burst.drop(lane, DropReason::StalePeer), false;
  }
  burst.tunnel[lane] = header.tunnel;
  burst.peer[lane] = header.peer.index;
  return true;
}

// Adds those of `inner` that somebody owns to `ready`.
void find_owners(Burst& burst, Lanes& inner, Lanes& ready) noexcept {
  while (!inner.empty()) {
    const TunnelIndex index = burst.tunnel[inner[0]];
    const publish::TunnelView& tunnel = burst.snapshot->tunnels[index];
    Lanes mine;
    burst.addresses.clear();
    inner.filter([&](Lane lane) {
      if (burst.tunnel[lane] != index) return true;
      const uint8_t* ip = burst.packets[lane].data;
      if (ip_version(ip) == 4) {
        burst.addresses.add_v4(lane, ipv4_destination(ip));
      } else {
        burst.addresses.add_v6(lane, ipv6_key(ipv6_destination(ip)));
      }
      mine.push(lane);
      return false;
    });
    burst.look_up(tunnel.allowed_v4, tunnel.allowed_v6, burst.found);
    for (const Lane lane : mine) {
      if (burst.found[lane] == kNoPeer) {
        burst.drop(lane, DropReason::NoAllowedIp);
        continue;
      }
      burst.peer[lane] = burst.found[lane];
      ready.push(lane);
    }
  }
}

}  // namespace

void inject(Burst& burst, size_t count) noexcept {
  InjectRing& ring = burst.door.inject;
  Lanes inner;
  Lanes ready;
  for (size_t i = 0; i < count; ++i) {
    const auto lane = static_cast<Lane>(i);
    const InjectRing::Slot* slot = ring.front();
    if (slot == nullptr) {
      burst.finish(lane);
      continue;
    }
    burst.from[lane] = {};
    switch (slot->header.kind) {
      case InjectKind::Frame:
        send_frame(burst, lane, *slot);
        break;
      case InjectKind::InnerPacket:
        if (take_inner(burst, lane, *slot)) inner.push(lane);
        break;
      case InjectKind::Keepalive:
        if (take_keepalive(burst, lane, slot->header)) ready.push(lane);
        break;
    }
    ring.pop();
  }
  find_owners(burst, inner, ready);
  send_to_peers(burst, ready);
}

}  // namespace turnpike::pipeline

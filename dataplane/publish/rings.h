// What goes between a worker and the session thread: datagrams by copy, and events.
//   punt:   worker -> session thread        inject: session thread -> worker
// Whatever names a peer carries index and incarnation; who takes it out drops it (StalePeer) when the slot
// has another incarnation by then.
#pragma once

#include <cstdint>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/time.h"
#include "dataplane/publish/slot_ring.h"
#include "dataplane/publish/snapshot.h"

namespace turnpike::publish {

inline constexpr uint32_t kPuntSlots = 2'048;
inline constexpr uint32_t kInjectSlots = 2'048;

enum class PuntKind : uint8_t {
  // Bytes: the UDP payload. tunnel, port, remote, local are set. Length and type were checked.
  Handshake,  // initiation, response or cookie reply
  // Bytes: the Ethernet frame. port is set.
  Arp,
  // Bytes: the Ethernet frame with ICMP or ICMPv6 (ND included) for an own address or the solicited-node
  // group. port is set. IP header and lengths were checked, ICMP's checksum was not.
  PortIcmp,
  // Bytes: a decrypted inner IP packet for an own address. tunnel, peer are set.
  TunnelLocal,
  // Bytes: an inner IP packet for a peer without a usable key. tunnel, peer are set.
  NeedsHandshake,
  // Bytes: an IP packet for `next_hop` on `port`, whose link-layer address is not known.
  NeedsNeighbour,
  // Bytes: an IP packet that no peer of `tunnel` owns the destination of (for ICMP unreachable), or that is
  // too big (for `mtu_bytes`) or expired: `detail` has the DropReason. It is counted already. port is set when
  // it came from a port, peer when it came from a peer; neither when it was held or our own.
  Undeliverable,
  // Bytes: an IPv4 packet that is too big for `mtu_bytes` and may be fragmented; its TTL is done. For `next_hop`
  // on `port` where these are set, else for `tunnel`, looked up again.
  NeedsFragments,
  // Events, no bytes. peer is set, and local_index, the keypair's.
  KeypairConfirmed,  // the worker promoted `next`
  KeyAged,  // the sending key is due for renewal: time or messages
  KeyAgedReceiving,  // the same, seen by the initiator while receiving
  PeerRoamed,  // authenticated data came from `remote` to `local` on `port`
};

struct PuntHeader {
  PuntKind kind = PuntKind::Handshake;
  PortIndex port = kNoPort;
  TunnelIndex tunnel = kNoTunnel;
  PeerRef peer;
  uint32_t local_index = 0;
  uint8_t detail = 0;
  uint16_t mtu_bytes = 0;
  Endpoint remote;
  IpAddress local;
  IpAddress next_hop;
  Instant received_at;
};

enum class InjectKind : uint8_t {
  Frame,  // bytes: a whole Ethernet frame for `port`, checksums done
  InnerPacket,  // bytes: an inner IP packet for `tunnel`; looked up like any other packet
  Keepalive,  // no bytes: an empty data message to `peer`
};

struct InjectHeader {
  InjectKind kind = InjectKind::Frame;
  PortIndex port = kNoPort;
  TunnelIndex tunnel = kNoTunnel;
  PeerRef peer;
};

using PuntRing = SlotRing<PuntHeader>;
using InjectRing = SlotRing<InjectHeader>;

}  // namespace turnpike::publish

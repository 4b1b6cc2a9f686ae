// Frames as a port received them, sorted by what they are for:
//   Model:          if the first frame is a message for a tunnel of ours, so are those that do not differ from it
//   parse_frames:   of others: Ethernet, ARP, IP headers, martians, multicast; collects destinations
//   route:          one batched look-up: ours, or of somebody else
//   sort_local:     for one of our addresses: WireGuard messages, ICMP
//   what is left:   packets of the plain side
#include <x86intrin.h>

#include <optional>

#include "dataplane/pipeline/burst.h"
#include "dataplane/wireguard/constants.h"

namespace turnpike::pipeline {
namespace {

using publish::NextHopKind;
using publish::PortView;
using publish::PuntKind;

// Frames ahead whose first line is asked for.
constexpr size_t kPrefetchAhead = 4;
// Messages whose keypairs are located at once.
constexpr size_t kReachLanes = 8;
static_assert(kBurstMax % kReachLanes == 0);

constexpr uint8_t kNeighbourSolicitation = 135;  // RFC 4861, 4.3
constexpr size_t kNeighbourSolicitationBytes = 24;  // without options; the target is at 8

[[nodiscard]] bool is_icmp(const uint8_t* ip) noexcept {
  return ip_version(ip) == 4 ? ip[9] == static_cast<uint8_t>(Protocol::Icmp)
                             : ip[6] == static_cast<uint8_t>(Protocol::Icmpv6);
}

void punt_icmp(Burst& burst, Lane lane) noexcept {
  punt(burst, lane, {.kind = PuntKind::PortIcmp, .port = burst.port});
}

[[nodiscard]] bool is_own(const PortView& port, const lookup::Ipv6Key& address) noexcept {
  if (address == ipv6_link_local(port.mac)) return true;
  const lookup::Ipv6Key addresses[1] = {address};
  uint32_t values[1];
  lookup::lookup_burst(port.routes.v6, addresses, values);
  const publish::NextHop* hop = Burst::next_hop(port.routes, values[0]);
  return hop != nullptr && hop->kind == NextHopKind::Local;
}

// Of IPv6's groups we are in two kinds: all nodes, and the solicited-node group of each own address. In the
// latter only solicitations are for us; which address is meant stands in them (RFC 4861, 7.2.3).
void multicast_ipv6(Burst& burst, Lane lane, const uint8_t* ip, size_t length) noexcept {
  const PortView& port = burst.snapshot->ports[burst.port];
  const lookup::Ipv6Key group = ipv6_key(ipv6_destination(ip));
  const bool all_nodes = group == lookup::Ipv6Key{.high = 0xff02'0000'0000'0000, .low = 1};
  const bool solicited_node = group.high == 0xff02'0000'0000'0000 && group.low >> 24 == 0x1'ff;
  const uint8_t* icmp = ip + kIpv6Bytes;
  if (all_nodes && is_icmp(ip)) return punt_icmp(burst, lane);
  if (solicited_node && is_icmp(ip) && length >= kIpv6Bytes + kNeighbourSolicitationBytes &&
      icmp[0] == kNeighbourSolicitation) {
    const lookup::Ipv6Key target = ipv6_key(icmp + 8);
    if (((target.low ^ group.low) & 0xff'ffff) == 0 && is_own(port, target)) {
      return punt_icmp(burst, lane);
    }
  }
  burst.drop(lane, DropReason::Multicast);
}

void parse_ipv4(Burst& burst, Lane lane) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data + kEthernetBytes;
  if (packet.ipv4_checksum == RxChecksum::Bad) [[unlikely]] {
    return burst.drop(lane, DropReason::Ipv4HeaderInvalid);
  }
  const auto total = check_ipv4(ip, packet.length_bytes - kEthernetBytes,
                                packet.ipv4_checksum != RxChecksum::Good);
  if (!total) [[unlikely]]
    return burst.drop(lane, DropReason::Ipv4HeaderInvalid);
  packet.truncate(static_cast<uint16_t>(kEthernetBytes + *total));
  const uint32_t destination = ipv4_destination(ip);
  if (!ipv4_is_unicast(ipv4_source(ip))) [[unlikely]] {
    return burst.drop(lane, DropReason::MartianSource);
  }
  if (!ipv4_is_unicast(destination)) [[unlikely]] {
    return burst.drop(lane, ipv4_is_multicast(destination) ? DropReason::Multicast
                                                           : DropReason::MartianDestination);
  }
  // What the link sent to all is not for one address (RFC 1122, 3.3.6), nor to be forwarded (RFC 1812,
  // 5.3.4).
  if ((packet.data[0] & 1) != 0) [[unlikely]]
    return burst.drop(lane, DropReason::FrameNotForUs);
  burst.addresses.add_v4(lane, destination);
}

void parse_ipv6(Burst& burst, Lane lane) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data + kEthernetBytes;
  const auto total = check_ipv6(ip, packet.length_bytes - kEthernetBytes);
  if (!total) [[unlikely]]
    return burst.drop(lane, DropReason::Ipv6HeaderInvalid);
  packet.truncate(static_cast<uint16_t>(kEthernetBytes + *total));
  const lookup::Ipv6Key source = ipv6_key(ipv6_source(ip));
  const lookup::Ipv6Key destination = ipv6_key(ipv6_destination(ip));
  const bool multicast = ipv6_is_multicast(destination);
  // Who looks whether an address is free has none yet (RFC 4862, 5.4.2).
  const bool unspecified_allowed = multicast && source == lookup::Ipv6Key{};
  if (ipv6_is_multicast(source) || (ipv6_is_reserved(source) && !unspecified_allowed))
      [[unlikely]] {
    return burst.drop(lane, DropReason::MartianSource);
  }
  if (ipv6_is_reserved(destination)) [[unlikely]] {
    return burst.drop(lane, DropReason::MartianDestination);
  }
  if (multicast) return multicast_ipv6(burst, lane, ip, *total);
  if ((packet.data[0] & 1) != 0) [[unlikely]]
    return burst.drop(lane, DropReason::FrameNotForUs);
  burst.addresses.add_v6(lane, destination);
}

void parse_frame(Burst& burst, Lane lane, uint64_t own_mac) noexcept {
  const Packet& packet = burst.packets[lane];
  if (packet.multi_segment) [[unlikely]]
    return burst.drop(lane, DropReason::FrameMultiSegment);
  if (packet.length_bytes < kEthernetBytes) [[unlikely]] {
    return burst.drop(lane, DropReason::FrameTooShort);
  }
  if ((load_le64(packet.data) & kMacMask) != own_mac && (packet.data[0] & 1) == 0) [[unlikely]] {
    return burst.drop(lane, DropReason::FrameNotForUs);
  }
  switch (load_le16(packet.data + 12)) {
    case kEtherTypeIpv4:
      return parse_ipv4(burst, lane);
    case kEtherTypeIpv6:
      return parse_ipv6(burst, lane);
    case kEtherTypeArp:
      if (packet.length_bytes < kArpFrameBytes) return burst.drop(lane, DropReason::FrameTooShort);
      return punt(burst, lane, {.kind = PuntKind::Arp, .port = burst.port});
    case kEtherTypeVlan:
    case kEtherTypeServiceVlan:
      return burst.drop(lane, DropReason::VlanTagged);
    default:
      return burst.drop(lane, DropReason::EtherTypeUnknown);
  }
}

// The long way: collects the destinations of frames [first, end).
void parse_frames(Burst& burst, size_t first, size_t end) noexcept {
  const uint64_t own_mac = mac_word(burst.snapshot->ports[burst.port].mac);
  for (size_t i = first; i < end; ++i) {
    if (i + kPrefetchAhead < end) prefetch(burst.packets[i + kPrefetchAhead].data);
    parse_frame(burst, static_cast<Lane>(i), own_mac);
  }
}

// The tunnel whose messages come to this UDP port of `port`, or kNoTunnel.
[[nodiscard]] TunnelIndex tunnel_listening(const publish::Snapshot& snapshot, const PortView& port,
                                           uint16_t udp_port) noexcept {
  for (uint16_t i = 0; i < port.outside_count; ++i) {
    if (snapshot.tunnels[port.outside_of[i]].listen_port == udp_port) return port.outside_of[i];
  }
  return kNoTunnel;
}

// Finds out for `count` messages from `first` on, at most kReachLanes, where their keypairs would be, and asks for the
// lines that these would receive with: they come while the other frames are sorted.
inline void reach_keypairs(Burst& burst, const Lanes& messages, size_t first,
                           size_t count) noexcept {
  std::array<uint32_t, kReachLanes> indexes;
  std::memcpy(indexes.data(), &burst.receivers[first], sizeof(indexes));
  const Lane* lanes = messages.begin() + first;
  uint32_t differences = 0;
  for (const uint32_t index : indexes) differences |= index ^ indexes[0];
  if (differences == 0) {  // all for one
    wireguard::Keypair* keypair = burst.shared.keypairs.locate(indexes[0]);
    if (keypair != nullptr) prefetch_for_write(&keypair->receiving_key);
    for (size_t i = 0; i < count; ++i) burst.keypair[lanes[i]] = keypair;
    return;
  }
  burst.shared.keypairs.locate(indexes, [&](size_t i, wireguard::Keypair* keypair) {
    if (i >= count) return;
    burst.keypair[lanes[i]] = keypair;
    if (keypair != nullptr) [[likely]]
      prefetch_for_write(&keypair->receiving_key);
  });
}

// The same for those that are left.
inline void reach_last_keypairs(Burst& burst, const Lanes& messages) noexcept {
  const size_t left = messages.size() % kReachLanes;
  if (left != 0) reach_keypairs(burst, messages, messages.size() - left, left);
}

// The datagram behind `header_bytes` of IP header is a message for the tunnel. `length`: its header's, checked.
inline void take_message(Burst& burst, Lane lane, TunnelIndex tunnel, uint16_t header_bytes,
                         uint16_t length, Lanes& messages) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data + kEthernetBytes;
  const uint8_t* udp = ip + header_bytes;
  // Where a data message has its receiver index; for another it does no harm.
  if (length >= kUdpBytes + wireguard::kDataHeaderBytes) [[likely]] {
    burst.receivers[messages.size()] = load_le32(udp + kUdpBytes + 4);
  }
  packet.narrow(static_cast<uint16_t>(kEthernetBytes + header_bytes + kUdpBytes),
                static_cast<uint16_t>(length - kUdpBytes));
  burst.outer[lane] = ip;
  burst.tunnel[lane] = tunnel;
  messages.push(lane);
  if (messages.size() % kReachLanes == 0)
    reach_keypairs(burst, messages, messages.size() - kReachLanes, kReachLanes);
}

[[nodiscard]] inline bool udp_sum_holds(const Packet& packet, const uint8_t* ip, const uint8_t* udp,
                                        uint16_t length) noexcept {
  if (packet.l4_checksum == RxChecksum::Good) return true;
  if (packet.l4_checksum == RxChecksum::Bad) return false;
  // What came over no wire is not damaged. Some drivers say the same of what they could not look at.
  if (packet.l4_checksum == RxChecksum::Unfinished && is_unfinished_checksum(udp + 6, ip, length)) {
    return true;
  }
  return udp_checksum_holds(ip, udp, length);
}

// A datagram to one of our addresses: a WireGuard message, or it is dropped.
void take_udp(Burst& burst, Lane lane, const PortView& port, const uint8_t* ip,
              uint16_t header_bytes, Lanes& messages) noexcept {
  const Packet& packet = burst.packets[lane];
  const uint8_t* udp = ip + header_bytes;
  const size_t available = packet.length_bytes - kEthernetBytes - header_bytes;
  const auto length = check_udp(udp, available);
  if (!length) [[unlikely]]
    return burst.drop(lane, DropReason::UdpInvalid);
  const TunnelIndex tunnel = tunnel_listening(*burst.snapshot, port, load_be16(udp + 2));
  if (tunnel == kNoTunnel) return burst.drop(lane, DropReason::LocalUnwanted);
  if (!udp_sum_holds(packet, ip, udp, *length)) [[unlikely]]
    return burst.drop(lane, DropReason::UdpInvalid);
  take_message(burst, lane, tunnel, header_bytes, *length, messages);
}

void sort_local(Burst& burst, Lane lane, const PortView& port, Lanes& messages) noexcept {
  const uint8_t* ip = burst.packets[lane].data + kEthernetBytes;
  const bool v4 = ip_version(ip) == 4;
  const uint8_t protocol = v4 ? ip[9] : ip[6];
  if (v4 ? ipv4_is_fragment(ip) : protocol == static_cast<uint8_t>(Protocol::Ipv6Fragment)) {
    return burst.drop(lane, DropReason::Fragment);
  }
  if (protocol == static_cast<uint8_t>(Protocol::Udp)) {
    const uint16_t header_bytes = v4 ? ipv4_header_bytes(ip) : kIpv6Bytes;
    return take_udp(burst, lane, port, ip, header_bytes, messages);
  }
  if (is_icmp(ip)) return punt_icmp(burst, lane);
  burst.drop(lane, DropReason::LocalUnwanted);
}

// For somebody else. Link-local packets stay on their link (RFC 4291, 2.5.6), but the port has such an
// address itself.
void sort_foreign(Burst& burst, Lane lane, const PortView& port, const publish::NextHop* hop,
                  Lanes& plain, Lanes& messages) noexcept {
  Packet& packet = burst.packets[lane];
  const uint8_t* ip = packet.data + kEthernetBytes;
  if (hop != nullptr && hop->kind == NextHopKind::Unroutable) {
    return burst.drop(lane, DropReason::MartianDestination);
  }
  if (ip_version(ip) == 6) {
    const lookup::Ipv6Key destination = ipv6_key(ipv6_destination(ip));
    if (ipv6_is_link_local(destination)) {
      if (destination == ipv6_link_local(port.mac)) return sort_local(burst, lane, port, messages);
      return burst.drop(lane, DropReason::NotForwarded);
    }
    if (ipv6_is_link_local(ipv6_key(ipv6_source(ip)))) {
      return burst.drop(lane, DropReason::NotForwarded);
    }
  }
  if (port.inside_count == 0) return burst.drop(lane, DropReason::NotForwarded);
  packet.pop_front(kEthernetBytes);
  plain.push(lane);
}

// Most bursts are messages of peers to one address and port of ours. That they are for a tunnel is found out with the
// first one; of the others it is enough that they do not differ from it where it was looked at, and what each has of
// its own is looked at here: source, lengths, checksums. A frame that is not like the model in every respect is no worse
// for it, it goes the long way.
class Model {
 public:
  // Whether the frame could be a model; if so it goes the long way, too, which may end elsewhere.
  [[nodiscard]] static bool may_be(const Burst& burst, const PortView& port,
                                   const Packet& packet) noexcept {
    if (!is_whole(packet)) return false;
    const uint8_t* frame = packet.data;
    const uint8_t* ip = frame + kEthernetBytes;
    return load_le16(frame + 12) == kEtherTypeIpv4 && ipv4_header_bytes(ip) == kIpv4Bytes &&
           ip[9] == static_cast<uint8_t>(Protocol::Udp) &&
           tunnel_listening(*burst.snapshot, port, load_be16(frame + kUdpAt + 2)) != kNoTunnel;
  }

  // `frame` has turned out to be a message for the tunnel.
  Model(const uint8_t* frame, TunnelIndex tunnel) noexcept : seen_(frame), tunnel_(tunnel) {}

  // True: it is a message, and was taken.
  [[nodiscard]] bool take(Burst& burst, Lane lane, Lanes& messages) const noexcept {
    const Packet& packet = burst.packets[lane];
    if (!is_whole(packet)) [[unlikely]]
      return false;
    const uint8_t* ip = packet.data + kEthernetBytes;
    const uint8_t* udp = packet.data + kUdpAt;
    const uint16_t total = ipv4_total_bytes(ip);
    const uint16_t udp_bytes = load_be16(udp + 4);
    const bool lengths_agree = total <= packet.length_bytes - kEthernetBytes &&
                               udp_bytes >= kUdpBytes && total == udp_bytes + kIpv4Bytes;
    if (seen_ != Seen(packet.data) || !lengths_agree || !ipv4_is_unicast(ipv4_source(ip)) ||
        !sums_hold(packet, ip, udp, udp_bytes)) [[unlikely]] {
      return false;
    }
    take_message(burst, lane, tunnel_, kIpv4Bytes, udp_bytes, messages);
    return true;
  }

 private:
  static constexpr size_t kUdpAt = kEthernetBytes + kIpv4Bytes;

  [[nodiscard]] static bool is_whole(const Packet& packet) noexcept {
    return !packet.multi_segment && packet.length_bytes >= kUdpAt + kUdpBytes;
  }

  [[nodiscard]] static bool sums_hold(const Packet& packet, const uint8_t* ip, const uint8_t* udp,
                                      uint16_t udp_bytes) noexcept {
    const bool ip_sum_holds =
        packet.ipv4_checksum == RxChecksum::Good ||
        (packet.ipv4_checksum == RxChecksum::Unknown && fold(sum_words(ip, kIpv4Bytes)) == 0xffff);
    return ip_sum_holds && udp_sum_holds(packet, ip, udp, udp_bytes);
  }

  // What messages to one address and port have in common. Two words, and no branch for each field: nearly always all
  // are the same.
  struct Seen {
    explicit Seen(const uint8_t* frame) noexcept {
      // Destination MAC, Ethertype, IP version and header length.
      const __m128i link = _mm_setr_epi32(-1, 0xffff, 0, 0x00ff'ffff);
      // Of bytes 20 to 35: more fragments and offset, not DF and TTL; protocol; destination address.
      const __m128i network = _mm_setr_epi32(static_cast<int>(0xff00'ff3f), 0, 0xffff'0000, 0xffff);
      words[0] = _mm_and_si128(load(frame), link);
      words[1] = _mm_and_si128(load(frame + kEthernetBytes + 6), network);
      port = load_le16(frame + kUdpAt + 2);
    }
    [[nodiscard]] bool operator==(const Seen& other) const noexcept {
      const __m128i differences = _mm_or_si128(_mm_xor_si128(words[0], other.words[0]),
                                               _mm_xor_si128(words[1], other.words[1]));
      return _mm_testz_si128(differences, differences) && port == other.port;
    }
    static __m128i load(const uint8_t* bytes) noexcept {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    }
    __m128i words[2];
    uint16_t port;
  };

  Seen seen_;
  TunnelIndex tunnel_;
};

// Looks up the destinations that parse_frames() found.
void route(Burst& burst, const PortView& port, Lanes& plain, Lanes& messages) noexcept {
  burst.look_up(port.routes.v4, port.routes.v6, burst.found);
  const auto sort = [&](Lane lane) {
    const publish::NextHop* hop = Burst::next_hop(port.routes, burst.found[lane]);
    if (hop != nullptr && hop->kind == NextHopKind::Local) {
      sort_local(burst, lane, port, messages);
    } else {
      sort_foreign(burst, lane, port, hop, plain, messages);
    }
  };
  for (const Lane lane : burst.addresses.v4_lanes) sort(lane);
  for (const Lane lane : burst.addresses.v6_lanes) sort(lane);
  reach_last_keypairs(burst, messages);
}

}  // namespace

void parse(Burst& burst, size_t count, Lanes& plain, Lanes& messages) noexcept {
  const PortView& port = burst.snapshot->ports[burst.port];
  burst.addresses.clear();
  if (count < 2 || !Model::may_be(burst, port, burst.packets[0])) {
    parse_frames(burst, 0, count);
    return route(burst, port, plain, messages);
  }
  const uint8_t* first = burst.packets[0].data;
  parse_frames(burst, 0, 1);
  route(burst, port, plain, messages);
  burst.addresses.clear();
  if (messages.empty()) {
    parse_frames(burst, 1, count);
    return route(burst, port, plain, messages);
  }
  const Model model(first, burst.tunnel[0]);
  Lanes taken;
  for (size_t i = 1; i < count; ++i) {
    if (i + kPrefetchAhead < count) prefetch(burst.packets[i + kPrefetchAhead].data);
    if (!model.take(burst, static_cast<Lane>(i), taken)) [[unlikely]]
      parse_frames(burst, i, i + 1);
  }
  reach_last_keypairs(burst, taken);
  // What comes from one peer stays in order: all of `taken` is IPv4, which is first among the others.
  Lanes others;
  route(burst, port, plain, others);
  messages.append_merged(taken, others);
}

}  // namespace turnpike::pipeline

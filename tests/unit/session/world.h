// Two gateways, joined outside by a link. Each has the other as peer 0 and an inner world that is a list of
// the packets that came through.
#pragma once

#include <functional>

#include "gateway.h"

namespace turnpike::session::testing {

struct Options {
  bool v6 = false;
  bool a_knows_b = true;
  bool b_knows_a = false;
  uint16_t a_keepalive = 0;
  uint16_t b_keepalive = 0;
  bool b_routes_all_by_a = false;  // IPv4
  size_t computing = 0;  // session threads of each beside the first
};

class World {
 public:
  using OutsideFilter = std::function<bool(bool from_a, const EthernetView&)>;
  static constexpr PeerRef kPeer{.index = 0, .incarnation = 1};

  explicit World(uint64_t seed, const Options& options = {})
      : a(seed * 2 + 1, 1), b(seed * 2 + 2, 2), options_(options) {
    const bool v6 = options.v6;
    a_endpoint = {ip(v6 ? "2001:db8::a" : "192.0.2.1"), 51'820};
    b_endpoint = {ip(v6 ? "2001:db8::b" : "192.0.2.2"), 51'820};
    a.outside.add_interface(v6 ? "2001:db8::a/64" : "192.0.2.1/24");
    b.outside.add_interface(v6 ? "2001:db8::b/64" : "192.0.2.2/24");
    if (options.b_routes_all_by_a) {
      b.outside.add("0.0.0.0/0", {.kind = publish::NextHopKind::Via,
                                  .via = a_endpoint.address,
                                  .source = b_endpoint.address});
    }
    a.start(clock.now, options.computing);
    b.start(clock.now, options.computing);
    a.session->add_peer(settings_for_a());
    b.session->add_peer(settings_for_b());
  }

  [[nodiscard]] PeerSettings settings_for_a() const {
    PeerSettings settings{.ref = kPeer,
                          .tunnel = 0,
                          .public_key = b.public_key,
                          .persistent_keepalive_seconds = options_.a_keepalive};
    if (options_.a_knows_b) settings.endpoint = b_endpoint;
    return settings;
  }
  [[nodiscard]] PeerSettings settings_for_b() const {
    PeerSettings settings{.ref = kPeer,
                          .tunnel = 0,
                          .public_key = a.public_key,
                          .persistent_keepalive_seconds = options_.b_keepalive};
    if (options_.b_knows_a) settings.endpoint = a_endpoint;
    return settings;
  }

  // An inner packet at a gateway for its peer, as the pipeline handles it.
  void send(Gateway& from, Bytes packet) {
    const PeerRef ref{0, from.slots.incarnation(0)};
    wireguard::Keypair* keypair = from.sending(0);
    if (keypair == nullptr || keypair->expired(clock.now.instant)) {
      return from.needs_handshake(ref, packet);
    }
    from.note_sent(0, clock.now, packet.empty());
    if (!packet.empty() && keypair->sending().role == wireguard::Role::Initiator &&
        clock.now.instant - keypair->sending().created_at >= wireguard::kRekeyAfterTime &&
        !keypair->sending().rekey_requested.exchange(true)) {
      from.punt({.kind = publish::PuntKind::KeyAged,
                 .tunnel = 0,
                 .peer = ref,
                 .local_index = keypair->local_index});
    }
    if (!data_lost) deliver(from, keypair->sending().remote_index, packet);
  }
  void send(Gateway& from, std::string_view text) {
    send(from, Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }

  // Turns on both sides until nothing moves any more; time stands still.
  void settle() {
    for (int round = 0; round < 64; ++round) {
      size_t done = a.session->turn(a.snapshot, clock.now) + b.session->turn(b.snapshot, clock.now);
      done += carry(a) + carry(b);
      if (!computing_stands_still) done += a.compute() + b.compute();
      if (done == 0) return;
    }
  }
  void run_for(Duration time, Duration step = 20ms) {
    for (Duration passed{0}; passed < time; passed += step) {
      clock.advance(step);
      settle();
    }
  }

  [[nodiscard]] bool can_send(Gateway& from) { return from.sending(0) != nullptr; }

  Clock clock;
  Gateway a, b;
  Endpoint a_endpoint, b_endpoint;
  std::vector<std::string> at_a, at_b;  // inner packets that arrived; keepalives are empty
  std::vector<std::pair<bool, uint8_t>> handshakes;  // (from a, type) of each message on the link
  OutsideFilter filter;  // false: the frame is lost
  bool data_lost = false;
  bool computing_stands_still = false;  // what was handed over does not come back

 private:
  size_t carry(Gateway& from) {
    const auto injected = from.take_injected();
    for (const Injected& entry : injected) {
      switch (entry.header.kind) {
        case publish::InjectKind::Frame:
          carry_frame(from, entry.bytes);
          break;
        case publish::InjectKind::InnerPacket:
          send(from, entry.bytes);
          break;
        case publish::InjectKind::Keepalive:
          if (from.sending(0) != nullptr) send(from, Bytes{});
          break;
      }
    }
    return injected.size();
  }

  void carry_frame(Gateway& from, Bytes frame) {
    const bool from_a = &from == &a;
    Gateway& to = from_a ? b : a;
    const EthernetView ethernet = *parse_ethernet(frame);
    const auto packet = parse_ip_packet(ethernet.payload);
    if (packet && packet->protocol == kProtocolUdp) {
      handshakes.emplace_back(from_a, packet->payload[kUdpHeaderBytes]);
    }
    if (filter && !filter(from_a, ethernet)) return;
    if (ethernet.ether_type == kEtherTypeArp) {
      return to.punt({.kind = publish::PuntKind::Arp, .port = kOutside}, frame);
    }
    if (!packet) return;
    if (packet->protocol == kProtocolUdp) {
      const Bytes udp = packet->payload;
      CHECK(transport_checksum(packet->source, packet->destination, kProtocolUdp, udp) == 0);
      CHECK(load_be16(&udp[4]) == udp.size());
      return to.punt({.kind = publish::PuntKind::Handshake,
                      .port = kOutside,
                      .tunnel = 0,
                      .remote = {packet->source, load_be16(&udp[0])},
                      .local = packet->destination},
                     udp.subspan(kUdpHeaderBytes));
    }
    to.punt({.kind = publish::PuntKind::PortIcmp, .port = kOutside}, frame);
  }

  void deliver(Gateway& from, uint32_t index, Bytes packet) {
    const bool from_a = &from == &a;
    Gateway& to = from_a ? b : a;
    if (!to.receive_data(index, clock.now, packet.empty())) return;
    (from_a ? at_b : at_a).emplace_back(packet.begin(), packet.end());
  }

  Options options_;
};

}  // namespace turnpike::session::testing

#include "tests/simulation/world.h"

#include <algorithm>

#include "dataplane/crypto/x25519.h"
#include "tests/simulation/packets.h"

namespace turnpike::sim {
namespace {

constexpr Instant kStart{1'000'000'000'000};
constexpr uint64_t kWallAtStart = 1'800'000'000ULL * 1'000'000'000;
constexpr Duration kSettleTime = 15s;  // held-off neighbours and timers of the last packets
constexpr Duration kLeastStep = 1ms;
constexpr Duration kDurableMark = 60s;  // our own timestamps are stored that much ahead (design, 7)

MacAddress host_mac(GatewayNumber gateway) {
  return {{2, 0, 0, 1, static_cast<uint8_t>(gateway), 1}};
}

IpAddress inside_address(GatewayNumber gateway, Family family, uint8_t host) {
  if (family == Family::V4) {
    return IpAddress::v4(0x0a00'0000u | static_cast<uint32_t>(gateway) << 16 | host);
  }
  uint8_t bytes[16] = {0xfd, 0, 0, static_cast<uint8_t>(gateway)};
  bytes[15] = host;
  return IpAddress::v6_bytes(bytes);
}

IpAddress outside_address(Family family, uint8_t host) {
  if (family == Family::V4) return IpAddress::v4(0xc000'0200u | host);
  uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
  bytes[15] = host;
  return IpAddress::v6_bytes(bytes);
}

std::vector<Prefix> inside_subnets(GatewayNumber gateway) {
  return {Prefix::masked(inside_address(gateway, Family::V4, 0), 24),
          Prefix::masked(inside_address(gateway, Family::V6, 0), 64)};
}

}  // namespace

World::World(const WorldSettings& settings)
    : settings_(settings), random_(settings.seed), ledger_(settings.seed), now_(kStart) {}

GatewayNumber World::add_gateway() {
  const GatewayNumber number = places_.size();
  const auto host = static_cast<uint8_t>(number + 1);
  places_.push_back({.settings = {.number = number,
                                  .private_key = crypto::generate_private_key(random_),
                                  .outside_v4 = outside_address(Family::V4, host),
                                  .outside_v6 = outside_address(Family::V6, host),
                                  .workers = settings_.workers,
                                  .session_threads = settings_.session_threads,
                                  .interleave = settings_.interleave}});
  start(number);
  return number;
}

void World::start(GatewayNumber number) {
  Place& place = places_[number];
  place.gateway = std::make_unique<Gateway>(
      place.settings, ledger_, random_.next(), now_,
      [this, number](PortIndex port, Bytes frame) { transmit(number, port, frame); });
  if (place.is_hub) place.gateway->note_hub();
  for (auto& [other, peer] : place.peers) peer = place.gateway->add_peer(place.specs.at(other));
}

void World::introduce(GatewayNumber at, GatewayNumber other, bool knows,
                      const PresharedKey& preshared_key, std::vector<Prefix> allowed) {
  PeerSpec spec{.public_key = crypto::public_key(places_[other].settings.private_key),
                .preshared_key = preshared_key,
                .allowed = std::move(allowed)};
  if (knows) spec.endpoint = endpoint_of(other);
  places_[at].peers[other] = places_[at].gateway->add_peer(spec);
  places_[at].specs[other] = std::move(spec);
}

void World::connect(GatewayNumber a, GatewayNumber b, bool a_knows, bool b_knows) {
  PresharedKey preshared_key;
  if (settings_.preshared_keys) random_.fill(preshared_key.bytes());
  introduce(a, b, a_knows, preshared_key, inside_subnets(b));
  introduce(b, a, b_knows, preshared_key, inside_subnets(a));
}

void World::connect_spoke(GatewayNumber hub, GatewayNumber spoke, bool hub_knows) {
  PresharedKey preshared_key;
  if (settings_.preshared_keys) random_.fill(preshared_key.bytes());
  introduce(hub, spoke, hub_knows, preshared_key, inside_subnets(spoke));
  introduce(spoke, hub, true, preshared_key,
            {Prefix::masked(inside_address(0, Family::V4, 0), 8),
             Prefix::masked(inside_address(0, Family::V6, 0), 16)});
  seals_max_ = 2;
  places_[hub].is_hub = true;
  places_[hub].gateway->note_hub();
}

Endpoint World::endpoint_of(GatewayNumber number) const {
  const GatewaySettings& settings = places_[number].settings;
  return {.address = settings_.outer == Family::V4 ? settings.outside_v4 : settings.outside_v6,
          .port = kListenPort};
}

World::Two World::two_gateways(bool a_knows, bool b_knows) {
  const GatewayNumber a = add_gateway();
  const GatewayNumber b = add_gateway();
  connect(a, b, a_knows, b_knows);
  return {a, b};
}

Now World::now_of(const Place& place) const noexcept {
  const auto wall = static_cast<int64_t>(kWallAtStart) +
                    static_cast<int64_t>((now_ - kStart).count()) + place.wall_offset.count();
  return {.instant = now_, .wall = {static_cast<uint64_t>(wall)}};
}

void World::send(const Traffic& traffic) {
  Gateway& gateway = *places_[traffic.from].gateway;
  const size_t header = traffic.family == Family::V4 ? kIpv4Bytes : kIpv6Bytes;
  for (size_t i = 0; i < traffic.burst; ++i) {
    const uint64_t id =
        ledger_.new_packet(traffic.from, traffic.to, now_.nanoseconds, traffic.forged);
    const IpAddress source = inside_address(traffic.forged ? 77 : traffic.from, traffic.family, 2);
    gateway.receive(kInside, random_.next() >> 32,
                    make_ip_frame(gateway.mac(kInside), host_mac(traffic.from), source,
                                  inside_address(traffic.to, traffic.family, 2),
                                  ledger_.payload_of(id, traffic.length_bytes - header)));
  }
}

void World::run_for(Duration duration, const std::vector<Traffic>& traffic) {
  const Instant until = now_ + duration;
  std::vector<Instant> next(traffic.size(), now_);
  for (;;) {
    for (size_t i = 0; i < traffic.size(); ++i) {
      if (next[i] > now_ || now_ >= until) continue;
      send(traffic[i]);
      next[i] = next[i] + traffic[i].every;
    }
    settle();
    if (now_ >= until) return;
    Instant step = until;
    for (const Instant at : next) step = std::min(step, at);
    advance_to(step);
  }
}

// To `until` or to what happens before it: an arrival, a timer.
void World::advance_to(Instant until) {
  Instant next = until;
  for (const Place& place : places_) {
    const Instant deadline = place.gateway->next_deadline();
    next = std::min(next, std::max(deadline, now_ + kLeastStep));
  }
  if (!network_.empty()) next = std::min(next, std::max(network_.top().at, now_));
  now_ = next;
  while (!network_.empty() && network_.top().at <= now_) {
    Transit transit = network_.top();
    network_.pop();
    places_[transit.to].gateway->receive(kOutside, random_.next() >> 32, std::move(transit.frame));
  }
}

// Frames between gateways take at least a moment, so each comes to rest by itself.
void World::settle() {
  for (Place& place : places_) place.gateway->run(now_of(place));
}

void World::transmit(GatewayNumber from, PortIndex port, Bytes frame) {
  if (port == kOutside) {
    transmit_outside(from, frame);
  } else {
    transmit_inside(from, frame);
  }
}

bool World::is_cut(GatewayNumber a, GatewayNumber b) const {
  const auto found = cut_.find(std::minmax(a, b));
  return found != cut_.end() && found->second;
}

void World::transmit_outside(GatewayNumber from, Bytes frame) {
  ledger_.note_outside(from, frame);
  const MacAddress destination = destination_of(frame);
  for (GatewayNumber to = 0; to < places_.size(); ++to) {
    if (to == from) continue;
    if (!destination.is_group() && destination != places_[to].gateway->mac(kOutside)) continue;
    if (is_cut(from, to) || random_.chance(settings_.loss)) {
      ++frames_lost_;
      continue;
    }
    const int copies = random_.chance(settings_.duplicate) ? 2 : 1;
    const auto spread = static_cast<uint64_t>((settings_.delay_max - settings_.delay_min).count());
    for (int copy = 0; copy < copies; ++copy) {
      const Duration delay =
          settings_.delay_min + Duration(spread == 0 ? 0 : random_.below(spread + 1));
      network_.push({.at = now_ + delay,
                     .order = order_++,
                     .to = to,
                     .frame = Frame(frame.begin(), frame.end())});
    }
  }
}

void World::transmit_inside(GatewayNumber at, Bytes frame) {
  Gateway& gateway = *places_[at].gateway;
  if (const auto answer = host_answer(frame, host_mac(at), gateway.addresses(kInside))) {
    gateway.receive(kInside, 0, *answer);
    return;
  }
  const Bytes packet = frame.subspan(kEthernetBytes);
  if (destination_of(frame) != host_mac(at)) return;
  if (is_icmp_error(packet) && std::ranges::find(gateway.addresses(kInside), ip_source_of(frame)) ==
                                   gateway.addresses(kInside).end()) {
    return gateway.note_error_delivered();
  }
  if (ledger_.find(packet) == nullptr) return;
  gateway.note_delivered();
  ledger_.note_delivered(at, packet, now_.nanoseconds);
}

void World::set_network(double loss, double duplicate, Duration delay_min, Duration delay_max) {
  settings_.loss = loss;
  settings_.duplicate = duplicate;
  settings_.delay_min = delay_min;
  settings_.delay_max = delay_max;
}

void World::cut(GatewayNumber a, GatewayNumber b) { cut_[std::minmax(a, b)] = true; }
void World::heal(GatewayNumber a, GatewayNumber b) { cut_[std::minmax(a, b)] = false; }

// What a restarted daemon would find in its state.
void World::note_durable(GatewayNumber number) {
  Place& place = places_[number];
  for (const auto& [other, peer] : place.peers) {
    PeerSpec& spec = place.specs.at(other);
    const auto status = place.gateway->session().status(peer.index);
    if (!status) continue;
    if (status->last_sent.nanoseconds != 0) {
      spec.last_sent.nanoseconds =
          status->last_sent.nanoseconds + static_cast<uint64_t>(kDurableMark.count());
    }
    spec.latest_received = status->latest_received;
  }
}

void World::restart(GatewayNumber number) {
  Place& place = places_[number];
  note_durable(number);
  for (std::string& fault : place.gateway->unaccounted()) faults_.push_back(std::move(fault));
  place.handshakes_before += place.gateway->handshakes_completed();
  place.gateway.reset();
  start(number);
}

void World::move(GatewayNumber number) {
  GatewaySettings& settings = places_[number].settings;
  settings.outside_v4 = outside_address(Family::V4, next_address_);
  settings.outside_v6 = outside_address(Family::V6, next_address_);
  ++next_address_;
  places_[number].gateway->set_outside_addresses(settings.outside_v4, settings.outside_v6);
}

void World::remove_peer(GatewayNumber at, GatewayNumber other) {
  note_durable(at);
  places_[at].gateway->remove_peer(places_[at].peers.at(other));
  places_[at].peers.erase(other);
}

void World::add_peer_again(GatewayNumber at, GatewayNumber other) {
  places_[at].peers[other] = places_[at].gateway->add_peer(places_[at].specs.at(other));
}

void World::step_wall_clock(GatewayNumber gateway, Duration by) {
  places_[gateway].wall_offset += by;
}

void World::tell_endpoint(GatewayNumber at, GatewayNumber other) {
  places_[at].specs.at(other).endpoint = endpoint_of(other);
  places_[at].gateway->session().set_peer(places_[at].peers.at(other),
                                          {.endpoint = endpoint_of(other)});
}

uint64_t World::handshakes_completed() const {
  uint64_t sides = 0;
  for (const Place& place : places_) {
    sides += place.handshakes_before + place.gateway->handshakes_completed();
  }
  return sides / 2;
}

Duration World::first_delivery_after(Instant since, GatewayNumber from, GatewayNumber to) const {
  for (const InnerPacket& packet : ledger_.packets) {
    if (packet.from == from && packet.to == to && packet.sent_at >= since.nanoseconds &&
        packet.delivered != 0) {
      return Instant{packet.delivered_at} - since;
    }
  }
  return std::chrono::hours(24 * 365);
}

uint64_t World::delivered_between(Instant from, Instant until) const {
  return static_cast<uint64_t>(std::ranges::count_if(ledger_.packets, [&](const InnerPacket& p) {
    return p.sent_at >= from.nanoseconds && p.sent_at < until.nanoseconds && p.delivered != 0;
  }));
}

uint64_t World::sent_between(Instant from, Instant until) const {
  return static_cast<uint64_t>(std::ranges::count_if(ledger_.packets, [&](const InnerPacket& p) {
    return p.sent_at >= from.nanoseconds && p.sent_at < until.nanoseconds;
  }));
}

std::vector<std::string> World::finish() {
  run_for(kSettleTime);
  std::vector<std::string> broken = ledger_.broken;
  broken.insert(broken.end(), faults_.begin(), faults_.end());
  for (const Place& place : places_) {
    for (std::string& fault : place.gateway->unaccounted()) broken.push_back(std::move(fault));
    if (place.gateway->snapshots_waiting() != 0) {
      broken.push_back("snapshots are never retired");
    }
  }
  for (const InnerPacket& packet : ledger_.packets) {
    if (packet.sealed > seals_max_) broken.push_back("an inner packet was sealed too often");
  }
  return broken;
}

std::string World::drops_text() {
  std::string text;
  for (const Place& place : places_) text += "[" + place.gateway->drops_text() + "] ";
  return text;
}

}  // namespace turnpike::sim

#include "tests/unit/pipeline/gateway.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace turnpike::pipeline::test {

using publish::NextHop;
using publish::NextHopKind;

void Table::insert(const Prefix& prefix, uint32_t value) {
  const lookup::Edit edit{.prefix = prefix, .peer = value};
  if (prefix.address.is_v4()) {
    CHECK(v4.prepare({&edit, 1}));
    const lookup::Garbage garbage = v4.commit();
    if (!keeps_versions) v4.reclaim(garbage);
  } else {
    CHECK(v6.prepare({&edit, 1}));
    const lookup::Garbage garbage = v6.commit();
    if (!keeps_versions) v6.reclaim(garbage);
  }
}

void Routes::add(const Prefix& prefix, const NextHop& hop) {
  table_.insert(prefix, static_cast<uint32_t>(flat_.size()));
  flat_.push_back(hop);
}

publish::RouteTable Routes::view() const {
  return {.v4 = table_.v4.head(), .v6 = table_.v6.head(), .next_hops = flat_};
}

Gateway::Worker::Worker(Gateway& gateway, std::unique_ptr<crypto::Aead> own_aead)
    : door(gateway.epoch, gateway.pages, 9'216),
      aead(std::move(own_aead)),
      pipeline(gateway.shared, door, *aead) {}

Gateway::Gateway(size_t worker_count, crypto::AeadBackend backend) {
  CHECK(peers.valid());
  for (size_t i = 0; i < worker_count; ++i) {
    workers.push_back(std::make_unique<Worker>(*this, crypto::make_aead(backend)));
  }
}

PortIndex Gateway::add_port(const MacAddress& mac, const std::vector<std::string>& addresses) {
  const PortIndex index = snapshot.port_count++;
  Routes& routes = port_routes_.emplace_back(pages);
  for (const std::string& text : addresses) {
    const InterfaceAddress own = parse_interface_address(text).value();
    routes.add(own.subnet(), {.kind = NextHopKind::OnLink, .source = own.address});
    routes.add(Prefix::masked(own.address, own.address.width_bits()), {.kind = NextHopKind::Local});
    if (own.address.is_v4() && own.length < 31) {
      const uint32_t last = own.subnet().address.v4_host_order() | ~uint32_t{0} >> own.length;
      routes.add(Prefix::masked(IpAddress::v4(last), 32), {.kind = NextHopKind::Unroutable});
    }
  }
  snapshot.ports[index].mac = mac;
  snapshot.ports[index].routes = routes.view();
  return index;
}

void Gateway::add_route(PortIndex port, std::string_view prefix, std::string_view via) {
  port_routes_[port].add(parse_prefix(prefix).value(), {.kind = NextHopKind::Via, .via = ip(via)});
  snapshot.ports[port].routes = port_routes_[port].view();
}

TunnelIndex Gateway::add_tunnel(PortIndex outside, PortIndex inside, uint16_t listen_port) {
  const TunnelIndex index = snapshot.tunnel_count++;
  tunnel_local_.emplace_back(pages);
  allowed_.emplace_back(pages, lookup::Stamps::Kept);
  snapshot.tunnels[index] = {
      .outside = outside, .inside = inside, .listen_port = listen_port, .active = true};
  publish::PortView& out = snapshot.ports[outside];
  out.outside_of[out.outside_count++] = index;
  publish::PortView& in = snapshot.ports[inside];
  in.inside_of[in.inside_count++] = index;
  return index;
}

void Gateway::add_own_address(TunnelIndex tunnel, std::string_view address) {
  const IpAddress own = ip(address);
  tunnel_local_[tunnel].add(Prefix::masked(own, own.width_bits()), {.kind = NextHopKind::Local});
  snapshot.tunnels[tunnel].local = tunnel_local_[tunnel].view();
}

void Gateway::allow(TunnelIndex tunnel, std::string_view prefix, PeerIndex peer) {
  allowed_[tunnel].insert(parse_prefix(prefix).value(), peer);
  snapshot.tunnels[tunnel].allowed_v4 = allowed_[tunnel].v4.head();
  snapshot.tunnels[tunnel].allowed_v6 = allowed_[tunnel].v6.head();
}

void Gateway::keep_versions() {
  for (Table& table : allowed_) table.keeps_versions = true;
}

PeerIndex Gateway::add_peer() {
  peers.set_incarnation(peers_, 7);
  return peers_++;
}

void Gateway::add_neighbour(PortIndex port, const IpAddress& address, const MacAddress* mac) {
  const publish::NeighbourIndex index = neighbours.insert(port, address);
  CHECK(index != publish::kNoNeighbour);
  if (mac != nullptr) neighbours.set_mac(index, *mac);
}

void Gateway::set_endpoint(PeerIndex peer, const Endpoint& remote, const IpAddress& local,
                           PortIndex port, const IpAddress& first_hop) {
  peers.set_endpoint(
      peer, {.remote = remote, .local = local, .first_hop = neighbours.find(port, first_hop)});
}

wireguard::Keypair& Gateway::add_keypair(TunnelIndex tunnel, PeerIndex peer, wireguard::Role role) {
  wireguard::Keypair& keypair = keypairs.make(keypairs.reserve().value());
  keypair.sending().role = role;
  keypair.set_created_at(now);
  keypair.tunnel = tunnel;
  keypair.peer = {.index = peer, .incarnation = peers.incarnation(peer)};
  keypair.confirmed.store(role == wireguard::Role::Initiator);
  keypairs.publish(keypair);
  return keypair;
}

std::vector<uint64_t> Gateway::drops_of(const Worker& worker) {
  std::vector<uint64_t> drops;
  for (const publish::Counter& counter : worker.door.counters.drops)
    drops.push_back(counter.value());
  return drops;
}

Turn Gateway::receive(PortIndex port, const std::vector<Blob>& frames, size_t worker) {
  return receive_in(snapshot, port, frames, worker);
}

Turn Gateway::receive(PortIndex port, std::vector<FrameIn> frames, size_t worker) {
  return receive_in(snapshot, port, std::move(frames), worker);
}

Turn Gateway::receive_in(const publish::Snapshot& other, PortIndex port,
                         const std::vector<Blob>& frames, size_t worker) {
  std::vector<FrameIn> in;
  for (const Blob& frame : frames) in.push_back({.bytes = frame});
  return receive_in(other, port, std::move(in), worker);
}

namespace {

// Exactly as many bytes as the packet may use.
Packet packet_in(std::unique_ptr<uint8_t[]>& buffer, const Blob& bytes, Room room) {
  buffer.reset(new uint8_t[room.head + bytes.size() + room.tail]);
  std::copy(bytes.begin(), bytes.end(), buffer.get() + room.head);
  return {.data = buffer.get() + room.head,
          .length_bytes = static_cast<uint16_t>(bytes.size()),
          .headroom_bytes = room.head,
          .tailroom_bytes = room.tail,
          .handle = buffer.get()};
}

}  // namespace

Turn Gateway::receive_in(const publish::Snapshot& some, PortIndex port, std::vector<FrameIn> frames,
                         size_t worker) {
  std::vector<std::unique_ptr<uint8_t[]>> buffers(frames.size());
  std::vector<Packet> packets;
  for (size_t i = 0; i < frames.size(); ++i) {
    Packet packet = packet_in(buffers[i], frames[i].bytes, frames[i].room);
    packet.ipv4_checksum = frames[i].ipv4_checksum;
    packet.l4_checksum = frames[i].l4_checksum;
    packet.multi_segment = frames[i].multi_segment;
    packets.push_back(packet);
  }
  const std::vector<Packet> before = packets;
  Worker& w = *workers[worker];
  const auto drops = drops_of(w);
  const auto output = std::make_unique<Output>();
  w.pipeline.receive(some, now, port, packets, *output);
  return collect(w, *output, before, drops);
}

Turn Gateway::inject(const std::vector<Injection>& entries, size_t extra, size_t worker) {
  Worker& w = *workers[worker];
  for (const Injection& entry : entries) {
    auto* slot = w.door.inject.try_begin();
    CHECK(slot != nullptr);
    slot->header = entry.header;
    slot->length_bytes = static_cast<uint32_t>(entry.bytes.size());
    std::copy(entry.bytes.begin(), entry.bytes.end(), slot->data());
    w.door.inject.commit();
  }
  EXPECT_EQ(w.pipeline.injections_waiting(), std::min(entries.size(), kBurstMax));
  std::vector<std::unique_ptr<uint8_t[]>> buffers(entries.size() + extra);
  std::vector<Packet> blanks;
  for (auto& buffer : buffers) blanks.push_back(packet_in(buffer, {}, {.head = 128, .tail = 2000}));
  const std::vector<Packet> before = blanks;
  const auto drops = drops_of(w);
  const auto output = std::make_unique<Output>();
  w.pipeline.inject(snapshot, now, blanks, *output);
  return collect(w, *output, before, drops);
}

Turn Gateway::collect(Worker& worker, Output& output, const std::vector<Packet>& packets,
                      const std::vector<uint64_t>& drops_before) {
  Turn turn{.packets = packets.size()};
  std::multiset<void*> left;
  for (PortIndex port = 0; port < kMaxPorts; ++port) {
    for (size_t i = 0; i < output.tx[port].count; ++i) {
      const Packet& p = output.tx[port].packets[i];
      turn.sent.push_back({.port = port,
                           .frame = Blob(p.data, p.data + p.length_bytes),
                           .offload = p.offload_checksums});
      left.insert(p.handle);
    }
  }
  for (size_t i = 0; i < output.done_count; ++i) left.insert(output.done[i]);
  turn.finished = output.done_count;
  // Conservation: each packet leaves exactly once.
  std::multiset<void*> came;
  for (const Packet& packet : packets) came.insert(packet.handle);
  EXPECT_EQ(left, came);
  for (; auto* slot = worker.door.punt.front(); worker.door.punt.pop()) {
    Punted punted{.header = slot->header,
                  .bytes = Blob(slot->data(), slot->data() + slot->length_bytes)};
    (punted.header.kind >= publish::PuntKind::KeypairConfirmed ? turn.events : turn.punts)
        .push_back(std::move(punted));
  }
  const auto drops = drops_of(worker);
  for (size_t i = 0; i < kDropReasons; ++i) {
    const uint64_t count = drops[i] - drops_before[i];
    if (count != 0) turn.drops[static_cast<DropReason>(i)] = count;
  }
  return turn;
}

Session connect(Gateway& a, TunnelIndex tunnel_a, PeerIndex peer_at_a, Gateway& b,
                TunnelIndex tunnel_b, PeerIndex peer_at_b) {
  wireguard::Keypair& ka = a.add_keypair(tunnel_a, peer_at_a, wireguard::Role::Initiator);
  wireguard::Keypair& kb = b.add_keypair(tunnel_b, peer_at_b, wireguard::Role::Responder);
  for (size_t i = 0; i < kKeyBytes; ++i) {
    ka.sending().key[i] = kb.receiving_key[i] = static_cast<uint8_t>(a.random());
    kb.sending().key[i] = ka.receiving_key[i] = static_cast<uint8_t>(a.random());
  }
  ka.sending().remote_index = kb.local_index;
  kb.sending().remote_index = ka.local_index;
  kb.confirmed.store(true);
  a.peers[peer_at_a].send.current.store(&ka, std::memory_order_release);
  b.peers[peer_at_b].send.current.store(&kb, std::memory_order_release);
  return {.a = &ka, .b = &kb};
}

Pair::Pair(Family outer_family, size_t workers, crypto::AeadBackend backend)
    : a(workers, backend), b(workers, backend), outer(outer_family) {
  const IpAddress at_a = ip(outer == Family::V4 ? "192.0.2.1" : "2001:db8::1");
  const IpAddress at_b = ip(outer == Family::V4 ? "192.0.2.2" : "2001:db8::2");
  a.add_port(kOutsideA, {"192.0.2.1/24", "2001:db8::1/64"});
  a.add_port(kInsideA, {"10.0.0.1/24", "fd00:a::1/64"});
  b.add_port(kOutsideB, {"192.0.2.2/24", "2001:db8::2/64"});
  b.add_port(kInsideB, {"10.1.0.1/24", "fd00:b::1/64"});
  a.add_tunnel(outside, inside, 51820);
  b.add_tunnel(outside, inside, 51821);
  a.add_peer();
  b.add_peer();
  a.allow(tunnel, "10.1.0.0/16", peer);
  a.allow(tunnel, "fd00:b::/32", peer);
  b.allow(tunnel, "10.0.0.0/16", peer);
  b.allow(tunnel, "fd00:a::/32", peer);
  a.add_neighbour(outside, at_b, &kOutsideB);
  b.add_neighbour(outside, at_a, &kOutsideA);
  for (const char* host : {"10.0.0.2", "fd00:a::2"}) a.add_neighbour(inside, ip(host), &kHostA);
  for (const char* host : {"10.1.0.2", "fd00:b::2"}) b.add_neighbour(inside, ip(host), &kHostB);
  a.set_endpoint(peer, {at_b, 51821}, at_a, outside, at_b);
  b.set_endpoint(peer, {at_a, 51820}, at_b, outside, at_a);
  session = connect(a, tunnel, peer, b, tunnel, peer);
}

namespace {

Blob payload_of(size_t bytes) {
  Blob payload(bytes);
  for (size_t i = 0; i < bytes; ++i) payload[i] = static_cast<uint8_t>(i * 7 + bytes);
  return payload;
}

}  // namespace

Blob Pair::a_to_b(Family inner, size_t payload, IpOptions options) const {
  return inner == Family::V4
             ? make_ip(ip("10.0.0.2"), ip("10.1.0.2"), payload_of(payload), options)
             : make_ip(ip("fd00:a::2"), ip("fd00:b::2"), payload_of(payload), options);
}

Blob Pair::b_to_a(Family inner, size_t payload, IpOptions options) const {
  return inner == Family::V4
             ? make_ip(ip("10.1.0.2"), ip("10.0.0.2"), payload_of(payload), options)
             : make_ip(ip("fd00:b::2"), ip("fd00:a::2"), payload_of(payload), options);
}

Blob Pair::sealed_by_a(const Blob& packet) {
  const Turn turn = a.receive(inside, {from_host_a(packet)});
  CHECK(turn.sent.size() == 1);
  return turn.sent[0].frame;
}

Blob Pair::sealed_text(const Session& of, const Blob& text) {
  Blob message(16 + text.size() + 16);
  message[0] = 4;
  store_le32(&message[4], of.b->local_index);
  const uint64_t counter = of.a->sending().counter.fetch_add(1);
  store_le64(&message[8], counter);
  std::copy(text.begin(), text.end(), message.begin() + 16);
  const crypto::AeadJob job{.key = of.a->sending().key.data(),
                            .counter = counter,
                            .data = message.data() + 16,
                            .length_bytes = static_cast<uint32_t>(text.size())};
  a.workers[0]->aead->seal({&job, 1});
  return make_frame(
      kOutsideB, kOutsideA,
      make_udp(*parse_ip("192.0.2.1"), *parse_ip("192.0.2.2"), 51820, 51821, message));
}

}  // namespace turnpike::pipeline::test

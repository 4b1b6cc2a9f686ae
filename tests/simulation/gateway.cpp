#include "tests/simulation/gateway.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "control/session/frames.h"
#include "dataplane/wireguard/messages.h"

namespace turnpike::sim {

using publish::NextHop;
using publish::NextHopKind;

namespace {

constexpr uint32_t kSlotBytes = 2'048;
constexpr uint32_t kSlots = 64;
constexpr uint16_t kHeadroomBytes = 128;
constexpr size_t kBufferBytes = 2'432;
constexpr int kRoundsMax = 10'000;
// Of what is left to other session threads, and when it is there at the latest.
constexpr double kComputedLater = 0.2;
constexpr Duration kComputedWithin = 50ms;

}  // namespace

// The routes of one port, or a tunnel's own addresses: never changed, replaced as a whole.
struct Gateway::Routes {
  explicit Routes(RoomSource& pages) : v4(pages), v6(pages) {}
  void add(const Prefix& prefix, const NextHop& hop) {
    const lookup::Edit edit{.prefix = prefix, .peer = static_cast<uint32_t>(hops.size())};
    hops.push_back(hop);
    if (prefix.address.is_v4()) {
      CHECK(v4.prepare({&edit, 1}));
      v4.reclaim(v4.commit());
    } else {
      CHECK(v6.prepare({&edit, 1}));
      v6.reclaim(v6.commit());
    }
  }
  [[nodiscard]] publish::RouteTable view() const {
    return {.v4 = v4.head(), .v6 = v6.head(), .next_hops = hops};
  }
  lookup::WriterV4 v4;
  lookup::WriterV6 v6;
  std::vector<NextHop> hops;
};

// A snapshot with what it refers to and what its successor no longer uses.
struct Gateway::State {
  publish::Snapshot snapshot;
  std::array<std::shared_ptr<const Routes>, 2> routes;
  lookup::Garbage garbage_v4;
  lookup::Garbage garbage_v6;
};

struct Gateway::Worker {
  Worker(Gateway& gateway, const pipeline::Shared& shared)
      : door(gateway.epoch_, gateway.pages_, kSlotBytes),
        aead(gateway.ledger_, [&gateway] { gateway.meanwhile(); }),
        pipeline(shared, door, aead),
        buffers(kBurstMax) {}

  publish::Door door;
  RecordingAead aead;
  pipeline::Pipeline pipeline;
  std::array<std::deque<Frame>, 2> rx;
  bool in_burst = false;
  std::vector<std::array<uint8_t, kBufferBytes>> buffers;
  std::vector<pipeline::Packet> burst;
  pipeline::Output output;
};

Gateway::Gateway(const GatewaySettings& settings, Ledger& ledger, uint64_t seed, Instant now,
                 Transmit transmit)
    : settings_(settings),
      ledger_(ledger),
      random_(seed),
      transmit_(std::move(transmit)),
      now_{.instant = now},
      slots_(pages_, kSlots, seed),
      keypairs_(pages_, 1u << 12, random_),
      neighbours_(epoch_, seed),
      allowed_v4_(pages_, lookup::Stamps::Kept),
      allowed_v6_(pages_, lookup::Stamps::Kept),
      retired_(epoch_),
      retired_slots_(epoch_),
      incarnations_(kSlots, 0),
      session_reader_(epoch_.add_reader()) {
  CHECK(slots_.valid());
  for (PeerIndex i = kSlots; i-- > 0;) free_slots_.push_back(i);
  const auto number = static_cast<uint8_t>(settings.number);
  macs_ = {MacAddress{{2, 0, 0, 0, number, 0xaa}}, MacAddress{{2, 0, 0, 0, number, 0xbb}}};
  addresses_[kOutside] = {settings.outside_v4, settings.outside_v6};
  uint8_t v6[16] = {0xfd, 0, 0, number};
  v6[15] = 1;
  addresses_[kInside] = {IpAddress::v4(0x0a00'0001u | uint32_t{number} << 16),
                         IpAddress::v6_bytes(v6)};
  for (const PortIndex port : {kOutside, kInside}) routes_[port] = make_routes(port);

  const pipeline::Shared shared{
      .peers = slots_, .keypairs = keypairs_, .neighbours = neighbours_, .offloads = {}};
  std::vector<publish::Door*> doors;
  for (size_t i = 0; i < settings.workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(*this, shared));
    doors.push_back(&workers_.back()->door);
  }
  std::vector<session::ComputationRing*> rings;
  for (size_t i = 1; i < settings.session_threads; ++i) {
    computing_.push_back(std::make_unique<session::ComputationRing>());
    rings.push_back(computing_.back().get());
  }
  session_ = std::make_unique<session::Session>(session::SessionParts{.peers = slots_,
                                                                      .keypairs = keypairs_,
                                                                      .neighbours = neighbours_,
                                                                      .epoch = epoch_,
                                                                      .random = random_,
                                                                      .doors = doors,
                                                                      .computing = rings,
                                                                      .kept_per_turn = 0},
                                                now);
  session_->set_tunnel(kTunnel, settings.private_key);
  commit({}, {});
  for (const auto& worker : workers_) worker->door.wake();
  session_reader_.online();
}

Gateway::~Gateway() {
  session_reader_.offline();
  for (const auto& worker : workers_) worker->door.sleep();
  collect();
  session_.reset();
}

// Own addresses are Local, their subnets OnLink.
std::shared_ptr<const Gateway::Routes> Gateway::make_routes(PortIndex port) const {
  auto routes = std::make_shared<Routes>(const_cast<SystemPages&>(pages_));
  for (const IpAddress& address : addresses_[port]) {
    const unsigned length = address.is_v4() ? 24 : 64;
    routes->add(Prefix::masked(address, length), {.kind = NextHopKind::OnLink, .source = address});
    routes->add(Prefix::masked(address, address.width_bits()),
                {.kind = NextHopKind::Local, .source = address});
  }
  return routes;
}

void Gateway::commit(std::span<const lookup::Edit> v4, std::span<const lookup::Edit> v6) {
  auto next = std::make_unique<State>();
  CHECK(allowed_v4_.prepare(v4) && allowed_v6_.prepare(v6));
  const lookup::Garbage garbage_v4 = allowed_v4_.commit();
  const lookup::Garbage garbage_v6 = allowed_v6_.commit();
  publish::Snapshot& snapshot = next->snapshot;
  snapshot.generation = ++generation_;
  snapshot.tunnel_count = 1;
  snapshot.port_count = 2;
  snapshot.tunnels[kTunnel] = {.allowed_v4 = allowed_v4_.head(),
                               .allowed_v6 = allowed_v6_.head(),
                               .outside = kOutside,
                               .inside = kInside,
                               .listen_port = kListenPort,
                               .active = true};
  next->routes = routes_;
  for (const PortIndex port : {kOutside, kInside}) {
    snapshot.ports[port].routes = routes_[port]->view();
    snapshot.ports[port].mac = macs_[port];
  }
  snapshot.ports[kOutside].outside_of[0] = kTunnel;
  snapshot.ports[kOutside].outside_count = 1;
  snapshot.ports[kInside].inside_of[0] = kTunnel;
  snapshot.ports[kInside].inside_count = 1;
  for (const auto& worker : workers_) worker->door.publish(&snapshot);
  std::swap(state_, next);
  if (next == nullptr) {
    allowed_v4_.reclaim(garbage_v4);
    allowed_v6_.reclaim(garbage_v6);
    return;
  }
  next->garbage_v4 = garbage_v4;
  next->garbage_v6 = garbage_v6;
  retired_.add(std::move(next));
}

void Gateway::collect() {
  retired_.collect([this](std::unique_ptr<State> old) {
    allowed_v4_.reclaim(old->garbage_v4);
    allowed_v6_.reclaim(old->garbage_v6);
    std::memset(static_cast<void*>(&old->snapshot), 0xdb, sizeof(old->snapshot));
  });
  retired_slots_.collect([this](PeerIndex index) { free_slots_.push_back(index); });
}

PeerRef Gateway::add_peer(const PeerSpec& spec) {
  CHECK(!free_slots_.empty());
  const PeerRef peer{.index = free_slots_.back(),
                     .incarnation = ++incarnations_[free_slots_.back()]};
  free_slots_.pop_back();
  // The session thread first, then the workers (design, 5).
  session_->add_peer({.ref = peer,
                      .tunnel = kTunnel,
                      .public_key = spec.public_key,
                      .preshared_key = spec.preshared_key,
                      .endpoint = spec.endpoint,
                      .persistent_keepalive_seconds = spec.persistent_keepalive_seconds,
                      .last_sent = spec.last_sent,
                      .latest_received = spec.latest_received});
  give(peer, spec.allowed);
  return peer;
}

void Gateway::give(PeerRef peer, const std::vector<Prefix>& prefixes) {
  std::vector<lookup::Edit> v4, v6;
  for (const Prefix& prefix : prefixes) {
    (prefix.address.is_v4() ? v4 : v6).push_back({.prefix = prefix, .peer = peer.index});
    for (auto& [owner, owned] : prefixes_) std::erase(owned, prefix);
    prefixes_[peer.index].push_back(prefix);
  }
  commit(v4, v6);
}

void Gateway::remove_peer(PeerRef peer) {
  std::vector<lookup::Edit> v4, v6;
  for (const Prefix& prefix : prefixes_[peer.index]) {
    (prefix.address.is_v4() ? v4 : v6).push_back({.prefix = prefix, .peer = kNoPeer});
  }
  prefixes_.erase(peer.index);
  commit(v4, v6);
  // The workers first: each has begun a burst with the new snapshot. Then the session thread.
  for (const auto& worker : workers_) (void)worker->door.begin_burst();
  session_->remove_peer(peer);
  handshake_seen_.erase(peer.index);
  retired_slots_.add(peer.index);
}

void Gateway::set_outside_addresses(const IpAddress& v4, const IpAddress& v6) {
  addresses_[kOutside] = {v4, v6};
  routes_[kOutside] = make_routes(kOutside);
  commit({}, {});
}

void Gateway::receive(PortIndex port, size_t worker, Frame frame) {
  const uint16_t type = ether_type_of(frame);
  if (port == kInside && ledger_.find(Bytes(frame).subspan(kEthernetBytes)) != nullptr) {
    ++inner_arrived_;
  }
  // What a moved neighbour still sends to an address that was ours is somebody else's.
  const auto& ours = addresses_[kOutside];
  if (port == kOutside && type != session::kEtherTypeArp &&
      std::ranges::find(ours, ip_destination_of(frame)) != ours.end() &&
      wireguard::peek_type(udp_payload_of(frame)) == wireguard::MessageType::Data) {
    ++data_arrived_;
  }
  workers_[worker % workers_.size()]->rx[port].push_back(std::move(frame));
}

void Gateway::run(const Now& now) {
  now_ = now;
  int rounds = 0;
  for (bool busy = true; busy && rounds < kRoundsMax; ++rounds) {
    busy = false;
    for (const auto& worker : workers_) busy = work(*worker) || busy;
    session_reader_.begin();
    busy = session_->turn(state_->snapshot, now_) != 0 || busy;
    busy = compute() || busy;
  }
  if (rounds == kRoundsMax) faults_.push_back("the threads never came to rest");
  // Then they poll, or sleep.
  for (const auto& worker : workers_) {
    if (random_.chance(0.5)) {
      (void)worker->door.begin_burst();
    } else {
      worker->door.sleep();
      worker->door.wake();
    }
  }
  collect();
  for (const auto& [index, prefixes] : prefixes_) {
    const uint64_t at = slots_.record(index).last_handshake_wall.load(std::memory_order_relaxed);
    if (at != 0 && at != handshake_seen_[index]) ++handshakes_;
    handshake_seen_[index] = at;
  }
}

// In the middle of a worker's burst: the session thread and the other workers are threads of their own.
void Gateway::meanwhile() {
  if (random_.chance(settings_.interleave)) {
    session_reader_.begin();
    (void)session_->turn(state_->snapshot, now_);
  }
  for (const auto& other : workers_) {
    if (!other->in_burst && random_.chance(settings_.interleave)) (void)work(*other);
  }
}

// The further session threads: some time, now and then much later, and in another order than it was asked for. False:
// there is nothing to do, or it has to wait.
bool Gateway::compute() {
  if (session_->computing() == 0) {
    computing_from_ = Instant::never();
    return false;
  }
  if (!computing_from_.is_never() && now_.instant < computing_from_) return false;
  computing_from_ = Instant::never();
  if (random_.chance(kComputedLater)) {
    computing_from_ = now_.instant + Duration(random_.below(kComputedWithin.count()));
    return false;
  }
  for (const auto& ring : computing_) {
    if (random_.chance(0.5)) (void)ring->work(random_, 1);
  }
  return true;
}

bool Gateway::work(Worker& worker) {
  bool busy = false;
  worker.in_burst = true;
  for (const PortIndex port : {kOutside, kInside}) {
    while (!worker.rx[port].empty()) {
      receive_burst(worker, port);
      busy = true;
    }
  }
  while (const size_t count = worker.pipeline.injections_waiting()) {
    inject_burst(worker, count);
    busy = true;
  }
  worker.in_burst = false;
  return busy;
}

void Gateway::receive_burst(Worker& worker, PortIndex port) {
  const publish::Snapshot& snapshot = worker.door.begin_burst();
  worker.burst.clear();
  while (!worker.rx[port].empty() && worker.burst.size() < kRxBurst) {
    const Frame& frame = worker.rx[port].front();
    auto& buffer = worker.buffers[worker.burst.size()];
    std::memcpy(buffer.data() + kHeadroomBytes, frame.data(), frame.size());
    worker.burst.push_back(
        {.data = buffer.data() + kHeadroomBytes,
         .length_bytes = static_cast<uint16_t>(frame.size()),
         .headroom_bytes = kHeadroomBytes,
         .tailroom_bytes = static_cast<uint16_t>(kBufferBytes - kHeadroomBytes - frame.size()),
         .handle = &buffer});
    worker.rx[port].pop_front();
  }
  const std::vector<pipeline::Packet> came = worker.burst;
  worker.pipeline.receive(snapshot, now_.instant, port, worker.burst, worker.output);
  flush(worker, came);
}

void Gateway::inject_burst(Worker& worker, size_t count) {
  const publish::Snapshot& snapshot = worker.door.begin_burst();
  worker.burst.clear();
  for (size_t i = 0; i < count; ++i) {
    auto& buffer = worker.buffers[i];
    worker.burst.push_back({.data = buffer.data() + kHeadroomBytes,
                            .headroom_bytes = kHeadroomBytes,
                            .tailroom_bytes = static_cast<uint16_t>(kBufferBytes - kHeadroomBytes),
                            .handle = &buffer});
  }
  const std::vector<pipeline::Packet> came = worker.burst;
  worker.pipeline.inject(snapshot, now_.instant, worker.burst, worker.output);
  flush(worker, came);
}

// Each packet that came leaves once, over a port or finished.
void Gateway::flush(Worker& worker, std::span<const pipeline::Packet> came) {
  std::multiset<const void*> left;
  pipeline::Output& output = worker.output;
  for (size_t i = 0; i < output.done_count; ++i) left.insert(output.done[i]);
  output.done_count = 0;
  for (PortIndex port = 0; port < kMaxPorts; ++port) {
    pipeline::TxBatch& tx = output.tx[port];
    for (size_t i = 0; i < tx.count; ++i) {
      left.insert(tx.packets[i].handle);
      transmit_(port, {tx.packets[i].data, tx.packets[i].length_bytes});
    }
    tx.count = 0;
  }
  std::multiset<const void*> entered;
  for (const pipeline::Packet& packet : came) entered.insert(packet.handle);
  if (left != entered) faults_.push_back("a burst lost or doubled one of its packets");
}

uint64_t Gateway::worker_drops(DropReason reason) const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) {
    sum += worker->door.counters.drops[static_cast<size_t>(reason)].value();
  }
  return sum;
}

uint64_t Gateway::drops(DropReason reason) const {
  return worker_drops(reason) + session_->counters().drops[static_cast<size_t>(reason)].value();
}

std::string Gateway::drops_text() const {
  std::string text;
  for (size_t i = 0; i < kDropReasons; ++i) {
    const auto reason = static_cast<DropReason>(i);
    if (drops(reason) == 0) continue;
    text += std::string(to_string(reason)) + " " + std::to_string(drops(reason)) + ", ";
  }
  return text;
}

// Independent counts on both sides of each stage. Reasons that may also have ended a keepalive, a handshake
// message or an event widen an equation to a range; where they did not occur it is exact.
std::vector<std::string> Gateway::unaccounted() const {
  std::vector<std::string> faults = faults_;
  const auto within = [&](const char* what, uint64_t value, uint64_t least, uint64_t more) {
    if (value >= least && value <= least + more) return;
    faults.push_back("gateway " + std::to_string(settings_.number) + ": " + what + ": " +
                     std::to_string(value) + " packets, accounts say " + std::to_string(least) +
                     " to " + std::to_string(least + more) + "; drops: " + drops_text());
  };
  const auto sum = [&](std::initializer_list<DropReason> reasons) {
    uint64_t total = 0;
    for (const DropReason reason : reasons) total += drops(reason);
    return total;
  };
  AeadCounts counts;
  for (const auto& worker : workers_) {
    const AeadCounts& one = worker->aead.counts;
    counts.opened += one.opened;
    counts.authentic += one.authentic;
    counts.authentic_again += one.authentic_again;
    counts.authentic_empty += one.authentic_empty;
    counts.sealed_full += one.sealed_full;
  }
  using enum DropReason;
  within("data messages that were not opened", data_arrived_ - counts.opened,
         drops(ReceiverIndexUnknown), 0);
  within("opened, but not authentic", counts.opened - counts.authentic, drops(AuthenticationFailed),
         0);
  // Of what came too late for its keypair or its peer nobody asks any more whether it came before.
  const auto too_late = drops(KeypairExpired) + worker_drops(StalePeer);
  within("opened again", counts.authentic_again, drops(ReplayedCounter), too_late);
  const uint64_t opened = counts.authentic - counts.authentic_again - counts.authentic_empty;
  // Errors of our own go to hosts as well, so each may or may not have been sealed.
  const uint64_t errors = session_->icmp_errors_sent();
  const auto spoilt = sum({InnerSourceNotAllowed, InnerInvalid, NoRoute});
  const auto unsealed =
      session_->held_packets() + sum({NoAllowedIp, NonceLimit, HeldQueueFull, HeldTotalFull,
                                      HeldExpired, HeldPeerGone, MartianSource});
  const auto either_way =
      too_late + sum({NeighbourUnknown, HeldNeighbour, PuntRingFull, InjectRingFull});
  if (forwards_) {
    // What is for another peer is opened and sealed: only the sum is known.
    within("came in, but neither sealed nor delivered",
           opened + inner_arrived_ + errors - counts.sealed_full - delivered_ - errors_delivered_,
           spoilt + unsealed, errors + either_way + sum({NoEndpoint, StalePeer, NotForwarded}));
    return faults;
  }
  within("opened, but not delivered", opened - delivered_ - errors_delivered_, spoilt, either_way);
  within("came from hosts, but not sealed", inner_arrived_ + errors - counts.sealed_full, unsealed,
         errors + either_way + sum({NoEndpoint, StalePeer}));
  return faults;
}

}  // namespace turnpike::sim

// Commands of control. What they change is at rest when they return; what needs the snapshot, a way to an
// endpoint or a message to send, is done in the next turn.
#include "control/session/session.h"

#include <algorithm>
#include <utility>

#include "dataplane/base/check.h"

namespace turnpike::session {

using publish::kNoNeighbour;
using wireguard::PeerHandshake;
using wireguard::StaticIdentity;

namespace {

void reset(publish::PeerSlots& slots, PeerIndex index) noexcept {
  publish::PeerSlot& slot = slots[index];
  slot.send.current.store(nullptr, std::memory_order_release);
  slots.set_endpoint(index, {});
  publish::PeerActivity& activity = slot.activity;
  for (std::atomic<uint64_t>* value :
       {&activity.tx_bytes, &activity.last_sent, &activity.last_received,
        &activity.unanswered_since, &activity.unacknowledged_since,
        &slots.record(index).last_handshake_wall, &slots.record(index).handshake_tx_bytes,
        &slots.record(index).handshake_rx_bytes}) {
    value->store(0, std::memory_order_relaxed);
  }
  activity.rx_bytes.reset();
}

}  // namespace

void Session::set_tunnel(TunnelIndex index, const PrivateKey& key) {
  CHECK(index < kMaxTunnels);
  Tunnel& tunnel = tunnels_[index];
  if (tunnel.identity && tunnel.identity->private_key == key) return;
  tunnel.identity.reset();
  tunnel.cookies.reset();
  if (!key.is_zero()) {
    tunnel.identity = std::make_shared<const StaticIdentity>(StaticIdentity::of(key));
    tunnel.cookies.emplace(tunnel.identity->mac_keys);
  }
  for (const auto& [public_key, peer_index] : tunnel.peers) {
    Peer& peer = *peers_[peer_index];
    const WallTime last_sent = peer.handshake.last_sent;
    const wireguard::Tai64n latest_received = peer.handshake.latest_received;
    renew(peer);
    peer.handshake = PeerHandshake::of(peer.handshake.remote_static, peer.handshake.preshared_key);
    peer.handshake.last_sent = last_sent;
    peer.handshake.latest_received = latest_received;
  }
}

void Session::remove_tunnel(TunnelIndex index) {
  CHECK(index < kMaxTunnels && tunnels_[index].peers.empty());
  tunnels_[index].identity.reset();
  tunnels_[index].cookies.reset();
}

void Session::add_peer(const PeerSettings& settings) {
  const PeerIndex index = settings.ref.index;
  CHECK(index < slots_.capacity() && settings.ref.incarnation != 0 &&
        settings.tunnel < kMaxTunnels);
  if (index >= peers_.size()) peers_.resize(size_t{index} + 1);
  CHECK(peers_[index] == nullptr);
  Tunnel& tunnel = tunnels_[settings.tunnel];

  auto peer = std::make_unique<Peer>();
  peer->ref = settings.ref;
  peer->tunnel = settings.tunnel;
  peer->persistent_keepalive_seconds = settings.persistent_keepalive_seconds;
  peer->handshake = PeerHandshake::of(settings.public_key, settings.preshared_key);
  // A peer that comes back may not be shown an older date than the one that went.
  peer->handshake.last_sent = std::max(settings.last_sent, newest_sent_);
  peer->handshake.latest_received = settings.latest_received;
  const auto [owner, fresh] = tunnel.peers.try_emplace(settings.public_key, index);
  if (!fresh) {
    // What was sent and seen under this key stays so, or old initiations would be good again.
    const PeerHandshake& before = peers_[owner->second]->handshake;
    peer->handshake.last_sent = std::max(peer->handshake.last_sent, before.last_sent);
    peer->handshake.latest_received =
        std::max(peer->handshake.latest_received, before.latest_received);
    owner->second = index;
  }
  if (settings.endpoint) {
    note_remote(*peer, *settings.endpoint);
    peer->endpoint_stale = true;
  }
  peers_[index] = std::move(peer);
  reset(slots_, index);
  // Where the way leads is worked out in the next turn. Until then workers must know that there is an endpoint:
  // a packet for a peer without one is dropped, one for a peer without a key is held.
  if (settings.endpoint) slots_.set_endpoint(index, {.remote = *settings.endpoint});
  slots_.set_incarnation(index, settings.ref.incarnation);
  mark_changed(*peers_[index]);
}

void Session::set_sent_floor(WallTime floor) noexcept {
  newest_sent_ = std::max(newest_sent_, floor);
  for (const auto& peer : peers_) {
    if (peer == nullptr) continue;
    peer->handshake.last_sent = std::max(peer->handshake.last_sent, newest_sent_);
  }
}

void Session::restore_received(PeerRef ref, const wireguard::Tai64n& latest) noexcept {
  Peer* peer = find(ref);
  if (peer == nullptr) return;
  peer->handshake.latest_received = std::max(peer->handshake.latest_received, latest);
}

std::vector<Session::Received> Session::take_received() {
  std::vector<Received> taken;
  taken.reserve(received_.size());
  for (const PeerRef& ref : received_) {
    Peer* peer = peers_[ref.index].get();
    if (peer == nullptr || peer->ref != ref) continue;  // it went meanwhile
    peer->received_noted = false;
    taken.push_back({ref, peer->handshake.latest_received});
  }
  received_.clear();
  return taken;
}

void Session::set_peer(PeerRef ref, const PeerChange& change) {
  Peer* peer = find(ref);
  if (peer == nullptr) return;
  if (change.preshared_key && !(*change.preshared_key == peer->handshake.preshared_key)) {
    peer->handshake.preshared_key = *change.preshared_key;
    renew(*peer);
  }
  if (change.endpoint) {
    note_remote(*peer, *change.endpoint);
    peer->local = {};
    peer->endpoint_stale = true;
    if (peer->progress.in_flight) {
      // It went to where the peer no longer is.
      abandon_initiation(*peer);
      peer->progress.last_attempt_at = Instant::never();
      peer->wants_handshake = true;
    }
  }
  if (change.persistent_keepalive_seconds) {
    peer->wants_keepalive =
        peer->persistent_keepalive_seconds == 0 && *change.persistent_keepalive_seconds != 0;
    peer->persistent_keepalive_seconds = *change.persistent_keepalive_seconds;
  }
  mark_changed(*peer);
}

void Session::remove_peer(PeerRef ref) {
  Peer* peer = find(ref);
  if (peer == nullptr) return;
  slots_.set_incarnation(ref.index, 0);
  drop(DropReason::HeldPeerGone, held_.take(ref.index).size());
  note_remote(*peer, {});
  abandon_initiation(*peer);
  keypairs_.clear(peer->keypairs, ref.index);
  slots_.set_endpoint(ref.index, {});
  if (peer->first_hop != kNoNeighbour) resolver_.unpin(peer->first_hop);
  wheel_.cancel(ref.index);
  auto& peers = tunnels_[peer->tunnel].peers;
  const auto owner = peers.find(peer->handshake.remote_static);
  if (owner != peers.end() && owner->second == ref.index) peers.erase(owner);
  peers_[ref.index].reset();
}

std::optional<PeerStatus> Session::status(PeerIndex index) const {
  const Peer* peer = index < peers_.size() ? peers_[index].get() : nullptr;
  if (peer == nullptr) return std::nullopt;
  PeerStatus status{.handshake_in_flight = peer->progress.in_flight,
                    .held_packets = held_.count(index),
                    .last_sent = peer->handshake.last_sent,
                    .latest_received = peer->handshake.latest_received};
  if (!peer->remote.is_none()) status.endpoint = peer->remote;
  return status;
}

// The keys of a session must not outlive what they were made from; packets that are under way still come
// through. A peer that had a session gets a new one at once.
void Session::renew(Peer& peer) {
  const bool wanted = !peer.keypairs.none() || peer.progress.in_flight;
  abandon_initiation(peer);
  ++peer.acceptances;  // what is being computed is under the old key
  keypairs_.stop_sending(peer.keypairs);
  peer.wants_handshake = peer.wants_handshake || wanted;
  peer.progress.last_attempt_at = Instant::never();
  mark_changed(peer);
}

void Session::mark_changed(Peer& peer) {
  if (peer.queued) return;
  peer.queued = true;
  changed_.push_back(peer.ref);
}

size_t Session::apply_changes() {
  size_t done = 0;
  while (!changed_.empty() && done < kReroutesPerTurn) {
    const PeerRef ref = changed_.back();
    changed_.pop_back();
    ++done;
    Peer* peer = ref.index < peers_.size() ? peers_[ref.index].get() : nullptr;
    if (peer == nullptr || peer->ref != ref) continue;
    peer->queued = false;
    sync(*peer);
    if (peer->endpoint_stale) refresh_endpoint(*peer);
    if (std::exchange(peer->wants_keepalive, false)) {
      if (can_send(*peer)) {
        send_keepalive(*peer);
      } else {
        peer->wants_handshake = true;
      }
    }
    if (peer->wants_handshake) request_handshake(*peer);
    touch(*peer);
    take_results();
  }
  return done;
}

}  // namespace turnpike::session

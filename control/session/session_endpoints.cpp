// Where peers are: endpoint, our source address, and the first hop on the outside port.
#include "control/session/session.h"

namespace turnpike::session {

using publish::kNoNeighbour;
using publish::NeighbourIndex;

// From an authentic message of the peer, or from control (`local` none).
void Session::set_endpoint(Peer& peer, const Endpoint& remote, const IpAddress& local) {
  if (peer.remote == remote && peer.local == local && !peer.endpoint_stale) return;
  const Endpoint before = peer.remote;
  note_remote(peer, remote);
  peer.local = local;
  peer.endpoint_stale = true;
  if (before != remote && !before.is_none()) tell(EventKind::PeerRoamed, peer, before);
  refresh_endpoint(peer);
}

void Session::note_remote(Peer& peer, const Endpoint& remote) {
  admission_.peer_left(peer.remote.address);
  admission_.peer_is_at(remote.address);
  peer.remote = remote;
}

// Works out the way to the peer anew where that is asked for, or where there was none.
void Session::refresh_endpoint(Peer& peer) {
  if (!peer.endpoint_stale && peer.first_hop != kNoNeighbour) return;
  peer.endpoint_stale = false;
  const PortIndex outside = snapshot_->tunnels[peer.tunnel].outside;
  const Hop hop = route(*snapshot_, outside, peer.remote.address);
  // Sticky: from the address that the peer spoke to, as long as it is ours.
  const bool keep = peer.local.family == peer.remote.address.family && !peer.local.is_none() &&
                    is_local(*snapshot_, outside, peer.local);
  if (!keep) peer.local = {};
  peer.source = keep ? peer.local : hop.source;
  publish_endpoint(peer, hop);
}

void Session::publish_endpoint(Peer& peer, const Hop& hop) {
  const NeighbourIndex old = peer.first_hop;
  const bool usable = hop.reachable() && !peer.source.is_none();
  peer.first_hop = usable ? resolver_.pin(*snapshot_, now_.instant,
                                          snapshot_->tunnels[peer.tunnel].outside, hop.neighbour)
                          : kNoNeighbour;
  slots_.set_endpoint(peer.ref.index,
                      {.remote = peer.remote, .local = peer.source, .first_hop = peer.first_hop});
  // After the slot: an entry without pins may go away.
  if (old != kNoNeighbour) resolver_.unpin(old);
}

// Some peers further, after the routes changed.
size_t Session::reroute() {
  size_t done = 0;
  while (reroute_at_ < peers_.size() && done < kReroutesPerTurn) {
    Peer* peer = peers_[reroute_at_++].get();
    ++done;
    if (peer == nullptr || peer->remote.is_none()) continue;
    peer->endpoint_stale = true;
    refresh_endpoint(*peer);
  }
  return done;
}

}  // namespace turnpike::session

#include "control/session/outbox.h"

#include <cstring>

#include "dataplane/base/check.h"

namespace turnpike::session {

using publish::InjectHeader;
using publish::InjectKind;

Outbox::Outbox(std::span<publish::Door* const> doors, publish::Counters& counters)
    : doors_(doors.begin(), doors.end()), counters_(counters) {
  CHECK(!doors_.empty());
}

bool Outbox::push(WorkerIndex worker, const InjectHeader& header, Bytes first,
                  Bytes second) noexcept {
  CHECK(worker < doors_.size());
  publish::InjectRing& ring = doors_[worker]->inject;
  publish::InjectRing::Slot* slot =
      first.size() + second.size() <= ring.slot_bytes() ? ring.try_begin() : nullptr;
  if (slot == nullptr) {
    counters_.drop(DropReason::InjectRingFull);
    return false;
  }
  slot->header = header;
  slot->length_bytes = static_cast<uint32_t>(first.size() + second.size());
  if (!first.empty()) std::memcpy(slot->data(), first.data(), first.size());
  if (!second.empty()) std::memcpy(slot->data() + first.size(), second.data(), second.size());
  ring.commit();
  doors_[worker]->bell.ring();
  return true;
}

void Outbox::frame(WorkerIndex worker, PortIndex port,
                   std::span<const uint8_t, kEthernetHeaderBytes> header, Bytes packet) noexcept {
  push(worker, {.kind = InjectKind::Frame, .port = port}, header, packet);
}

bool Outbox::inner_packet(WorkerIndex worker, TunnelIndex tunnel, Bytes packet) noexcept {
  return push(worker, {.kind = InjectKind::InnerPacket, .tunnel = tunnel}, packet, {});
}

bool Outbox::keepalive(WorkerIndex worker, TunnelIndex tunnel, PeerRef peer) noexcept {
  return push(worker, {.kind = InjectKind::Keepalive, .tunnel = tunnel, .peer = peer}, {}, {});
}

}  // namespace turnpike::session

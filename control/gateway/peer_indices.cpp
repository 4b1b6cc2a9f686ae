#include "control/gateway/peer_indices.h"

#include "dataplane/base/check.h"

namespace turnpike::gateway {

std::optional<PeerRef> PeerIndices::add(PeerId id) {
  PeerIndex index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else if (slots_.size() < capacity_) {
    index = static_cast<PeerIndex>(slots_.size());
    slots_.emplace_back();
  } else {
    return std::nullopt;
  }
  CHECK(by_id_.emplace(id, index).second);
  Slot& slot = slots_[index];
  slot.id = id;
  if (++slot.incarnation == 0) slot.incarnation = 1;  // 0 means "free" to the data plane
  return PeerRef{.index = index, .incarnation = slot.incarnation};
}

PeerRef PeerIndices::remove(PeerId id) {
  const auto found = by_id_.find(id);
  CHECK(found != by_id_.end());
  const PeerIndex index = found->second;
  by_id_.erase(found);
  slots_[index].id = PeerId{};
  return {.index = index, .incarnation = slots_[index].incarnation};
}

PeerRef PeerIndices::find(PeerId id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return {};
  return {.index = found->second, .incarnation = slots_[found->second].incarnation};
}

std::optional<PeerId> PeerIndices::id_of(PeerIndex index) const {
  if (index >= slots_.size() || slots_[index].id == PeerId{}) return std::nullopt;
  return slots_[index].id;
}

}  // namespace turnpike::gateway

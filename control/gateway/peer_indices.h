// Which dense slot of the data plane a peer has. A slot is given to another peer only after its epoch is
// retired, and with a new incarnation.
//   Threads: control.
//   Bounds:  a fixed number of slots; add() says no when none is free.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "dataplane/base/ids.h"

namespace turnpike::gateway {

class PeerIndices {
 public:
  explicit PeerIndices(uint32_t capacity) : capacity_(capacity) {}

  [[nodiscard]] std::optional<PeerRef> add(PeerId id);
  // The peer no longer has it, nobody else does yet.
  PeerRef remove(PeerId id);
  // All threads are done with it.
  void recycle(PeerIndex index) { free_.push_back(index); }

  [[nodiscard]] PeerRef find(PeerId id) const;  // index kNoPeer: none
  [[nodiscard]] std::optional<PeerId> id_of(PeerIndex index) const;
  [[nodiscard]] size_t size() const noexcept { return by_id_.size(); }

 private:
  uint32_t capacity_;
  std::unordered_map<PeerId, PeerIndex> by_id_;
  struct Slot {
    PeerId id{};  // 0: nobody
    Incarnation incarnation = 0;
  };
  std::vector<Slot> slots_;  // as many as were ever used
  std::vector<PeerIndex> free_;  // the last one is given out first
};

}  // namespace turnpike::gateway

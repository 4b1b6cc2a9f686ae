// Names of things, as numbers that cannot be mixed up.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace turnpike {

// Control's name for a peer, for ever: never given to another peer, also across restarts.
enum class PeerId : uint64_t {};

// The dense slot of a peer on the data plane. Given to another peer only after its epoch is retired.
using PeerIndex = uint32_t;
inline constexpr PeerIndex kNoPeer = std::numeric_limits<PeerIndex>::max();

// Which use of a peer slot is meant; grows each time the slot is given out. What sits in a ring
// carries index and incarnation, and is dropped when they no longer agree. 0: the slot is free.
using Incarnation = uint32_t;

using TunnelIndex = uint16_t;
inline constexpr TunnelIndex kNoTunnel = std::numeric_limits<TunnelIndex>::max();

using PortIndex = uint8_t;
inline constexpr PortIndex kNoPort = std::numeric_limits<PortIndex>::max();

using WorkerIndex = uint8_t;

// The number of a committed state and of the snapshot made from it; only grows.
using Generation = uint64_t;

struct PeerRef {
  PeerIndex index = kNoPeer;
  Incarnation incarnation = 0;
  friend bool operator==(const PeerRef&, const PeerRef&) = default;
};

}  // namespace turnpike

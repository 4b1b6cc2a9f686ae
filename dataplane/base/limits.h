// Every limit that more than one folder relies on. What happens at each stands beside it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace turnpike {

inline constexpr size_t kCacheLine = 64;

// Packets in one burst. A worker asks a port for kRxBurst; stages accept up to kBurstMax.
inline constexpr size_t kBurstMax = 64;
inline constexpr size_t kRxBurst = 32;

// Workers of one gateway. More in the configuration is an error at start.
inline constexpr size_t kMaxWorkers = 64;
inline constexpr size_t kMaxPorts = 16;
inline constexpr size_t kMaxTunnels = 64;

// Peers over all tunnels; the next one is refused with a limit conflict.
inline constexpr uint32_t kMaxPeers = 1u << 20;

// Packets that wait for a handshake: for one peer (the oldest is dropped) and in all (the new one is).
inline constexpr size_t kMaxHeldPerPeer = 128;
inline constexpr size_t kMaxHeld = 16'384;

// Longest frame that the pipeline handles (one segment, no jumbo chains).
inline constexpr size_t kMaxFrameBytes = 9'216;

}  // namespace turnpike

// What one worker (or a session thread) counts. One writer; summed by whoever shows it.
//   Threads: owner writes by relaxed load and store (no locked instruction) · control: reads
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"
#include "dataplane/publish/drop_reason.h"

namespace turnpike::publish {

// A sum that one thread adds to and others read.
class Counter {
 public:
  void add(uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct PortCounters {
  Counter rx_packets, rx_bytes, tx_packets, tx_bytes;  // bytes of frames
};

struct TunnelCounters {
  // Inner packets and bytes that were sealed and opened.
  Counter outbound_packets, outbound_bytes, inbound_packets, inbound_bytes;
};

// What a worker does while nothing comes.
enum class IdleBy : uint8_t {
  Polling,
  Sleeping,  // shortly, again and again
  WaitingForInterrupts,
};

struct alignas(kCacheLine) Counters {
  std::array<Counter, kDropReasons> drops;
  std::array<PortCounters, kMaxPorts> ports;
  std::array<TunnelCounters, kMaxTunnels> tunnels;
  // Of the worker loop, in TSC cycles: turns that found packets, and all turns since start.
  Counter busy_cycles, total_cycles, busy_packets, turns;
  Counter generation;  // of the snapshot that the last burst used
  Counter interrupts;  // sleeps that an RX interrupt or the doorbell ended
  std::atomic<IdleBy> idle_by{IdleBy::Polling};

  void drop(DropReason reason, uint64_t packets = 1) noexcept {
    drops[static_cast<size_t>(reason)].add(packets);
  }
};

}  // namespace turnpike::publish

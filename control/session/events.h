// What the session thread tells control of peers: for events and counters, nothing depends on it.
//   Threads: push() on the session thread, pop() on the control thread, lost() on any.
//   Bounds:  kEventSlots wait; push() beyond that counts the event as lost.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/keys.h"
#include "dataplane/base/time.h"

namespace turnpike::session {

inline constexpr size_t kEventSlots = 2'048;
// Strangers decide how many there are: of each second so many are told.
inline constexpr uint32_t kUnknownKeysPerSecond = 5;
inline constexpr uint32_t kUnknownKeysBurst = 20;

enum class EventKind : uint8_t {
  HandshakeDone,  // a session is up, or renewed
  PeerRoamed,     // from `before` to `endpoint`
  PeerSilent,     // handshakes were given up
  UnknownKey,     // an initiation with a good mac1 by a key that no peer has
};

struct Event {
  EventKind kind = EventKind::HandshakeDone;
  TunnelIndex tunnel = kNoTunnel;
  PeerRef peer;  // but for UnknownKey
  PublicKey key;  // of UnknownKey
  Endpoint endpoint;
  Endpoint before;
  WallTime at;
};

class EventQueue {
 public:
  EventQueue();
  ~EventQueue();
  void push(const Event& event) noexcept;
  [[nodiscard]] std::optional<Event> pop();
  [[nodiscard]] uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  struct Slots;
  std::unique_ptr<Slots> slots_;
  std::atomic<uint64_t> lost_{0};  // session thread: writes · control: reads
};

}  // namespace turnpike::session

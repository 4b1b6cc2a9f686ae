// A further session thread: it works out what the first one hands over, and has no state of its own.
//   Threads: start(), stop() on the control thread only; stop() when the session thread has ended. ring() as it says,
//            worked() on any.
//   Bounds:  idle, it sleeps kSleepMin, doubling up to kSleepMax.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "control/session/computation_ring.h"
#include "dataplane/base/time.h"
#include "dataplane/crypto/system_random.h"
#include "dataplane/publish/counters.h"

namespace turnpike::session {

inline constexpr Duration kSleepMin = 50us;
inline constexpr Duration kSleepMax = 1ms;

// Names the thread, and where `cpu` is one, puts it there. False: it was not granted.
bool place_thread(std::thread& thread, const std::string& name, std::optional<unsigned> cpu);

class ComputingThread {
 public:
  ComputingThread() = default;
  ~ComputingThread() { stop(); }
  ComputingThread(const ComputingThread&) = delete;
  ComputingThread& operator=(const ComputingThread&) = delete;

  // `name`: at most 15 bytes. False: it runs, but not on `cpu`.
  bool start(const std::string& name, std::optional<unsigned> cpu);
  void stop();
  [[nodiscard]] ComputationRing& ring() noexcept { return ring_; }
  // Computations so far.
  [[nodiscard]] uint64_t worked() const noexcept { return worked_.value(); }

 private:
  void run();

  ComputationRing ring_;
  crypto::SystemRandom random_;
  publish::Counter worked_;  // thread: writes · any: reads
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace turnpike::session

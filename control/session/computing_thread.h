// A further session thread: it works out what the first one hands over, and has no state of its own.
//   Threads: start(), stop() on the control thread only; stop() when the session thread has ended. ring() as it says.
//   Bounds:  idle, it sleeps kSleepMin, doubling up to kSleepMax.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "control/session/computation_ring.h"
#include "dataplane/base/time.h"
#include "dataplane/crypto/system_random.h"

namespace turnpike::session {

inline constexpr Duration kSleepMin = 50us;
inline constexpr Duration kSleepMax = 1ms;

// Names the thread, and where `cpu` is one, puts it there. False: it was not granted.
bool place_thread(std::thread& thread, const std::string& name, std::optional<unsigned> cpu);

// How long the thread, which runs, has been on a CPU so far.
[[nodiscard]] Duration time_of_thread(std::thread& thread) noexcept;

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
  // As time_of_thread(), between start() and stop().
  [[nodiscard]] Duration cpu_time() noexcept { return time_of_thread(thread_); }

 private:
  void run();

  ComputationRing ring_;
  crypto::SystemRandom random_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace turnpike::session

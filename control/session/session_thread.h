// The thread around a Session, and those that compute for it: its clock, its place in the epoch, its snapshot, and the queue through which
// control speaks to it.
//   Threads:   start(), post(), pump(), publish(), wait_for(), thread_times(), stop() on the control thread only;
//              completed() on any.
//   Ownership: the Session belongs to the thread between start() and stop(); a command runs on it.
//   Bounds:    kCommandSlots commands are on their way; more wait on control's side, and post() never does.
//              A command may come in steps, so that it holds up no handshake however long it is. Idle, the thread sleeps kSleepMin, doubling up to kSleepMax; asleep it is offline, so
//              that it holds up no retirement.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "control/session/computing_thread.h"
#include "control/session/session.h"
#include "dataplane/publish/epoch.h"
#include "dataplane/publish/snapshot.h"

namespace turnpike::session {

inline constexpr size_t kCommandSlots = 4'096;

class SessionThread {
 public:
  using Command = std::function<void(Session&)>;
  // One step; true when it was the last.
  using Steps = std::function<bool(Session&)>;

  // `epoch` is the one of `parts`. `cpu`: where the thread runs; none: anywhere. For each of `more_cpus` a thread
  // there computes for it.
  SessionThread(const SessionParts& parts, std::optional<unsigned> cpu,
                const std::vector<unsigned>& more_cpus = {});
  ~SessionThread();  // stops
  SessionThread(const SessionThread&) = delete;
  SessionThread& operator=(const SessionThread&) = delete;

  // The snapshot that the next turn sees; before start() there must be one. The caller then retires the
  // old one.
  void publish(const publish::Snapshot* snapshot) noexcept {
    published_.store(snapshot, std::memory_order_release);  // pairs with the acquire in the loop
  }
  void start();
  // Every command posted before has run when it returns.
  void stop();

  // Runs `command` on the thread, in the order of posting, never in the middle of a turn. Returns its number.
  uint64_t post(Command command);
  // The same; between two steps packets and timers have their turn, other commands have not.
  uint64_t post_steps(Steps steps);
  // Hands over what found no room when it was posted. To be called now and then while something is awaited.
  void pump();
  // How many commands have run, each with the turn after it.
  [[nodiscard]] uint64_t completed() const noexcept {
    return completed_.load(std::memory_order_acquire);  // pairs with the release after the turn
  }
  // False when command `number` has not run within `limit`.
  [[nodiscard]] bool wait_for(uint64_t number, Duration limit);
  // Those of the CPUs that were not granted; known after start().
  [[nodiscard]] const std::vector<unsigned>& refused_cpus() const noexcept { return refused_cpus_; }
  // What each session thread has used of a CPU so far, the first one first. Between start() and stop().
  struct ThreadTime {
    std::string name;
    std::optional<unsigned> cpu;
    Duration used;
  };
  [[nodiscard]] std::vector<ThreadTime> thread_times();
  // All that was posted.
  [[nodiscard]] bool flush(Duration limit) { return wait_for(posted_, limit); }

  // Sums of drops may be read at any time; all else only before start(), after stop() or in a command.
  [[nodiscard]] Session& session() noexcept { return session_; }
  [[nodiscard]] const Session& session() const noexcept { return session_; }

  // Both clocks, as every thread of the gateway reads them: CLOCK_MONOTONIC and CLOCK_REALTIME.
  [[nodiscard]] static Now read_clocks() noexcept;

 private:
  struct Queue;

  void run();
  size_t run_commands();
  void sleep_until_work(Duration& pause);

  [[nodiscard]] SessionParts with_computing(SessionParts parts);

  std::vector<unsigned> more_cpus_;
  std::vector<std::unique_ptr<ComputingThread>> computing_;
  std::vector<ComputationRing*> rings_;  // theirs
  Session session_;
  std::optional<unsigned> cpu_;
  publish::EpochReader& reader_;
  std::unique_ptr<Queue> commands_;
  std::deque<std::unique_ptr<Steps>> overflow_;  // control's
  std::unique_ptr<Steps> current_;  // the thread's: has begun
  uint64_t posted_ = 0;  // control's
  uint64_t taken_ = 0;  // the thread's
  std::vector<unsigned> refused_cpus_;
  alignas(kCacheLine) std::atomic<const publish::Snapshot*> published_{nullptr};
  std::atomic<bool> stopping_{false};
  alignas(kCacheLine) std::atomic<uint64_t> completed_{0};  // thread: writes · control: reads
  std::thread thread_;
};

}  // namespace turnpike::session

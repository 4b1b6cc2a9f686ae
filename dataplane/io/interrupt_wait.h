// Where an idle worker waits for the RX interrupts of its queues and for its doorbell.
// A wait is arm(), one more look at everything that may have come, wait(), disarm(). What comes after arm() ends the
// wait, also if it came before the look.
//   Threads: the worker, while its door is awake, since it looks at ports; but for wait(), which looks at none.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/base/ids.h"
#include "dataplane/io/port.h"
#include "dataplane/publish/doorbell.h"

namespace turnpike::io {

class InterruptWait {
 public:
  // The longest: what bounds the delay of a first packet whose interrupt does not come. A port that is opened again,
  // or a queue whose other end is back, may be waited for in vain (drivers turn its interrupts off).
  static constexpr int kLongestMilliseconds = 20;

  InterruptWait(std::span<const Port> ports, WorkerIndex worker, publish::Doorbell& bell) noexcept
      : ports_(ports), worker_(worker), bell_(bell) {}
  ~InterruptWait();
  InterruptWait(const InterruptWait&) = delete;
  InterruptWait& operator=(const InterruptWait&) = delete;

  // Whether everything that this worker receives from has interrupts.
  [[nodiscard]] bool possible() const noexcept;

  // Unless it says Done, nothing is armed.
  enum class Armed : uint8_t {
    Done,
    Short,  // the kernel has no descriptor or memory for it now
    Refused,  // by a port
  };
  [[nodiscard]] Armed arm() noexcept;
  enum class End : uint8_t {
    Interrupt,
    Bell,  // alone, or a signal
    Over,  // the time is
  };
  [[nodiscard]] End wait() noexcept;
  void disarm() noexcept;
  // After the last of several waits in a row: others need not ring any more.
  void leave() noexcept;

 private:
  [[nodiscard]] bool add(int fd) const noexcept;
  [[nodiscard]] bool add_queues() const noexcept;
  void switch_off() const noexcept;

  const std::span<const Port> ports_;
  const WorkerIndex worker_;
  publish::Doorbell& bell_;
  bool listening_ = false;
  int epoll_ = -1;
};

}  // namespace turnpike::io

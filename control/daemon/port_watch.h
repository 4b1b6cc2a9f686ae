// Looks whether ports have a link, tells of each change, and opens those anew that do not come back by themselves
// when their other end, or their interface of the kernel, has been away.
//   Threads: control. Workers go on with the other ports meanwhile.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/publish/epoch.h"

namespace turnpike::daemon {

// `Port` is io::Port, or what a test has in its place.
template <typename Port>
class PortWatch {
 public:
  // Both are called in look().
  using Changed = std::function<void(const Port&, bool up)>;
  using Failed =
      std::function<void(const std::string& why)>;  // to open one: once, until it is up again

  // At the start every port counts as up: what is not is told by the first look().
  PortWatch(std::span<Port> ports, publish::Epoch& epoch, Changed changed, Failed failed)
      : epoch_(epoch), changed_(std::move(changed)), failed_(std::move(failed)) {
    for (Port& port : ports) ports_.push_back({.port = &port});
  }

  // Every second or so.
  void look() {
    for (Watched& watched : ports_) look_at(watched);
  }

 private:
  static constexpr unsigned kLongestPause = 5;  // looks

  enum class Phase : uint8_t {
    Serving,
    Leaving,  // workers are told to leave it alone, and may not know yet
    Closed,
  };
  struct Watched {
    Port* port;
    bool up = true;
    Phase phase = Phase::Serving;
    uint64_t left_by = 0;  // the epoch at which workers have left it
    unsigned tries = 0;  // since it was up
    unsigned pause = 0;  // looks until the next try
  };

  void look_at(Watched& watched) {
    switch (watched.phase) {
      case Phase::Serving:
        return look_at_serving(watched);
      case Phase::Leaving:
        // A worker is seldom later than the next look; who sleeps has left already. Never at once: the driver's
        // own thread may still be at what it does about a lost connection.
        if (!epoch_.passed(watched.left_by)) return;
        watched.port->close();
        watched.phase = Phase::Closed;
        return reopen(watched);
      case Phase::Closed:
        if (watched.pause > 0) {
          --watched.pause;
        } else {
          reopen(watched);
        }
    }
  }

  void look_at_serving(Watched& watched) {
    Port& port = *watched.port;
    const bool up = port.stats().up;
    if (up != watched.up) {
      watched.up = up;
      changed_(port, up);
    }
    if (up) watched.tries = watched.pause = 0;
    if (!port.must_be_reopened(up)) return;
    if (watched.pause > 0) {
      --watched.pause;
      return;
    }
    port.withdraw();
    watched.left_by = epoch_.retire();
    watched.phase = Phase::Leaving;
  }

  void reopen(Watched& watched) {
    const auto opened = watched.port->reopen();
    if (opened) {
      watched.phase = Phase::Serving;
    } else if (watched.tries == 0) {
      failed_(opened.error());
    }
    // Also where it could be opened and its other end is not there: then it stays down.
    watched.pause = std::min(++watched.tries, kLongestPause);
  }

  publish::Epoch& epoch_;
  Changed changed_;
  Failed failed_;
  std::vector<Watched> ports_;
};

}  // namespace turnpike::daemon

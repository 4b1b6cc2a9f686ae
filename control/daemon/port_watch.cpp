#include "control/daemon/port_watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace turnpike::daemon {
namespace {

constexpr unsigned kLongestPause = 5;  // looks

}  // namespace

PortWatch::PortWatch(std::span<io::Port> ports, publish::Epoch& epoch, Changed changed)
    : epoch_(epoch), changed_(std::move(changed)) {
  for (io::Port& port : ports) ports_.push_back({.port = &port});
}

void PortWatch::look() {
  for (Watched& watched : ports_) look_at(watched);
}

void PortWatch::look_at(Watched& watched) {
  io::Port& port = *watched.port;
  if (watched.phase == Phase::Serving) {
    const bool up = port.stats().up;
    if (up != watched.up) {
      watched.up = up;
      changed_(port, up);
    }
    if (up) watched.tries = 0;
    if (!port.must_be_reopened(up)) return;
    if (watched.pause > 0) {
      --watched.pause;
      return;
    }
    port.withdraw();
    watched.left_by = epoch_.retire();
    watched.phase = Phase::Leaving;
  }
  if (watched.phase == Phase::Leaving) {
    // A worker is seldom later than the next look; who sleeps has left already.
    if (!epoch_.passed(watched.left_by)) return;
    port.close();
    watched.phase = Phase::Closed;
  }
  if (watched.pause > 0) {
    --watched.pause;
  } else {
    reopen(watched);
  }
}

void PortWatch::reopen(Watched& watched) {
  io::Port& port = *watched.port;
  const auto opened = port.reopen();
  if (opened) {
    watched.phase = Phase::Serving;
  } else if (watched.tries == 0) {
    spdlog::warn("{}; it is tried again until it can be opened", opened.error());
  }
  // Also where it could be opened and its other end is not there: then it stays down.
  watched.pause = std::min(++watched.tries, kLongestPause);
}

}  // namespace turnpike::daemon

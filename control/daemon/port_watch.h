// Looks whether ports have a link, tells of each change, and opens those anew that do not come back by themselves
// when their other end, or their interface of the kernel, has been away.
//   Threads: control. Workers go on with the other ports meanwhile.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "dataplane/io/port.h"
#include "dataplane/publish/epoch.h"

namespace turnpike::daemon {

class PortWatch {
 public:
  // `changed` is called in look().
  using Changed = std::function<void(const io::Port&, bool up)>;
  // At the start every port counts as up: what is not is told by the first look().
  PortWatch(std::span<io::Port> ports, publish::Epoch& epoch, Changed changed);

  // Every second or so.
  void look();

 private:
  enum class Phase : uint8_t {
    Serving,
    Leaving,  // workers are told to leave it alone, and may not know yet
    Closed,
  };
  struct Watched {
    io::Port* port;
    bool up = true;
    Phase phase = Phase::Serving;
    uint64_t left_by = 0;  // the epoch at which workers have left it
    unsigned tries = 0;  // since it was up
    unsigned pause = 0;  // looks until the next try
  };

  void look_at(Watched& watched);
  void reopen(Watched& watched);

  publish::Epoch& epoch_;
  Changed changed_;
  std::vector<Watched> ports_;
};

}  // namespace turnpike::daemon
